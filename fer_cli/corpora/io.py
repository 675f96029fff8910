"""Folders, lists, clips, splits and archives of a corpus, read as its owners or users left them."""

import bz2
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from fer_cli.errors import CorpusError, PictureError
from fer_cli.faces.formats import is_picture
from fer_cli.files import LFS_POINTER, Entered, is_folder, is_lfs_pointer, listed, locked, read_bytes, walk
from fer_cli.labels import folded
from fer_cli.progress import Progress

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


#: Where archives are unpacked, in the folder that they are in.
UNPACKED = "fer-unpacked"
ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
#: Archives that only programs of their own open.
OTHERS = (".rar", ".7z", ".z01", ".zip.001", ".7z.001")
#: No member of a corpus of faces is larger than a long video, no archive of one larger than this or of more files.
MAX_MEMBER_BYTES, MAX_BYTES, MAX_MEMBERS = 2_000_000_000, 100_000_000_000, 1_000_000
#: Pictures and videos hardly shrink: what grows more than a hundredfold, from this size on, is no corpus.
MAX_GROWTH, GROWTH_FROM = 100, 100_000_000
CHUNK = 1 << 20
#: The most that a tar's header (a long name, say) takes; tarfile would read one of any size into memory.
MAX_HEADER = 16 * CHUNK
#: What the libraries raise for an archive that is damaged.
BROKEN = (
    *(gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)


def is_archive(path: Path, endings: tuple[str, ...] = (*ZIPS, *TARS)) -> bool:
    """Whether the name is that of a file that :func:`unpack` opens."""
    return path.name.lower().endswith(endings) and path.is_file()


def archives_in(root: Path, endings: tuple[str, ...] = (*ZIPS, *TARS)) -> list[Path]:
    """The archives that are directly in the folder ``root``, by name."""
    try:
        return sorted(path for path in root.iterdir() if is_archive(path, endings) and not path.name.startswith("."))
    except OSError:
        return []


def unpack_root(root: Path, progress: Progress) -> Path:
    """``root``, or, if it is an archive, the folder next to it that it is unpacked into."""
    return unpack(root, target_of(root), inside, progress) if is_archive(root) else root


def unpack_all(root: Path, progress: Progress) -> None:
    """Unpack every archive that is directly in the folder ``root``."""
    for path in archives_in(root):
        unpack(path, target_of(path), inside, progress)


def target_of(path: Path) -> Path:
    """The folder that an archive is unpacked into."""
    ending = max((ending for ending in (*ZIPS, *TARS) if path.name.lower().endswith(ending)), key=len)
    return path.parent / UNPACKED / path.name[: -len(ending)]


def inside(name: str) -> Path | None:
    """The member's own place, if it stays in the folder and is no litter."""
    path = PurePosixPath(name.replace("\\", "/"))
    strange = path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0])
    litter = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return None if strange or litter or not path.parts else Path(*path.parts)


def unpack(path: Path, target: Path, place: Callable[[str], Path | None], progress: Progress) -> Path:
    """Unpack the members of ``path`` that have a ``place`` into ``target``, wholly or not at all; give ``target``.

    Links and devices are skipped, and nothing is done where ``target`` is there. Raises
    :class:`~fer_cli.errors.CorpusError` for an archive that is broken, locked with a password, or larger than a corpus
    can be, and where there is no room or permission.
    """
    # Hidden, so that no reader takes what a killed process has left for the corpus.
    part = target.with_name(f".{target.name}.part")
    try:
        # Another process that unpacks the same is waited for.
        with locked(target, "unpacking into", wait=True):
            if not target.is_dir():
                shutil.rmtree(part, ignore_errors=True)
                try:
                    part.mkdir(parents=True)
                    _extract(path, part, place, progress)
                    part.rename(target)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
    except (*BROKEN, OSError) as error:
        if is_lfs_pointer(path):
            raise CorpusError(f"{path} is {LFS_POINTER}.") from error
        if isinstance(error, OSError) and error.errno is not None:
            raise CorpusError(
                f"{path} cannot be unpacked into {target}: {error.strerror}.",
                hint="Unpack it by hand where there is room, and type that folder.",
            ) from error
        raise CorpusError(
            f"{path} cannot be unpacked: {error or type(error).__name__}.",
            hint="It is damaged or was not downloaded to its end. Download it again, or unpack it by hand.",
        ) from error
    return target


def _extract(path: Path, target: Path, place: Callable[[str], Path | None], progress: Progress) -> None:
    most = min(MAX_BYTES, max(GROWTH_FROM, MAX_GROWTH * path.stat().st_size))
    members = _of_zip(path, place, most) if path.name.lower().endswith(ZIPS) else _of_tar(path, place, most)
    total = 0
    for number, (where, member, count) in enumerate(members, start=1):
        if number > MAX_MEMBERS:
            raise _too_large(path)
        (target / where).parent.mkdir(parents=True, exist_ok=True)
        with member, (target / where).open("wb") as out:
            written = 0
            # What a member claims to hold need not be what comes out of it.
            while chunk := member.read(CHUNK):
                written += len(chunk)
                total += len(chunk)
                if written > MAX_MEMBER_BYTES or total > most:
                    raise _too_large(path)
                out.write(chunk)
        progress(f"unpacking {path.name}", number, count)


def _too_large(path: Path) -> CorpusError:
    return CorpusError(f"{path} holds more than a corpus does: it is not unpacked.")


#: A member's place, its content, and how many members there are, if that is known.
Members = Iterator[tuple[Path, IO[bytes], int | None]]


def _of_zip(path: Path, place: Callable[[str], Path | None], most: int) -> Members:
    with zipfile.ZipFile(path) as file:
        members = [
            (info, where)
            for info in file.infolist()
            if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16) and (where := place(info.filename))
        ]
        # The first bit marks encryption, whatever the cipher.
        if any(info.flag_bits & 1 for info, _ in members):
            raise CorpusError(
                f"{path} is locked with a password.",
                hint="Unpack it by hand, with the password that its owners gave you, and type that folder.",
            )
        if sum(info.file_size for info, _ in members) > most:
            raise _too_large(path)
        for info, where in members:
            yield where, file.open(info), len(members)


def _of_tar(path: Path, place: Callable[[str], Path | None], most: int) -> Members:
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener = openers.get(path.suffix.lower(), Path.open)
    # tarfile asks for no more of a file than _Bounded has.
    with opener(path, "rb") as stream, tarfile.open(fileobj=cast(IO[bytes], _Bounded(stream)), mode="r:") as file:
        for info in file:
            # tarfile would keep every member that it has passed.
            file.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it
            if info.offset_data > most or info.size > MAX_MEMBER_BYTES:
                raise _too_large(path)
            # Sparse members claim any number of zeros.
            if info.isreg() and not info.issparse() and (where := place(info.name)):
                content = file.extractfile(info)
                if content is not None:
                    yield where, content, None
        # At a damaged header tarfile stops as at the end, which is a block of zeros.
        stream.seek(file.offset)
        if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it breaks off")


class _Bounded:
    """A stream that is read in pieces of at most :data:`MAX_HEADER`."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER:
            raise tarfile.ReadError("a header that is too large")
        return self._stream.read(size)
