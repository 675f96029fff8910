"""What frozen encoders make of a dataset's crops: computed once, kept beside the dataset, used by whoever needs it."""
