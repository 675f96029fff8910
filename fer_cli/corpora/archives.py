"""Archives of corpora: zips and tars unpacked next to themselves, within limits, wherever their members claim to go."""

import bz2
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from fer_cli.errors import CorpusError
from fer_cli.files import LFS_POINTER, is_lfs_pointer, locked
from fer_cli.progress import Progress

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
    openers = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener = openers.get(path.suffix.lower(), Path.open)
    with opener(path, "rb") as stream, tarfile.open(fileobj=_Bounded(stream), mode="r:") as file:
        for info in file:
            # tarfile would keep every member that it has passed.
            file.members.clear()
            if info.offset_data > most or info.size > MAX_MEMBER_BYTES:
                raise _too_large(path)
            # Sparse members claim any number of zeros.
            if info.isreg() and not info.issparse() and (where := place(info.name)):
                yield where, file.extractfile(info), None
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
