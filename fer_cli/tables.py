"""Tables as people keep them: comma, semicolon, tab or bar, from any system, with any case and blanks in the header."""

import codecs
import csv
import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from fer_cli.errors import FerError
from fer_cli.files import MAX_DOCUMENT, open_regular

#: What the columns that several commands know may be called; the first is what a person is told.
PATH_COLUMNS = ("path", "file", "file_name", "filename", "image")
LABEL_COLUMNS = ("label", "emotion", "expression")
SUBJECT_COLUMNS = ("subject", "subject_id", "participant", "participant_id", "person", "person_id")
#: A line longer than this is no row of a table.
MAX_LINE = 1_000_000

DELIMITERS = (",", ";", "\t", "|")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the line of the file that it begins at, its values by column, and what is wrong with it if anything is."""

    line: int
    values: dict[str, str]
    problem: str | None = None


class Table:
    """A table in a text file, whose rows are read while they are asked for.

    UTF-8 and UTF-16 are told by their byte order marks or zeros, the delimiter by the header. ``columns`` are the
    header's names without blanks around them and in lower case; values have no blanks around them; empty rows are
    passed over, and a row with more or fewer values than the header has a ``problem``.

    ``headerless`` are the columns of a table that may come without a header: where its first row has none of them, it
    is the first row of values. ``errors`` says what becomes of bytes that are no text, as for :func:`open`. Raises
    ``error``, a :class:`~fer_cli.errors.FerError`, when it is opened or while it is read, for what cannot be read, is
    no text or larger than ``limit`` bytes.
    """

    def __init__(
        self,
        path: Path,
        error: type[FerError],
        *,
        headerless: Sequence[str] = (),
        errors: str = "strict",
        limit: int = MAX_DOCUMENT,
    ):
        self.path = path
        self._error, self._errors, self._limit = error, errors, limit
        self._encoding, self._delimiter = "utf-8", DELIMITERS[0]
        head = next(self._lines(), "")
        self._delimiter = max(DELIMITERS, key=lambda each: len(_cells(head, each)))
        names = [name.strip().casefold() for name in _cells(head, self._delimiter)]
        self._header = not headerless or any(name in map(str.casefold, headerless) for name in names)
        if not self._header:
            names = [name.casefold() for name in headerless]
        while names and not names[-1]:
            names.pop()
        if not names:
            raise error(f"{path} cannot be read as a table: it is empty.")
        twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
        if twice:
            raise error(f"{path} has the column '{twice[0]}' twice.", hint="Take one of them out, or rename it.")
        self.columns = tuple(names)

    def column(self, names: Sequence[str]) -> str | None:
        """The first of ``names`` that is a column."""
        return next((name for name in names if name in self.columns), None)

    def __iter__(self) -> Iterator[Row]:
        rows = csv.reader(self._lines(), delimiter=self._delimiter, skipinitialspace=True, strict=True)
        line = 1
        try:
            for cells in rows:
                if (line > 1 or not self._header) and any(map(str.strip, cells)):
                    yield self._row(line, [cell.strip() for cell in cells])
                line = rows.line_num + 1
        except csv.Error as error:
            raise self._error(
                f"{self.path} is no table from line {line} on: {error}.", hint="Is a quotation mark not closed?"
            ) from error

    def _row(self, line: int, cells: list[str]) -> Row:
        count = len(self.columns)
        problem = None
        if len(cells) < count or any(cells[count:]):
            problem = f"a row of {len(cells)} values under {count} columns"
        return Row(line, dict(zip(self.columns, cells, strict=False)), problem)

    def _lines(self) -> Iterator[str]:
        number = 0
        try:
            with open_regular(self.path) as raw:
                self._encoding = _encoding(raw)
                text = TextIOWrapper(
                    BufferedReader(_Limited(raw, self._limit)), self._encoding, errors=self._errors, newline=""
                )
                while line := text.readline(MAX_LINE):
                    number += 1
                    if "\0" in line:
                        raise self._error(f"{self.path} is no table of text: line {number} has a zero byte.")
                    if len(line) == MAX_LINE:
                        raise self._error(f"{self.path} is no table: line {number} is longer than a row can be.")
                    yield line
        except OSError as error:
            raise self._error(f"{self.path} cannot be read: {error.strerror or error}.") from error
        except UnicodeError as error:
            raise self._error(
                f"{self.path} is not UTF-8 text: {_where(error, number)}.",
                hint="Save it as UTF-8; in Excel, as 'CSV UTF-8'.",
            ) from error


class _Limited(RawIOBase):
    """A file that ends in an error after so many bytes, whatever it says of its size."""

    def __init__(self, file: BinaryIO, limit: int):
        self._file, self._left = file, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError(errno.EFBIG, "larger than such a table can be")
        return count


def _encoding(file: BinaryIO) -> str:
    head = file.read(1024)
    file.seek(0, os.SEEK_SET)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    # What Latin letters are in UTF-16: every other byte is zero.
    if len(head) > 1 and not any(head[1::2]):
        return "utf-16-le"
    return "utf-16-be" if len(head) > 1 and not any(head[0::2]) else "utf-8"


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []


def _where(error: UnicodeError, lines_before: int) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    line = lines_before + 1 + error.object[: error.start].count(b"\n")
    return f"line {line} has the byte 0x{error.object[error.start]:02x}"
