"""Decoding of pictures and videos, face detection, alignment and crops."""
