"""Pictures sorted into folders by the expression of their faces."""

import os
import shutil
from itertools import count
from pathlib import Path

from fer_cli.prediction.outcomes import Outcome
from fer_cli.prediction.writers import said

#: The longest name of a file, in bytes, on most disks.
LONGEST = 255


class SortInto:
    """Links each picture into ``folder``/<expression>, under its own name; one with several faces under each of theirs.

    A link is symbolic where the disk can, else hard, else a copy. Nothing is overwritten: a second picture of the same
    name gets a number. Frames of videos are no files, and are passed over.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, outcome: Outcome) -> None:
        """Link the picture."""
        if outcome.shot.frame is not None:
            return
        path = outcome.shot.path
        for label in sorted({prediction.label for prediction in outcome.predictions}):
            with said(self._folder):
                (self._folder / label).mkdir(parents=True, exist_ok=True)
                _link(path, self._folder / label)


def _link(path: Path, folder: Path) -> None:
    for number in count(1):
        place = folder / (path.name if number == 1 else _numbered(path, number))
        try:
            _make(path, place)
            return
        except FileExistsError:
            if _same(path, place):
                return


def _numbered(path: Path, number: int) -> str:
    stem, tail = path.stem, f"-{number}{path.suffix}"
    while len(os.fsencode(stem + tail)) > LONGEST and stem:
        stem = stem[:-1]
    return stem + tail


def _make(path: Path, place: Path) -> None:
    try:
        place.symlink_to(path.absolute())
    except FileExistsError:
        raise
    except OSError:
        try:
            os.link(path, place)
        except FileExistsError:
            raise
        except OSError:
            _copy(path, place)


def _copy(path: Path, place: Path) -> None:
    with path.open("rb") as source, place.open("xb") as target:
        try:
            shutil.copyfileobj(source, target)
            target.flush()
        except OSError:
            place.unlink()
            raise
    shutil.copystat(path, place)


def _same(path: Path, place: Path) -> bool:
    """Whether ``place`` is already this very picture: a prediction that goes on may link one twice."""
    try:
        if place.samefile(path):
            return True
        one, other = path.stat(), place.stat()
    except OSError:
        return False
    return (one.st_size, one.st_mtime) == (other.st_size, other.st_mtime)
