"""Files of rows: CSV, JSON Lines and Parquet."""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO, get_args

from fer_cli.errors import FerError, UsageError
from fer_cli.files import raising_disk_full, written_whole
from fer_cli.prediction.table import harmless

Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
#: Rows that a Parquet file takes at once.
GROUP = 10_000


class Writer(Protocol):
    """Takes rows."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row, which has a value or None for every column."""


def format_of(path: Path | None, chosen: Format | None) -> Format:
    """The format to write: ``chosen``, else by the ending of ``path``; CSV where there is no file.

    Raises :class:`~fer_cli.errors.UsageError` if neither says one.
    """
    if chosen is not None or path is None:
        return chosen or "csv"
    found = ENDINGS.get(path.suffix.lower())
    if found is None and path.exists() and not path.is_file():
        return "csv"
    if found is None:
        raise UsageError(
            f"--out {path}: its ending names no format.",
            hint=f"End it in {', '.join(ENDINGS)}, or type --format {'|'.join(FORMATS)}.",
        )
    return found


class CsvWriter:
    """Rows as CSV, with a header, what a spreadsheet would run made harmless."""

    def __init__(self, stream: TextIO, columns: Mapping[str, type]):
        self._stream = stream
        # Only what ends its lines with both is sure to quote a name with either in it.
        self._line = StringIO()
        self._writer = csv.DictWriter(self._line, list(columns), lineterminator="\r\n")
        self._writer.writeheader()
        self._hand_on()

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row, and hand it on."""
        self._writer.writerow({name: harmless(cell) for name, cell in row.items()})
        self._hand_on()

    def _hand_on(self) -> None:
        self._stream.write(self._line.getvalue().removesuffix("\r\n") + "\n")
        self._stream.flush()
        self._line.seek(0)
        self._line.truncate()


class JsonlWriter:
    """Rows as JSON Lines: an object a line, null for what there is not."""

    def __init__(self, stream: TextIO, columns: Mapping[str, type]):
        self._stream = stream

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row, and hand it on."""
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()


class ParquetWriter:
    """Rows as Parquet, a few thousand at a time."""

    def __init__(self, path: Path, columns: Mapping[str, type]):
        import pyarrow
        import pyarrow.parquet

        kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._file = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) == GROUP:
            self._group()

    def close(self) -> None:
        """Write the rows that are left, and the end of the file."""
        self._group()
        self._file.close()

    def _group(self) -> None:
        if self._rows:
            self._file.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
            self._rows = []


TEXT_WRITERS = {"csv": CsvWriter, "jsonl": JsonlWriter}


@contextmanager
def table_file(path: Path, kind: Format, columns: Mapping[str, type]) -> Iterator[Writer]:
    """A writer into ``path``, which appears whole when the block ends and not at all if it fails.

    A device or a named pipe is written as it comes. Raises :class:`~fer_cli.errors.FerError` if there is no writing it.
    """
    with said(path):
        if path.exists() and not path.is_file():
            if kind == "parquet":
                raise UsageError(f"--out {path}: Parquet needs a file.", hint="Type --format csv or jsonl.")
            with path.open("w", encoding="utf-8", newline="") as stream:
                yield TEXT_WRITERS[kind](stream, columns)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as beside:
            if kind == "parquet":
                writer = ParquetWriter(beside, columns)
                yield writer
                writer.close()
            else:
                with beside.open("w", encoding="utf-8", newline="") as stream:
                    yield TEXT_WRITERS[kind](stream, columns)


@contextmanager
def said(path: Path | str) -> Iterator[None]:
    """Says of a full disk, or a place that may not be written, which file it was.

    What wants to write to a pipe whose reader has gone is told so by the exception itself.
    """
    try:
        with raising_disk_full(path):
            yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FerError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Type another --out FILE."
        ) from error
