"""Embeddings of a dataset's crops by frozen encoders, computed once and stored with the dataset."""
