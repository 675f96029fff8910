"""Folders, lists, clips and splits of a corpus, read as its owners or users left them."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from fer_cli.errors import CorpusError, PictureError
from fer_cli.faces.formats import is_picture
from fer_cli.files import LFS_POINTER, Entered, is_folder, is_lfs_pointer, listed, read_bytes, walk
from fer_cli.labels import folded

#: How many folders are listed for an error message.
LISTED = 500


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


def unreadable(root: Path, most: int | None = None) -> list[tuple[str, str]]:
    """The folders at or below ``root`` that cannot be listed, each with the reason; readers pass over them.

    ``most`` is after how many folders to stop.
    """
    found: list[tuple[str, str]] = []

    def note(error: OSError) -> None:
        reason = "may not be read" if isinstance(error, PermissionError) else f"cannot be read: {error.strerror}"
        found.append((str(error.filename), f"a folder that {reason}"))

    deque(islice(walk(root, on_error=note), most), maxlen=0)
    return found


def what_is_there(root: Path, shown: int = 8) -> str:
    """The first things in a folder, and a folder that may not be read, for an error message."""
    closed = unreadable(root, LISTED)
    path, reason = closed[0] if closed else ("", "")
    if closed and Path(path) == root:
        return f"it is {reason}"
    also = f", and {path} is {reason}" if closed else ""
    names = sorted(path.name + "/" * path.is_dir() for path in children(root))
    if not names:
        return f"it is empty{also}"
    return f"it holds {', '.join(names[:shown])}{' …' if len(names) > shown else ''}{also}"


#: How far below the given folder a list may be.
LIST_DEPTH = 5


def folder_of_list(root: Path, name: str) -> Path | None:
    """The folder, at or below ``root``, that the list called ``name`` and its pictures are below; None without both.

    It is the list's own folder where pictures are below that, else the one above (``EmoLabel/`` lies next to
    ``Image/``), but never one above ``root``.
    """
    for folder in folders_below(root, LIST_DEPTH):
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


#: No clip of a corpus is longer; a header may claim anything, and what is counted by it would fill the memory.
MAX_FRAMES = 10_000_000


def frame_count(path: Path) -> int | None:
    """Number of frames that a video states, or None if it cannot be read.

    Raises :class:`~fer_cli.errors.FerError` if PyAV is not installed.
    """
    # Readers are imported for their help, which needs neither Pillow nor PyAV.
    from fer_cli.faces.video import TIME_BASE, open_video

    try:
        with open_video(path) as (container, stream):
            count = stream.frames
            if not count:
                seconds = stream.duration * stream.time_base if stream.duration else container.duration / TIME_BASE
                count = int(seconds * stream.average_rate)
            return count if 0 < count <= MAX_FRAMES else None
    except (PictureError, TypeError):
        return None


def why_unreadable(path: Path) -> str:
    """The reason to skip a video of which :func:`frame_count` is None or too small."""
    return LFS_POINTER if is_lfs_pointer(path) else "a video that cannot be read"


def about_the_middle(count: int, wanted: int) -> list[int]:
    """``wanted`` neighbouring frames in the middle of ``count``, never the first."""
    start = max(1, count // 2 - wanted // 2)
    return list(range(start, min(count, start + wanted)))


SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_named(text: str, where: str) -> str:
    """``train``, ``val`` or ``test`` for any of :data:`SPLIT_NAMES`, in any case.

    Raises :class:`~fer_cli.errors.CorpusError` for another, which stands at ``where``: its pictures would be nowhere.
    """
    try:
        return SPLIT_NAMES[folded(text)]
    except KeyError:
        raise CorpusError(
            f"The split '{text}' of {where} is none.", hint=f"Its name may be {', '.join(SPLIT_NAMES)}."
        ) from None
