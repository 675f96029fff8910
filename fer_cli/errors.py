"""Errors that a person can correct, each with a hint.

A message says what was looked for and what was found; ``hint`` says what to type or do next. The command line
shows both on standard error and exits with ``exit_code``; from Python they are ordinary exceptions. Anything that
is not a :class:`FerError` is a fault of the program.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches


def first_sentence(error: Exception) -> str:
    r"""The first sentence of what another library's error says, without its full stop.

    >>> first_sentence(OSError("404 Client Error.\n\nRepository Not Found for url: …"))
    '404 Client Error'
    """
    return re.split(r"\.?\s*\n|\. |\.$", str(error).strip(), maxsplit=1)[0]


class FerError(Exception):
    """An error that a person can correct: exit code 1."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FerError):
    """The command was typed in a way that cannot be meant: exit code 2."""

    exit_code = 2


class DiskFullError(FerError):
    """Nothing more can be written: a disk is full, or a quota or a limit on file sizes is reached."""

    @classmethod
    def at(cls, folder: object, reason: str = "No space left on device") -> "DiskFullError":
        """The error for a ``folder`` that cannot be written to any more."""
        where = f": nothing more can be written to {folder}" if folder else ""
        return cls(f"The disk is full ({reason}){where}.", hint="Make room there, then type the same line again.")


class MissingLibraryError(FerError):
    """An optional library is not installed; the hint says which extra of fer-cli brings it."""


class CorpusError(FerError):
    """A folder is not the corpus it was said to be, or breaks its owners' layout beyond reading."""


class PictureError(FerError):
    """One picture cannot be used: unreadable, too large, or without a face."""


class DetectorError(FerError):
    """The face detector's model file cannot be had or is not the right one."""


class UnreachableDetectorError(DetectorError):
    """The face detector's model file was named by nobody, is not here, and cannot be downloaded."""


class DatasetError(FerError):
    """A prepared dataset is absent, unfinished, in the way, or does not fit what is asked of it."""


class ModelError(FerError):
    """A model's weights or configuration cannot be had, or do not fit."""


class RunError(FerError):
    """A folder is not a run, or a run does not hold what is asked of it."""


class TrainingError(FerError):
    """A training cannot go on: its loss is no longer a finite number."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a ``name`` that is none of ``names``: the one that is most like it, or else all of them.

    >>> nearest("crosscorpus", ["within", "cross-corpus"])
    'Did you mean cross-corpus?'
    >>> nearest("xyz", ["within", "cross-corpus"])
    'Type cross-corpus or within.'
    """
    names = sorted(names)
    near = get_close_matches(name[:100], names, n=1)
    return f"Did you mean {near[0]}?" if near else f"Type {' or '.join(names)}." if names else ""
