"""The run: a folder that holds a trained model and all that is needed to use, repeat and evaluate it."""
