"""A walk through a folder that follows links, enters each folder once, and never climbs above where it began."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

#: What file systems leave behind.
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}


class Entered:
    """The folders that a walk from ``root`` has entered, by their identity on disk.

    The folders above ``root`` count as entered: a link that leads back to them is a loop, and would read what nobody
    named.
    """

    def __init__(self, root: Path, excluded: Collection[Path] = ()):
        self._met = {*above(root), *filter(None, map(identity_of, excluded))}

    def enter(self, folder: str | Path) -> bool:
        """Whether ``folder`` was not entered before; it is from now on. One that cannot be examined is always new."""
        identity = identity_of(folder)
        if identity in self._met:
            return False
        if identity is not None:
            self._met.add(identity)
        return True


def walk(
    root: Path, *, excluded: Collection[Path] = (), on_error: Callable[[OSError], None] = lambda _: None
) -> Iterator[tuple[Path, list[str]]]:
    """``root`` and every folder below it, each with the sorted names of its files; hidden ones and litter left aside.

    Links to folders are followed after all that is there without them, so that what is reached both ways has its own
    name; those in ``excluded`` are not entered. ``on_error`` is called for a folder that cannot be listed.
    """
    entered = Entered(root, excluded)
    starts = deque([str(root)])
    while starts:
        stack = [starts.popleft()]
        while stack:
            folder = stack.pop()
            if not entered.enter(folder):
                continue
            files, below = [], []
            for entry in listed(folder, on_error):
                if not is_folder(entry):
                    files.append(entry.name)
                elif entry.is_symlink():
                    starts.append(entry.path)
                else:
                    below.append(entry.path)
            yield Path(folder), files
            stack += reversed(below)


def listed(
    folder: str | Path, on_error: Callable[[OSError], None] = lambda _: None, *, hidden: bool = False
) -> list[os.DirEntry]:
    """Entries of ``folder``, by name; nothing where it cannot be listed. ``hidden`` adds hidden entries and litter."""
    try:
        with os.scandir(folder) as entries:
            shown = (entry for entry in entries if hidden or not is_litter(entry.name))
            return sorted(shown, key=lambda entry: entry.name)
    except OSError as error:
        on_error(error)
        return []


def is_folder(entry: os.DirEntry) -> bool:
    """Whether the entry is a folder or a link to one, or leads to where one may not look."""
    try:
        return entry.is_dir()
    except OSError as error:
        return isinstance(error, PermissionError)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or something that file systems leave behind."""
    return name.startswith(".") or name.lower() in LITTER


def above(root: Path) -> set[tuple[int, int]]:
    """The identities of the folders that ``root`` is in."""
    return set(filter(None, map(identity_of, Path(os.path.realpath(root)).parents)))


def identity_of(path: str | Path) -> tuple[int, int] | None:
    """The device and number of a file or folder, whatever links lead to it; None where there is none."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
