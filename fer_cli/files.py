"""Files read within limits, written whole, folders that one process at a time may write to, and walks through folders.

Whatever comes from outside is opened here: regular files only, because a pipe or a device never ends, and no more bytes
than a stated limit, counted while reading, because the stated size of a file need not be true.
"""

import atexit
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import unicodedata
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import platformdirs

from fer_cli.errors import DiskFullError, FerError

#: The largest document (JSON, TOML, XML, a list or a table) that is read whole, in bytes.
MAX_DOCUMENT = 200_000_000

#: What a Git LFS pointer begins with, https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
_LFS = b"version https://git-lfs.github.com/spec/"
#: The reason given for such a pointer where a picture, a video or an archive was looked for.
LFS_POINTER = "a Git LFS pointer in the place of the file (type: git lfs pull)"
#: What the system says of a full disk, an exceeded quota and a limit on file sizes, whichever library repeats it.
_NO_ROOM = tuple(os.strerror(getattr(errno, name)) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))
#: What torch's writer of archives says in their place.
_NO_ROOM_IN_TORCH = ("inline_container.cc:", "iostream error")
_PART = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)\.part")


def cache_folder() -> Path:
    """Where weights are kept that neither torch nor the Hugging Face Hub keeps: FER_CACHE, or the user's cache."""
    return Path(os.environ.get("FER_CACHE") or platformdirs.user_cache_path("fer"))


def open_descriptor(path: Path) -> tuple[int, int]:
    """The descriptor of a regular file (or of a link to one), opened for reading, and its size in bytes.

    Raises ``OSError`` as ``open`` does, and for whatever is a folder, a pipe, a socket or a device, without waiting for
    a writer at its other end.
    """
    # Without O_NONBLOCK the opening of a pipe waits until somebody writes to it; regular files do not mind it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return descriptor, found.st_size
    os.close(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file but a pipe, a socket or a device", str(path))


def open_regular(path: Path) -> BufferedReader:
    """A regular file (or a link to one), opened for reading bytes; raises ``OSError`` as :func:`open_descriptor`."""
    descriptor, _ = open_descriptor(path)
    # Opened by its path once more, it would have the path for its name, from which FFmpeg infers some formats.
    return open(path, "rb", opener=lambda *_: descriptor)


def read_bytes(path: Path, limit: int = MAX_DOCUMENT) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; raises ``OSError`` otherwise."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit / 1_000_000:g} MB", str(path))
    return content


def read_json(path: Path, limit: int = MAX_DOCUMENT) -> Any:
    """The JSON document in a regular file of UTF-8, with or without a byte order mark.

    Raises ``OSError`` if it cannot be read, ``ValueError`` if it is not JSON or nested too deep.
    """
    try:
        return json.loads(read_bytes(path, limit).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is the few lines that Git LFS leaves in the place of a file that was not pulled."""
    try:
        with open_regular(path) as file:
            return file.read(len(_LFS)) == _LFS
    except OSError:
        return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path next to ``path`` to write to, which takes its place when the block ends and goes if the block fails.

    Its permissions are those that the umask gives to new files, whatever the writer asked for. An ``OSError`` in the
    block that names no file comes out naming ``path``; whatever a full disk makes a library raise
    comes out as :class:`~fer_cli.errors.DiskFullError`.
    """
    # Where the name fills what a disk allows, as a digest that leaves room for what is added.
    name = path.name if len(os.fsencode(path.name)) <= 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    part = path.with_name(f".{name}.{_host()}-{os.getpid()}.part")
    try:
        with raising_disk_full(path.parent):
            part.touch()
            mode = part.stat().st_mode
            yield part
            # safetensors' own writer makes files that only their owner may read.
            part.chmod(mode)
            part.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def disk_full_reason(error: BaseException | None) -> str | None:
    """The system's message if ``error``, or its cause, comes of a disk without room; else None."""
    while error is not None:
        text = str(error)
        for reason in _NO_ROOM:
            if reason in text:
                return reason
        if isinstance(error, RuntimeError) and any(words in text for words in _NO_ROOM_IN_TORCH):
            return _NO_ROOM[0]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


@contextmanager
def raising_disk_full(folder: Path | str) -> Iterator[None]:
    """Turn whatever a full disk makes a library raise into a :class:`~fer_cli.errors.DiskFullError` of ``folder``."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        reason = disk_full_reason(error)
        if reason is None:
            raise
        raise DiskFullError.at(folder, reason) from error


def remove_abandoned(folder: Path, pattern: str = ".*.part") -> None:
    """Remove what :func:`written_whole` left in ``folder`` in processes of this machine that were killed.

    With a ``pattern`` such as ``**/.*.part`` also what it left in the folders inside.
    """
    for path in folder.glob(pattern):
        named = _PART.fullmatch(path.name)
        if named and named["host"] == _host() and not _is_running(int(named["process"])):
            with suppress(OSError):
                path.unlink()


def as_text(name: object) -> str:
    r"""A file's name, or what is made of one, as text: bytes of it that are not UTF-8 are written ``\xff``.

    >>> as_text(os.fsdecode(b"caf\xe9.jpg"))
    'caf\\xe9.jpg'
    """
    try:
        return os.fsencode(str(name)).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return str(name).encode("utf-8", "backslashreplace").decode()


#: Characters that are not printable but belong to text; Persian and emoji need the joiners.
_TEXT = frozenset("\n\t\u200c\u200d")


def plain(text: str) -> str:
    r"""The text with all that could steer a terminal escaped: control codes, carriage returns, changes of direction.

    >>> plain("a\x1b[2Jb\u202ec")
    'a\\x1b[2Jb\\u202ec'
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_text(letter) else repr(letter)[1:-1] for letter in as_text(text))


def _is_text(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return letter in _TEXT or not (kind.startswith("C") or kind in ("Zl", "Zp"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all.

    Pictures are encoded first and then written here: on a disk that is full, Pillow leaves half a JPEG without a word.
    """
    with written_whole(path) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    r"""Write ``text`` to ``path`` whole or not at all.

    A byte of a file name that is not UTF-8 becomes ``\udcff``, which JSON reads back as that very byte.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def locked(path: Path, doing: str, *, wait: bool = False) -> Iterator[None]:
    """Hold ``path``, a folder or a file, for writing by this process of this machine alone, within the block.

    The system releases it with the process, however that ends; of the processes that torchrun starts, the first holds
    it for all. What killed processes left there half written is removed, and a full disk within the block comes out as
    :class:`~fer_cli.errors.DiskFullError`. ``doing`` is what the others are told, after "Another process is": "training
    into", say. Raises :class:`~fer_cli.errors.FerError` if another process has it, unless told to ``wait``.
    """
    folder = path if path.is_dir() else path.parent
    with raising_disk_full(path):
        if os.environ.get("RANK", "0") != "0":
            yield
            return
        with _lock(path, doing, wait=wait):
            remove_abandoned(folder)
            yield


@contextmanager
def _lock(path: Path, doing: str, *, wait: bool) -> Iterator[None]:
    from filelock import FileLock, Timeout

    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    user = os.getuid() if hasattr(os, "getuid") else ""
    lock = FileLock(Path(tempfile.gettempdir()) / f"fer-{user}-{name}.lock", timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise FerError(f"Another process is {doing} {path}.", hint="Wait for it, or name another place.") from None
    try:
        yield
    finally:
        lock.release()


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


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
) -> list[os.DirEntry[str]]:
    """Entries of ``folder``, by name; nothing where it cannot be listed. ``hidden`` adds hidden entries and litter."""
    try:
        with os.scandir(folder) as entries:
            shown = (entry for entry in entries if hidden or not is_litter(entry.name))
            return sorted(shown, key=lambda entry: entry.name)
    except OSError as error:
        on_error(error)
        return []


def is_folder(entry: os.DirEntry[str]) -> bool:
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


#: The folder that stands in for a home, where :func:`provide_home` made one.
temporary_home: Path | None = None


def provide_home() -> None:
    """Set HOME to a new folder, removed when the process ends, where the user has no home.

    To be called before any library looks for one, which they do when they are imported.
    """
    global temporary_home
    try:
        Path.home()
        return
    except RuntimeError:
        pass
    temporary_home = Path(tempfile.mkdtemp(prefix="fer-home-"))
    os.environ["HOME"] = str(temporary_home)
    # torch names a cache after the user, who has no name either.
    os.environ.setdefault("USER", "fer")
    atexit.register(_remove, temporary_home, os.getpid())


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
