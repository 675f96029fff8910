"""Prediction: from pictures of any kind to rows of probabilities."""
