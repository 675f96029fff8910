"""Tables of results in CSV, JSON Lines and Parquet, and plots of a video's probabilities over time.

A row format is one subclass of :class:`RowSink` in :data:`FORMATS`.
"""

import csv
import json
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Self, TextIO

import numpy as np

from fer_cli.errors import UsageError
from fer_cli.files import as_text, written_whole
from fer_cli.prediction.results import BOX, LANDMARKS, SKIPPED_COLUMNS, FrameResult, in_schema, skipped_row
from fer_cli.prediction.sinks import Sink, write_errors
from fer_cli.prediction.sinks.images import colour

#: Decimal places of a table's numbers, by column; all others are probabilities.
PLACES = {"time": 3, "detection": 3, **dict.fromkeys((*BOX, *LANDMARKS), 1)}
PROBABILITY_PLACES = 6
#: What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: The most tracks that a timeline shows, and the share of the frames with a face that each is there in.
PANELS, LONG = 4, 0.1
#: Rows that a Parquet file takes at once.
ROW_GROUP = 10_000


class RowSink(Sink):
    """One row a face, written to a file or a text stream.

    A file appears whole when the block ends, and not at all if it fails; a device, a named pipe or a stream is written
    as results come. ``columns`` are those of ``schema``. A subclass says how rows are written: ``begin`` is called with
    the open text stream (with the path of a file, where the format is ``binary``), ``add`` with each row, which has a
    value or None for every column, and ``end`` after the last. Entering it raises
    :class:`~fer_cli.errors.FerError` if the target cannot be written.
    """

    #: The endings of file names that choose the format.
    endings: ClassVar[tuple[str, ...]] = ()
    binary: ClassVar[bool] = False

    def __init__(self, target: Path | TextIO, columns: Mapping[str, type], schema: str = "fer"):
        self._target, self.columns, self.schema = target, columns, schema
        self._stack: ExitStack[bool | None] | None = None
        #: A stream whose reader sees each result as it comes; None for a file, which appears whole.
        self._live: TextIO | None = None

    @abstractmethod
    def begin(self, target: Any) -> None:
        """Write what comes before the rows."""

    @abstractmethod
    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row."""

    def end(self) -> None:
        """Write what comes after the rows."""

    def rows(self, result: FrameResult) -> Iterator[dict[str, Any]]:
        """The rows of one result."""
        for row in map(rounded, result.rows):
            yield row if self.schema == "fer" else in_schema(row, self.schema)

    def write(self, result: FrameResult) -> None:
        """Write a row for each face."""
        for row in self.rows(result):
            self.add(row)
        if self._live is not None:
            self._live.flush()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.begin(self._open(stack))
            if self._live is not None:
                self._live.flush()
            stack.push(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return None if self._stack is None else self._stack.__exit__(*error)

    def _end(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            self.end()

    def _open(self, stack: ExitStack) -> Path | TextIO:
        if not isinstance(self._target, Path):
            stack.enter_context(write_errors("standard output"))
            self._live = self._target
            return self._target
        path = self._target
        stack.enter_context(write_errors(path))
        whole = not path.exists() or path.is_file()
        if whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            path = stack.enter_context(written_whole(path))
        elif self.binary:
            raise UsageError(f"--out {path}: this format needs a file.", hint="Type --format csv or jsonl.")
        if self.binary:
            return path
        stream = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        self._live = None if whole else stream
        return stream


class CsvRows(RowSink):
    """CSV with a header; text that a spreadsheet would run is made harmless."""

    endings = (".csv",)

    def begin(self, target: TextIO) -> None:
        """Write the header."""
        self._stream, self._line = target, StringIO()
        # Only a line terminator of both characters makes the writer quote a name with either in it.
        self._writer = csv.writer(self._line, lineterminator="\r\n")
        self._write(self.columns)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        self._write(harmless(row[name]) if kind is str else row[name] for name, kind in self.columns.items())

    def _write(self, cells: Iterable[Any]) -> None:
        self._writer.writerow(cells)
        self._stream.write(self._line.getvalue().removesuffix("\r\n") + "\n")
        self._line.seek(0)
        self._line.truncate()


class JsonlRows(RowSink):
    """JSON Lines: an object a line, null for what is absent."""

    endings = (".jsonl", ".ndjson")

    def begin(self, target: TextIO) -> None:
        """There is no header."""
        self._stream = target

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")


class ParquetRows(RowSink):
    """Parquet, in row groups of :data:`ROW_GROUP`."""

    endings = (".parquet",)
    binary = True

    def begin(self, target: Path) -> None:
        """Write the schema."""
        import pyarrow
        import pyarrow.parquet

        kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in self.columns.items()])
        self._file = pyarrow.parquet.ParquetWriter(target, self._schema)
        self._rows: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row until its group is full."""
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP:
            self._write_group()

    def end(self) -> None:
        """Write the last group, and the footer."""
        self._write_group()
        self._file.close()

    def _write_group(self) -> None:
        import pyarrow

        if self._rows:
            self._file.write_table(pyarrow.Table.from_pylist(self._rows, self._schema))
            self._rows = []


class SkippedRows(CsvRows):
    """A CSV of skipped frames and faces, which exists only if there are any."""

    def __init__(self, target: Path):
        super().__init__(target, SKIPPED_COLUMNS)

    def rows(self, result: FrameResult) -> Iterator[dict[str, Any]]:
        """One row for each reason."""
        for skipped in result.skipped:
            if self._stack is None:
                super().__enter__()
            yield skipped_row(result.frame, skipped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return None if self._stack is None else super().__exit__(*error)


#: The row formats by the name that --format takes; the first is the default.
FORMATS: dict[str, type[RowSink]] = {"csv": CsvRows, "jsonl": JsonlRows, "parquet": ParquetRows}


def format_of(path: Path | None, chosen: str | None) -> type[RowSink]:
    """The format to write: ``chosen``, else by the ending of ``path``; CSV where there is no file.

    Raises :class:`~fer_cli.errors.UsageError` if neither names one, or if it needs a file and there is none.
    """
    by_ending = {ending: each for each in FORMATS.values() for ending in each.endings}
    if chosen is not None and chosen not in FORMATS:
        raise UsageError(f"--format {chosen}: there is no such format.", hint=f"Type {', '.join(FORMATS)}.")
    found: type[RowSink] | None
    if chosen is not None:
        found = FORMATS[chosen]
    elif path is None or (path.suffix.lower() not in by_ending and path.exists() and not path.is_file()):
        found = CsvRows
    else:
        found = by_ending.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"--out {path}: its ending names no format.",
            hint=f"End it in {', '.join(by_ending)}, or type --format {'|'.join(FORMATS)}.",
        )
    if found.binary and path is None:
        raise UsageError(f"--format {chosen} needs a file.", hint=f"Type --out FILE{found.endings[0]}.")
    return found


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its numbers rounded: pixels to a tenth, seconds to a millisecond, probabilities to six places."""
    return {
        name: round(cell, PLACES.get(name, PROBABILITY_PLACES)) if isinstance(cell, float) else cell
        for name, cell in row.items()
    }


def harmless(cell: Any) -> Any:
    """A cell of a CSV file, with ``'`` before text that a spreadsheet would run as a formula.

    >>> harmless("=1+1.jpg"), harmless("face.jpg"), harmless(-3.5)
    ("'=1+1.jpg", 'face.jpg', -3.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


class Timeline(Sink):
    """A plot of each video's probabilities over time at ``path``, a second video's at ``path`` with -2.

    A panel a track: those of the :data:`PANELS` longest that are there in :data:`LONG` of the frames with a face, in
    the order of their numbers, and at least the longest. A gap in the lines is where its face was not found.
    """

    def __init__(self, path: Path):
        self._path = path
        self._videos = 0
        self._times: list[float] = []
        self._tracks: dict[int | None, _Track] = {}
        self._classes: tuple[str, ...] = ()

    def write(self, result: FrameResult) -> None:
        """Add a frame, and at a video's end plot it."""
        frame = result.frame
        if frame.end:
            if self._times:
                self._plot(frame.path)
            self._times, self._tracks = [], {}
        elif frame.time is not None and (result.faces or self._times):
            # Without tracks the largest face stands for the video, and comes first.
            faces = {face.track: face for face in reversed(result.faces)}
            for number, face in faces.items():
                self._classes = tuple(face.probabilities)
                track = self._tracks.setdefault(number, _Track())
                track.frames.append(len(self._times))
                track.shares.extend(face.probabilities.values())
                track.person = face.person or track.person
            self._times.append(frame.time)

    def _longest(self) -> list[int | None]:
        """The tracks to plot."""
        with_a_face = len(set().union(*(track.frames for track in self._tracks.values())))
        ordered = sorted(self._tracks, key=lambda number: (-len(self._tracks[number].frames), number))[:PANELS]
        long = [number for number in ordered if len(self._tracks[number].frames) >= LONG * with_a_face]
        return sorted(long or ordered[:1], key=lambda number: -1 if number is None else number)

    def _plot(self, path: Path) -> None:
        from matplotlib.figure import Figure

        self._videos += 1
        chosen = self._longest()
        figure = Figure(figsize=(10, 4 if len(chosen) == 1 else 1 + 2 * len(chosen)), layout="constrained")
        panels = figure.subplots(len(chosen), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        times = np.array(self._times)
        for axes, number in zip(panels, chosen, strict=True):
            track = self._tracks[number]
            table = np.full((len(times), len(self._classes)), np.nan, np.float32)
            table[track.frames] = np.reshape(track.shares, (-1, len(self._classes)))
            for name, shares in zip(self._classes, table.T, strict=True):
                marker = "o" if np.isfinite(shares).sum() < 3 else None
                axes.plot(times, shares, label=name, color=colour(name), linewidth=2, marker=marker)
            axes.set_facecolor("#f4f4f4")
            axes.set(ylabel="probability", ylim=(0, 1))
            if len(self._tracks) > 1:
                axes.set_title(_plain(track.person or f"track {number}"), loc="left", fontsize="medium")
        panels[-1].set_xlabel("seconds")
        if times[-1] > times[0]:
            panels[-1].set_xlim(times[0], times[-1])
        more = len(self._tracks) - len(chosen)
        figure.suptitle(_plain(path.name) + (f"  (and {more} shorter track{'s' * (more > 1)})" if more else ""))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
        name = self._path.stem if self._videos == 1 else f"{self._path.stem}-{self._videos}"
        target = self._path.with_name(f"{name}{self._path.suffix}")
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as part:
                figure.savefig(part, dpi=120, format=(target.suffix.lstrip(".") or "png").lower())


@dataclass(slots=True)
class _Track:
    """The positions of the frames that show a track, and the probabilities of one after the other."""

    frames: "array[int]" = field(default_factory=lambda: array("L"))
    shares: "array[float]" = field(default_factory=lambda: array("f"))
    person: str = ""


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return as_text(text).replace("$", r"\$")
