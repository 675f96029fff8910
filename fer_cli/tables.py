"""Tables as people keep them: comma, semicolon, tab or bar, from any system, with any case and blanks in the header.

And as programs keep them: JSON, JSON Lines and Parquet, see :func:`read_rows`.
"""

import codecs
import csv
import errno
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import SEEK_END, BufferedReader, RawIOBase, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fer_cli.errors import FerError
from fer_cli.files import MAX_DOCUMENT, as_text, open_regular, read_bytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from pyarrow import DataType

#: What the columns that several commands know may be called; the first is what a person is told.
PATH_COLUMNS = ("path", "file", "file_name", "filename", "image")
LABEL_COLUMNS = ("label", "emotion", "expression")
SUBJECT_COLUMNS = ("subject", "subject_id", "participant", "participant_id", "person", "person_id")
#: A line longer than this is no row of a table.
MAX_LINE = 1_000_000

#: More rows than this, or a longer word in one, are no table of pictures.
MAX_ROWS, MAX_CELL = 5_000_000, 5000
#: Parquet is read so many rows and at most so many bytes at a time.
_BATCH, _MAX_BATCH = 5000, 200_000_000
#: In so many rows a dictionary written in a cell is looked for.
_LOOKED_AT = 100
_PAIR = re.compile(r"['\"]?([A-Za-z_ ]{1,40})['\"]?\s*:\s*(?:np\.float\d\d\()?(-?[0-9.eE+-]{1,40}|nan|inf)")

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

    def __init__(self, file: BufferedReader, limit: int):
        self._file, self._left = file, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError(errno.EFBIG, "larger than such a table can be")
        return count


def _encoding(file: IO[bytes]) -> str:
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


#: Rows with their numbers, counted from 1, or the lines of the file that they begin at.
Rows = Iterable[tuple[int, Mapping[str, Any]]]


def read_rows(
    path: Path,
    error: type[FerError],
    *,
    nested: Sequence[str] = (),
    wanted: Callable[[str], bool] = lambda _: True,
) -> tuple[list[str], Rows]:
    """The columns of a table, in lower case, and its rows: Parquet, JSON or JSON Lines by the ending, else text.

    A JSON document is a list of rows, or has the rows of each file by its name, which is then in the column ``file``.
    A dictionary in a row, also one that pandas wrote into a cell of one of the ``nested`` columns of a text, has a
    column an entry, ``emotion.angry``. Columns of Parquet that are not ``wanted`` are not read. Values of text are
    text. Raises ``error``, at once or while the rows are read, for what cannot be read or is larger than a table can
    be.
    """
    ending = path.suffix.casefold()
    try:
        if ending in (".parquet", ".pq"):
            return _parquet(path, wanted)
        if ending in (".json", ".jsonl", ".ndjson"):
            return _of_documents(_json(path, lines=ending != ".json"))
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror or cause}.") from cause
    except (ValueError, RecursionError, MemoryError) as cause:
        raise error(f"{path} cannot be read as {ending[1:].upper()}: {as_text(cause)[:200]}.") from cause
    table = Table(path, error)
    columns = list(table.columns)
    nested = [name for name in nested if name in columns]
    for row in islice(table if nested else (), _LOOKED_AT):
        columns += [key for name in nested for key in _pairs(name, row.values.get(name, "")) if key not in columns]
    return columns, _text_rows(table, error, nested)


def _text_rows(table: Table, error: type[FerError], nested: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, row in enumerate(table):
        if row.problem or number >= MAX_ROWS:
            raise error(f"{table.path}, line {row.line}: {row.problem or 'more rows than a table of pictures has'}.")
        pairs = [_pairs(name, row.values.get(name, "")) for name in nested]
        yield row.line, {**row.values, **{key: value for each in pairs for key, value in each.items()}}


def _pairs(name: str, cell: str) -> dict[str, str]:
    """The entries of a dictionary that is written in a cell, by ``name.key``."""
    if not cell.startswith("{") or len(cell) > MAX_CELL:
        return {}
    return {f"{name}.{key.strip().casefold()}": value for key, value in _PAIR.findall(cell)}


def _json(path: Path, *, lines: bool) -> list[Any]:
    text = read_bytes(path).decode("utf-8-sig")
    # A number of thousands of digits is as infinite as any.
    if lines:
        return [json.loads(line, parse_int=float) for line in text.splitlines() if line.strip()]
    document = json.loads(text, parse_int=float)
    if isinstance(document, dict) and all(isinstance(value, dict | list) for value in document.values()):
        return [{"file": name, "rows": value} for name, value in document.items()]
    return document if isinstance(document, list) else [document]


def _of_documents(documents: list[Any]) -> tuple[list[str], Rows]:
    rows = [row for document in documents for row in _rows_of(document)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns or len(rows) > MAX_ROWS:
        raise ValueError(f"{len(rows)} rows of {len(columns)} columns")
    return columns, enumerate(rows, start=1)


def _rows_of(document: Any, file: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a document: itself, those in a list, or those of a file that it names."""
    if isinstance(document, list):
        for each in document:
            yield from _rows_of(each, file)
    elif not isinstance(document, dict):
        raise ValueError("no list of rows with names")
    elif set(document) == {"file", "rows"}:
        yield from _rows_of(document["rows"] or {}, document["file"])
    else:
        row = {} if file is None else {"file": file}
        for name, value in document.items():
            key = name.strip().casefold()[:MAX_CELL]
            row |= (
                {f"{key}.{part.strip().casefold()}"[:MAX_CELL]: each for part, each in value.items()}
                if isinstance(value, dict)
                else {key: value}
            )
        yield row


def _parquet(path: Path, wanted: Callable[[str], bool]) -> tuple[list[str], Rows]:
    from pyarrow import ArrowException, compute
    from pyarrow.parquet import ParquetFile

    rows: list[dict[str, Any]] = []
    try:
        with open_regular(path) as raw:
            if raw.seek(0, SEEK_END) > MAX_DOCUMENT:
                raise OSError(errno.EFBIG, "larger than such a table can be")
            schema = ParquetFile(raw).schema_arrow
            names = [name for name in schema.names if wanted(name.strip().casefold())]
            # A word that is stored once and repeated a million times stays one word, but not within lists and the like.
            words = [name for name in names if _is_word(schema.field(name).type)]
            names = [name for name in names if name in words or not _has_words(schema.field(name).type)]
            file = ParquetFile(raw, read_dictionary=words)
            if file.metadata.num_rows > MAX_ROWS:
                raise ValueError(f"{file.metadata.num_rows} rows")
            for batch in file.iter_batches(_BATCH, columns=names):
                longest = [compute.max(compute.binary_length(batch[name].dictionary)).as_py() or 0 for name in words]
                if batch.nbytes > _MAX_BATCH or max(longest, default=0) > MAX_CELL:
                    raise ValueError("a row that is larger than one of a picture can be")
                rows += [next(_rows_of(row)) for row in batch.to_pylist()]
    except ArrowException as cause:
        raise ValueError(str(cause).splitlines()[0]) from cause
    columns = [name.strip().casefold() for name in schema.names]
    return list(dict.fromkeys([*columns, *(name for row in rows[:_LOOKED_AT] for name in row)])), enumerate(rows, 1)


def _is_word(kind: "DataType") -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind)


def _has_words(kind: "DataType") -> bool:
    """Whether a type, or one within it, is of any length."""
    from pyarrow import types

    if types.is_nested(kind):
        return any(_has_words(kind.field(place).type) for place in range(kind.num_fields))
    return not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind))
