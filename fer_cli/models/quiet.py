"""Keeping transformers from writing to the console, which belongs to the command line alone."""

from transformers.utils import logging


def hush() -> None:
    """Silence transformers' own progress bars and everything below an error."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
