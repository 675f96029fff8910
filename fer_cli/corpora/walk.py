"""Walking a corpus's folder, and saying what is there."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from fer_cli.corpora.record import LeftOut
from fer_cli.walk import LITTER as LITTER
from fer_cli.walk import Entered, is_folder, listed, walk

#: How many folders are looked into for an error message.
PEEKED = 500


def files_below(root: Path) -> Iterator[Path]:
    """Every file at any depth, in a stable order, without hidden ones and litter; links to folders are followed."""
    for folder, names in walk(root):
        for name in names:
            yield folder / name


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """``root`` and the folders below it down to ``depth``, each once, the nearest first, in order of their names."""
    entered = Entered(root)
    level = [root] if entered.enter(root) else []
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in folders_in(folder) if entered.enter(child)]


def children(folder: Path) -> list[Path]:
    """The files and folders in ``folder``, by name, without hidden ones and litter; none where it cannot be read."""
    return [folder / entry.name for entry in listed(folder)]


def folders_in(folder: Path) -> list[Path]:
    """The folders, and links to folders, among :func:`children`."""
    return [folder / entry.name for entry in listed(folder) if is_folder(entry)]


def is_file(path: Path) -> bool:
    """Whether ``path`` is a regular file; not where one may not look, and not for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_dir(path: Path) -> bool:
    """Whether ``path`` is a folder; not where one may not look."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def unreadable(root: Path, most: int | None = None) -> list[LeftOut]:
    """The folders at or below ``root`` that cannot be listed: readers pass over them, and a person is told.

    ``most`` is after how many folders to stop.
    """
    found: list[LeftOut] = []

    def note(error: OSError) -> None:
        reason = "may not be read" if isinstance(error, PermissionError) else f"cannot be read: {error.strerror}"
        found.append(LeftOut(str(error.filename), f"a folder that {reason}"))

    deque(islice(walk(root, on_error=note), most), maxlen=0)
    return found


def what_is_there(root: Path, shown: int = 8) -> str:
    """The first things in a folder, and a folder that may not be read, for an error message."""
    closed = unreadable(root, PEEKED)
    if closed and Path(closed[0].path) == root:
        return f"it is {closed[0].reason}"
    also = f", and {closed[0].path} is {closed[0].reason}" if closed else ""
    names = sorted(path.name + "/" * path.is_dir() for path in children(root))
    if not names:
        return f"it is empty{also}"
    return f"it holds {', '.join(names[:shown])}{' …' if len(names) > shown else ''}{also}"


def some_paths(root: Path, count: int = 3) -> list[str]:
    """A few files' paths below ``root``."""
    return [path.relative_to(root).as_posix() for path in islice(files_below(root), count)]
