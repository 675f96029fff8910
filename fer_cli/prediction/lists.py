"""Lists of pictures: a text file, a table, or names that come through a pipe."""

import csv
import os
import sys
from collections.abc import Iterator
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from fer_cli.errors import FerError, PictureError
from fer_cli.files import open_regular

TEXT, TABLE = ".txt", ".csv"
#: What the column with the paths may be called; the first is what others are told.
FILE_COLUMNS = ("file", "path", "file_name")
SUBJECT_COLUMN = "subject"
#: A name longer than this is no name.
MAX_NAME_BYTES = 1_000_000
CHUNK = 65_536


def is_list(path: Path) -> bool:
    """Whether the name is that of a list."""
    return path.suffix.lower() in (TEXT, TABLE)


def listed(path: Path) -> Iterator[tuple[Path, str | None]]:
    """The paths of a list, and the subject where it is a table that says so; both from the list's own folder.

    Raises :class:`~fer_cli.errors.PictureError` if it cannot be read or has no column of paths.
    """
    try:
        with open_regular(path) as file:
            if path.suffix.lower() == TEXT:
                yield from ((path.parent / name, None) for name in names_in(file))
            else:
                yield from _rows(path, file)
    except (OSError, csv.Error) as error:
        raise PictureError(f"The list {path} cannot be read: {error}.") from error


def _rows(path: Path, file: BinaryIO) -> Iterator[tuple[Path, str | None]]:
    # Names on disk need not be UTF-8, and come back as the bytes they are.
    rows = csv.DictReader(TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))
    column = next((name for name in FILE_COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None:
        raise PictureError(
            f"The list {path} has no column of paths.",
            mend=f"Call one '{FILE_COLUMNS[0]}'; a column '{SUBJECT_COLUMN}' may say who is shown.",
        )
    for row in rows:
        if name := (row[column] or "").strip():
            yield path.parent / name, (row.get(SUBJECT_COLUMN) or "").strip() or None


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
