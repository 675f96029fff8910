"""Lists of pictures: a text file, a table, or names that come through a pipe."""

import codecs
import os
import sys
import unicodedata
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from fer_cli.errors import FerError, PictureError
from fer_cli.files import open_regular
from fer_cli.tables import PATH_COLUMNS, SUBJECT_COLUMNS, Table

TEXT, TABLE = ".txt", ".csv"
#: A name longer than this is no name.
MAX_NAME_BYTES = 1_000_000
CHUNK = 65_536


def is_list(path: Path) -> bool:
    """Whether the name is that of a list."""
    return path.suffix.lower() in (TEXT, TABLE)


def listed(path: Path) -> Iterator[tuple[Path, str | None, str | None]]:
    """The paths of a list, each with its subject where it is a table that says so, and what is wrong with it if
    anything is; from the list's own folder.

    Raises :class:`~fer_cli.errors.PictureError` if it cannot be read or has no column of paths.
    """
    if path.suffix.lower() == TABLE:
        yield from table_of_pictures(path, PictureError)
        return
    try:
        with open_regular(path) as file:
            yield from ((path.parent / name, None, None) for name in names_in(_as_utf8(file)))
    except OSError as error:
        raise PictureError(f"The list {path} cannot be read: {error.strerror or error}.") from error


def table_of_pictures(path: Path, error: type[FerError]) -> Iterator[tuple[Path, str | None, str | None]]:
    """The same of a table; a row that does not fit its header is told by the table's name and the line.

    Raises ``error`` if it cannot be read or has no column of paths.
    """
    # Names on disk need not be UTF-8, and come back as the bytes they are.
    table = Table(path, error, errors="surrogateescape")
    file, subject = table.column(PATH_COLUMNS), table.column(SUBJECT_COLUMNS)
    if file is None:
        raise error(
            f"The list {path} has no column of paths: it has {', '.join(filter(None, table.columns))}.",
            hint=f"Call one '{PATH_COLUMNS[0]}'; a column '{SUBJECT_COLUMNS[0]}' may say who is shown.",
        )
    for row in table:
        if row.problem:
            yield path.with_name(f"{path.name}:{row.line}"), None, row.problem
        elif name := row.values[file]:
            who = row.values[subject] if subject else ""
            yield path.parent / name, unicodedata.normalize("NFC", who) or None, None


def _as_utf8(file: BinaryIO) -> BinaryIO:
    """The list without a byte order mark, and in UTF-8 where that says that it is UTF-16, as of Windows' editors."""
    mark = file.read(3)
    file.seek(0)
    if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return codecs.EncodedFile(file, "utf-8", "utf-16", errors="replace")
    if mark == codecs.BOM_UTF8:
        file.seek(len(mark))
    return file


def standard_input() -> BinaryIO:
    """Standard input without a buffer: a name is there as soon as it is written.

    A buffer would have a lock, on which Python dies if it ends while a thread still waits for the next name.
    """
    try:
        return FileIO(sys.stdin.fileno(), closefd=False)
    except (OSError, ValueError):
        # Not a file: a program of its own has put something in its place.
        return sys.stdin.buffer


def names_in(file: BinaryIO) -> Iterator[str]:
    """The names in a stream, one a line, or ended by NUL (as ``find -print0`` does); each as soon as it is there.

    Raises :class:`~fer_cli.errors.FerError` if the stream is no list of names.
    """
    kept, separator = b"", b""
    while chunk := file.read(CHUNK):
        kept += chunk
        if not separator:
            separator = b"\0" if b"\0" in kept else b"\n" if b"\n" in kept else b""
        if separator:
            *whole, kept = kept.split(separator)
            yield from _names(whole, separator)
        if len(kept) > MAX_NAME_BYTES:
            raise FerError("What was given is no list of names: a name of a million bytes.")
    yield from _names([kept], separator)


def _names(parts: list[bytes], separator: bytes) -> Iterator[str]:
    for part in parts:
        name = part if separator == b"\0" else part.removesuffix(b"\r")
        if name:
            yield os.fsdecode(name)
