"""CK+'s zips, where they have not been opened yet: its parts are downloads of their own."""

import re
import zipfile
from pathlib import Path

from fer_cli.corpora import archives
from fer_cli.corpora.ckplus.names import kind_of
from fer_cli.corpora.ckplus.tree import Tree
from fer_cli.progress import Progress

#: A member's path, of which only the owners' own names are kept.
MEMBER = re.compile(r"(?:.*/)?(S\d{3})/(\d{3})/(S\d{3}_\d{3}_[^/\\]+)", re.IGNORECASE)
#: How many members are looked at to tell what a zip holds.
PEEKED = 100_000


def find_zips(root: Path) -> dict[str, Path]:
    """The zips at ``root`` or in a folder of it, by what they hold: ``images``, ``emotion`` and so on."""
    found: dict[str, Path] = {}
    for path in sorted([*root.glob("*.zip"), *root.glob("*/*.zip")]):
        try:
            with zipfile.ZipFile(path) as file:
                kinds = (_kind(info.filename) for info in file.infolist()[:PEEKED])
                kind = next((kind for kind in kinds if kind), None)
        except (OSError, *archives.BROKEN):
            continue
        if kind:
            found.setdefault(kind, path)
    return found


def unpack(root: Path, zips: dict[str, Path], tree: Tree, progress: Progress) -> None:
    """Unpack the ``zips`` whose kind ``tree`` lacks; raises what :func:`fer_cli.corpora.archives.unpack` raises."""
    for kind, path in zips.items():
        if kind != "facs" and getattr(tree, kind) is None:
            archives.unpack(path, root / archives.UNPACKED / kind, _place, progress)


def unpack_others(root: Path, zips: dict[str, Path], progress: Progress) -> None:
    """Unpack the archives in ``root`` that are not among the ``zips``: a mirror, or the owners' in another form."""
    for path in archives.archives_in(root):
        if path not in zips.values():
            archives.unpack(path, archives.target_of(path), archives.inside, progress)


def _kind(name: str) -> str | None:
    match = MEMBER.fullmatch(name)
    return kind_of(match[3]) if match else None


def _place(name: str) -> Path | None:
    match = MEMBER.fullmatch(name)
    return Path(*match.groups()) if match and kind_of(match[3]) else None
