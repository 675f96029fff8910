"""Which pictures and videos the files, folders, patterns and lists that a person names come to."""

import glob
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_cli.errors import PictureError
from fer_cli.faces.decode import begins_as_picture
from fer_cli.faces.formats import is_picture, is_video
from fer_cli.prediction.lists import is_list, listed
from fer_cli.prediction.patterns import matching
from fer_cli.walk import walk

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """A picture or a video to predict on.

    ``subject`` is who is shown, where a list says so. ``problem`` is why there is nothing to open at ``path``.
    """

    path: Path
    subject: str | None = None
    problem: str | None = None


def inputs(
    sources: Iterable[str | Path],
    *,
    names: Callable[[], Iterator[str]] | None = None,
    except_in: Collection[Path] = (),
) -> Iterator[Input]:
    """Everything that ``sources`` come to, in order, found as it is asked for.

    A source is a picture or a video; a folder, of which all are taken at every depth, by name; a pattern such as
    ``'holiday/**/*.jpg'``; a list (.txt with a path a line, or .csv with a column ``path`` and perhaps ``subject``),
    whose paths are from its own folder; or ``-``, for which ``names`` gives paths.

    In a folder a file counts as a picture if its name or its first bytes say so. Hidden files and folders are passed
    over, and those in ``except_in``; links are followed, and each folder is entered once however many links lead there.
    """
    for source in sources:
        path = Path(source)
        if str(source) == STANDARD_INPUT and names is not None:
            yield from (Input(Path(name)) for name in names())
        elif path.is_dir():
            yield from _or_none(_below(path, except_in), path, "a folder without a picture or video")
        elif is_list(path) and path.is_file():
            yield from _or_none((Input(*row) for row in listed(path)), path, "a list that names no picture")
        elif not os.path.lexists(path) and glob.has_magic(str(source)):
            yield from _or_none(map(Input, matching(str(source))), path, "a pattern that nothing matches")
        else:
            yield Input(path)


def check_sources(sources: Iterable[str | Path]) -> None:
    """Say of a mistyped name before any work is done.

    Raises :class:`~fer_cli.errors.PictureError` if a source is neither there nor a pattern.
    """
    for source in map(str, sources):
        if source != STANDARD_INPUT and not os.path.lexists(source) and not glob.has_magic(source):
            raise PictureError(f"There is no file or folder {source}.")


def _or_none(found: Iterator[Input], source: Path, problem: str) -> Iterator[Input]:
    any_found = False
    for each in found:
        any_found = True
        yield each
    if not any_found:
        yield Input(source, problem=problem)


def _below(folder: Path, except_in: Collection[Path]) -> Iterator[Input]:
    closed: list[OSError] = []
    for parent, files in walk(folder, besides=except_in, on_error=closed.append):
        for path in (parent / name for name in files):
            if is_video(path) or is_picture(path) or begins_as_picture(path) or _is_special(path):
                yield Input(path)
    for error in closed:
        yield Input(Path(error.filename), problem=f"a folder that cannot be read: {error.strerror}")


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, of which whoever opens it says so."""
    return path.exists() and not path.is_file()
