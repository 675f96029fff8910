"""The renderer of drawn faces: persons and FACS action units in, pictures and landmarks out."""
