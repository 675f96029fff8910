"""The prepared dataset: its schema, pairing, folds, writing, reading, and loading into tensors."""
