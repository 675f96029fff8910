"""What a program may do with an input: no more than to read it and to write where it was told to."""

import faulthandler
import io
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from fer_cli.cli.app import app
from fer_cli.errors import FerError

#: Nothing takes longer, in seconds.
LONGEST = 20
CODES = {0, 1, 2, 3, 130}
#: Events that no input may cause: programs run, connections opened.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pty.spawn", "os.fork")
CHANGING = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate")

_watched: dict[str, Any] = {}


class FaultError(AssertionError):
    """The program did what no input may make it do."""


class _Unread(io.RawIOBase):
    """A standard input that nobody may read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        _note("standard input is read")
        return 0


def _note(what: str) -> None:
    _watched.setdefault("notes", []).append(what)


def _audit(event: str, arguments: tuple) -> None:
    if "folder" not in _watched:
        return
    if event.startswith(FORBIDDEN):
        _note(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        mode, flags = arguments[1], arguments[2] or 0
        writes = any(letter in (mode or "") for letter in "wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and not _allowed(arguments[0]):
            _note(f"a file is written outside: {os.fsdecode(arguments[0])!r}")
    elif event in CHANGING and not _allowed(arguments[0]):
        _note(f"{event} outside: {arguments!r:.200}")


def _allowed(path: Any) -> bool:
    text = os.path.realpath(os.fsdecode(path))
    temporary = os.path.realpath(tempfile.gettempdir())
    inside = any(text == root or text.startswith(root + os.sep) for root in _watched["roots"])
    # The locks that processes keep each other out by, and what libraries unpack for themselves.
    lock = re.fullmatch(re.escape(temporary) + r"/(fer-\d*-[0-9a-f]{24}\.lock|tmp\w+(/.*)?)", text)
    return inside or lock is not None or text in (temporary, "/dev/null", "/dev/shm")


sys.addaudithook(_audit)


@contextmanager
def watched(folder: Path, *roots: Path) -> Iterator[None]:
    """Raise :class:`FaultError` for whatever happens within the block that no input may cause.

    Files may be written in ``folder`` and ``roots``.
    """
    allowed = [os.path.realpath(root) for root in (folder, *roots)]
    before, stdin = signal.signal(signal.SIGALRM, _late), sys.stdin
    around = _snapshot(folder)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_Unread()))
    _watched.update(folder=folder, roots=allowed, notes=[])
    signal.alarm(LONGEST)
    # What hangs within a library written in C is not interrupted by that.
    faulthandler.dump_traceback_later(5 * LONGEST, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        notes = _watched.pop("notes")
        _watched.clear()
        sys.stdin = stdin
    if _snapshot(folder) != around:
        notes.append("something beside the folder has changed")
    if list(folder.rglob("CANARY")):
        notes.append("code of the input has run")
    if notes:
        raise FaultError("; ".join(notes))


def _late(*_: Any) -> None:
    raise FaultError(f"it takes longer than {LONGEST} s")


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """What is next to the folder."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.parent.iterdir()
        if path != folder and path.is_file()
    }


def fer(*words: str) -> None:
    """Run a line; raises :class:`FaultError` if it ends otherwise than a program should."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    code = 0
    with redirect_stdout(output), redirect_stderr(output):
        try:
            app(list(words))
        except SystemExit as end:
            code = end.code or 0
    said = output.buffer.getvalue().decode("utf-8", "backslashreplace")
    if code not in CODES:
        raise FaultError(f"it exits with {code}")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", said):
        raise FaultError(f"what would steer a terminal is printed raw: {said!r}")
    if code in (1, 2):
        raise FerError(said)
