"""Patterns of files, ``holiday/**/*.jpg``, matched in time that grows with the folders that they lead into."""

import fnmatch
import glob
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from fer_cli.walk import above, identity_of, is_folder, listed

#: Stands for any folders, also none.
ANY_FOLDERS = "**"


def matching(pattern: str) -> Iterator[Path]:
    """The files that :func:`glob.glob` would find for ``pattern`` with ``recursive``, in order.

    All parts of the pattern that may come next are tried at once, so that no folder is entered in two ways, and links
    that lead in a circle or out above the pattern's first ``**`` end there. Hidden files and folders need a part that
    begins with a dot.
    """
    path = Path(pattern)
    parts = path.parts[1:] if path.anchor else path.parts
    literal = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    start = Path(path.anchor, *parts[:literal])
    rest = [_Part(part) for part in parts[literal:]]
    outside, met = above(start), set()
    starts = deque([(start, _with_skipped({0}, rest))])
    while starts:
        stack = [starts.popleft()]
        while stack:
            folder, places = stack.pop()
            identity, deep = identity_of(folder), any(rest[place].deep for place in places)
            if (identity, places) in met or (deep and identity in outside):
                continue
            met.add((identity, places))
            below = []
            for entry in listed(folder, hidden=any(rest[place].hidden for place in places)):
                fits = [place for place in places if rest[place].fits(entry.name)]
                if not is_folder(entry):
                    if len(rest) - 1 in fits:
                        yield folder / entry.name
                elif next_places := _with_skipped({place + (not rest[place].deep) for place in fits}, rest):
                    (starts if entry.is_symlink() else below).append((folder / entry.name, next_places))
            stack += reversed(below)


class _Part:
    """What may stand between two slashes; ``deep`` where that is any number of folders."""

    def __init__(self, part: str):
        self.deep, self.hidden = part == ANY_FOLDERS, part.startswith(".")
        # The regular expression that fnmatch makes never goes back to an earlier star.
        self._regex = re.compile(fnmatch.translate(part))

    def fits(self, name: str) -> bool:
        return (self.hidden or not name.startswith(".")) and self._regex.match(name) is not None


def _with_skipped(places: set[int], parts: list[_Part]) -> frozenset[int]:
    """The places in the pattern, and those after a part that may stand for nothing, without the pattern's end."""
    for place in range(len(parts)):
        if place in places and parts[place].deep:
            places = places | {place + 1}
    return frozenset(places - {len(parts)})
