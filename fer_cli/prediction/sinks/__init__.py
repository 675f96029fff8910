"""Sinks of results: tables of rows, pictures, and plots."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from fer_cli.errors import FerError
from fer_cli.files import raising_disk_full
from fer_cli.prediction.results import FrameResult


class Sink(ABC):
    """A place that results are written to; complete when its ``with`` block ends without an exception.

    An ``immediate`` sink takes results once, in the process that made them, with the faces' crops. Any other takes
    those of all processes, in the order of the inputs; where a prediction is resumed also those of before.
    """

    immediate: ClassVar[bool] = False

    @abstractmethod
    def write(self, result: FrameResult) -> None:
        """Write one result."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return None


@contextmanager
def write_errors(path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` in the block into a :class:`~fer_cli.errors.FerError` that names ``path``.

    A pipe whose reader has gone stays a ``BrokenPipeError``.
    """
    try:
        with raising_disk_full(path):
            yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FerError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Type another --out FILE."
        ) from error
