"""Files read within limits, written whole, and folders that one process at a time may write to.

Whatever comes from outside is opened here: regular files only, because a pipe or a device never ends, and no more bytes
than a stated limit, counted while reading, because a file's size is only what it says of itself.
"""

import errno
import hashlib
import json
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fer_cli.errors import FerError

#: The largest document (JSON, TOML, XML, a list or a table) that is read whole, in bytes.
MAX_DOCUMENT = 200_000_000

#: What a Git LFS pointer begins with, https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
_LFS = b"version https://git-lfs.github.com/spec/"
_PART = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)\.part")


def open_regular(path: Path) -> BinaryIO:
    """A regular file (or a link to one), opened for reading bytes.

    Raises ``OSError`` as ``open`` does, and for whatever is a folder, a pipe, a socket or a device, without waiting for
    a writer at its other end.
    """
    # Without O_NONBLOCK the opening of a pipe waits until somebody writes to it; regular files do not mind it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        # Opened by its path once more, it would have the path for its name, by which FFmpeg tells some formats.
        return open(path, "rb", opener=lambda *_: descriptor)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file but a pipe, a socket or a device", str(path))


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

    An ``OSError`` in the block that names no file, such as that of a full disk, comes out naming ``path``.
    """
    beside = path.with_name(f".{path.name}.{_host()}-{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what :func:`written_whole` left in ``folder`` in processes of this machine that were killed."""
    for path in folder.glob(".*.part"):
        named = _PART.fullmatch(path.name)
        if named and named["host"] == _host() and not _is_running(int(named["process"])):
            with suppress(OSError):
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Keep every other process of this machine from writing to ``path``, a folder or a file, within the block.

    The system releases it with the process, however that ends. ``doing`` is what the others are told, after "Another
    process is": "training into", say. Raises :class:`~fer_cli.errors.FerError` if another process has it.
    """
    from filelock import FileLock, Timeout

    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    user = os.getuid() if hasattr(os, "getuid") else ""
    try:
        with FileLock(Path(tempfile.gettempdir()) / f"fer-{user}-{name}.lock", timeout=0):
            yield
    except Timeout:
        raise FerError(
            f"Another process is {doing} {path}.", mend="Wait for it, or type --out with another name."
        ) from None


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
