"""Keeping libraries from writing to the console, which belongs to the command line alone."""

from huggingface_hub.utils import logging as hub
from transformers.utils import logging


def hush() -> None:
    """Silence transformers' and the Hub's progress bars and everything below an error."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.set_verbosity_error()
