"""Progress of what takes long, reported to a callback.

The library never prints. A function that takes long takes a ``progress`` argument, a callable with the signature
of :class:`Progress`, and calls it as it goes; :func:`silent` is the default. The command line passes one that draws
a bar.
"""

from typing import Protocol


class Progress(Protocol):
    """Called with a stage's name, how many of its steps are done, how many there are, and facts worth showing."""

    def __call__(self, stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        """Take note of it; a fact called ``note`` is a sentence that the person should read."""


def silent(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
    """Say nothing."""
