"""Lists that name the pictures of a whole corpus and lie in a folder next to theirs, or in one with them."""

from pathlib import Path

from fer_cli.corpora.walk import files_below, folders_below, is_file
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture
from fer_cli.files import read_bytes

#: How far below the given folder the list may be.
DEPTH = 5


def folder_of_list(root: Path, name: str) -> Path | None:
    """The folder, at or below ``root``, that the list called ``name`` and its pictures are below; None without both.

    It is the list's own folder where pictures are below that, else the one above (``EmoLabel/`` lies next to
    ``Image/``), but never one above ``root``.
    """
    for folder in folders_below(root, DEPTH):
        if is_file(folder / name):
            for place in (folder,) if folder == root else (folder, folder.parent):
                if any(is_picture(path) for path in files_below(place)):
                    return place
    return None


def lines_of_list(root: Path, name: str, limit: int) -> list[str]:
    """The lines of the list at ``root`` or just below it, of at most ``limit`` bytes.

    Raises :class:`~fer_cli.errors.CorpusError` if it cannot be read.
    """
    path = next(folder / name for folder in folders_below(root, 1) if is_file(folder / name))
    try:
        return read_bytes(path, limit).decode("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise CorpusError(f"The list {path} cannot be read: {error.strerror or error}.") from error
