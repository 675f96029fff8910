"""Walking a corpus's folder, and saying what is there."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

#: What file systems leave behind.
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
#: A home folder typed by mistake should not be searched for minutes.
MAX_LOOKED_AT = 200_000


def files_below(root: Path) -> Iterator[Path]:
    """Every file at any depth, in a stable order, without hidden ones and litter; links to folders are not followed."""
    looked_at = 0
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_litter(name))
        for name in sorted(names):
            looked_at += 1
            if looked_at > MAX_LOOKED_AT:
                return
            if not _is_litter(name):
                yield Path(parent, name)


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """``root`` and the folders below it down to ``depth``, the nearest first, in order of their names."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in _children(folder)]


def what_is_there(root: Path, shown: int = 8) -> str:
    """The first things in a folder, for an error message."""
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    if not names:
        return "it is empty"
    return f"it holds {', '.join(names[:shown])}{' …' if len(names) > shown else ''}"


def some_paths(root: Path, count: int = 3) -> list[str]:
    """A few files' paths below ``root``."""
    return [path.relative_to(root).as_posix() for path in islice(files_below(root), count)]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_litter(path.name))
    except PermissionError:
        return []


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER
