"""Checkpoint of a prediction: a folder from which an interrupted one is resumed.

Next to the output ``p.csv`` it is ``.p.csv.unfinished``, and holds ``settings.json`` (what was asked for),
``inputs.jsonl`` (the inputs, listed once, so that a folder that changes meanwhile changes nothing) and parts with one
line a result, in the order of the inputs. One process writes ``part-0.jsonl``, a line when all sinks have taken its
result; a line cut short, and the lines of a video that was not finished, are dropped and made again. A cluster's blocks
are parts of their own, ``part-64-128.jsonl`` of inputs 64 to 127, each written whole, of which the output is made at
the end. One process writes the output as it goes; resumed, it begins that with what is stored. Then the folder is
removed.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import msgspec

from fer_cli.documents import check_document
from fer_cli.errors import FerError, UsageError
from fer_cli.faces.formats import is_video
from fer_cli.files import read_json, write_bytes, write_json, written_whole
from fer_cli.prediction.listing import to_path
from fer_cli.prediction.results import COLUMNS, Frame, FrameResult, Skipped, from_row
from fer_cli.prediction.sinks import write_errors
from fer_cli.prediction.sources import Input
from fer_cli.progress import Progress, silent

#: Path, subject, problem and source of an input; of one in a shard also the shard and the place there.
_Input = tuple[str, str | None, str | None, int]
_InShard = tuple[str, str | None, str | None, int, str, tuple[int, int]]
_decode_input = msgspec.json.Decoder(_Input).decode
#: A part that holds a block, by its first input and the one after its last.
_BLOCK = re.compile(r"part-(\d+)-(\d+)\.jsonl")
# The columns stand once; a type checker sees a dictionary.
if TYPE_CHECKING:
    _Face = dict[str, Any]
else:
    _Face = TypedDict("_Face", {name: kind | None for name, kind in COLUMNS.items()})


class _Record(TypedDict):
    index: int
    path: str
    frame: int | None
    time: float | None
    end: bool
    faces: list[_Face]
    skipped: list[tuple[str, bool, int | None]]


class Block(NamedTuple):
    """The inputs from ``start`` to before ``stop``, a stored line each."""

    start: int
    stop: int
    inputs: bytes


class Checkpoint:
    """The checkpoint of the prediction into ``out``."""

    def __init__(self, out: Path):
        self.folder = out.with_name(f".{out.name}.unfinished")
        self._settings = self.folder / "settings.json"
        self._inputs = self.folder / "inputs.jsonl"

    @property
    def exists(self) -> bool:
        """Whether there is something to resume."""
        return self._settings.is_file()

    @property
    def empty(self) -> bool:
        """Whether no result is stored yet."""
        return not any(part.stat().st_size for part in self.folder.glob("part-*.jsonl"))

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder anew, or with ``resume`` keep the existing one.

        Raises :class:`~fer_cli.errors.UsageError` if that began with other settings.
        """
        settings = json.loads(json.dumps(settings))
        if resume and self.exists:
            before = self._read_settings()
            if before.get("processes") == 1:
                # Of a version that could divide a prediction among several.
                del before["processes"]
            changed = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
            if changed:
                raise UsageError(
                    f"--resume: {', '.join(changed)} is not what the interrupted prediction began with.",
                    hint="Type the same line as then with --resume, or --overwrite to begin anew.",
                )
            return
        with write_errors(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(self._settings, settings)

    def list_inputs(self, inputs: Iterable[Input], progress: Progress = silent) -> int:
        """Store the inputs, unless that was done, and count them."""
        if not self._inputs.is_file():
            with write_errors(self._inputs), written_whole(self._inputs) as part, part.open("w") as file:
                for number, each in enumerate(inputs, start=1):
                    # As ASCII, in which a name that is no UTF-8 keeps its bytes.
                    row: list[Any] = [str(each.path), each.subject, each.problem, each.source]
                    row += [] if each.shard is None else [each.shard, each.place]
                    file.write(json.dumps(row) + "\n")
                    progress("listing", number, None)
        with self._inputs.open("rb") as file:
            return sum(1 for _ in file)

    def inputs(self) -> Iterator[Input]:
        """All inputs, from the first."""
        return (self._input(line) for line in self._input_lines())

    def remaining(self) -> Iterator[tuple[int, Input]]:
        """The numbered inputs that have no stored result."""
        done = self._truncate(self._part)
        return ((index, each) for index, each in enumerate(self.inputs()) if index > done)

    def store(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """The same results, each stored once the caller has come back for the next."""
        with self._part.open("ab", buffering=0) as file:
            for result in results:
                yield result
                with write_errors(self._part):
                    file.write(line_of(result))

    def remaining_blocks(self, size: int) -> Iterator[Block]:
        """The inputs that are in no stored block, in blocks of up to ``size``, and a block for each video.

        A stored block that is damaged is removed, and its inputs are in none.
        """
        done = iter(self._blocks(check=True))
        start, stop, _ = next(done, (-1, -1, None))
        waiting: list[bytes] = []
        skipped_until = index = 0
        for index, line in enumerate(self._input_lines()):
            if index == start:
                skipped_until = stop
                start, stop, _ = next(done, (-1, -1, None))
            alone = is_video(self._input(line).path)
            if waiting and (index < skipped_until or alone):
                yield Block(index - len(waiting), index, b"".join(waiting))
                waiting = []
            if index >= skipped_until:
                waiting.append(line)
                if len(waiting) == size or alone:
                    yield Block(index + 1 - len(waiting), index + 1, b"".join(waiting))
                    waiting = []
        if waiting:
            yield Block(index + 1 - len(waiting), index + 1, b"".join(waiting))

    def store_block(self, start: int, stop: int, lines: bytes) -> None:
        """Store the lines of the results of the inputs from ``start`` to before ``stop``, whole or not at all."""
        path = self.folder / f"part-{start}-{stop}.jsonl"
        with write_errors(path):
            write_bytes(path, lines)

    def results(self) -> Iterator[FrameResult]:
        """All stored results, in the order of the inputs."""
        blocks = [part for _, _, part in self._blocks()]
        lines = chain.from_iterable(_lines(part) for part in (blocks or [self._part]))
        return map(_result, lines)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _part(self) -> Path:
        return self.folder / "part-0.jsonl"

    def _input_lines(self) -> Iterator[bytes]:
        with self._inputs.open("rb") as file:
            yield from file

    def _input(self, line: bytes) -> Input:
        try:
            return input_of(line)
        except ValueError as error:
            raise _foreign(self._inputs, error) from error

    def _blocks(self, *, check: bool = False) -> list[tuple[int, int, Path]]:
        """The stored blocks in order; with ``check`` without those that are damaged, or overlap, which are removed."""
        found = [
            (int(name[1]), int(name[2]), path)
            for path in self.folder.iterdir()
            if (name := _BLOCK.fullmatch(path.name))
        ]
        found.sort()
        if not check:
            return found
        whole: list[tuple[int, int, Path]] = []
        for start, stop, path in found:
            if (not whole or whole[-1][1] <= start) and _is_whole(path, start, stop):
                whole.append((start, stop, path))
            else:
                path.unlink()
        return whole

    def _read_settings(self) -> dict[str, Any]:
        try:
            stored = read_json(self._settings)
            check_document(stored, dict[str, Any])
        except (OSError, ValueError) as error:
            raise _foreign(self._settings, error) from error
        return stored

    @staticmethod
    def _truncate(part: Path) -> int:
        """Truncate the part after the last finished input, and return its index; -1 if there is none."""
        last, end, position = -1, 0, 0
        if not part.is_file():
            return last
        with part.open("r+b") as file:
            for line in file:
                position += len(line)
                try:
                    result = _result(_checked(line, _Record))
                except (ValueError, TypeError):
                    break
                if line.endswith(b"\n") and result.frame.closes:
                    last, end = result.frame.index, position
            file.truncate(end)
        return last


def input_of(line: bytes) -> Input:
    """The input of a stored line; raises ``ValueError`` if it holds none."""
    path, *rest = _checked_input(line)
    return Input(to_path(path), *rest)


def line_of(result: FrameResult) -> bytes:
    """The line that stores a result."""
    record = _record(result)
    try:
        # In a tenth of the time that Python's own encoder takes.
        return msgspec.json.encode(record) + b"\n"
    except UnicodeEncodeError:
        # A name that is no UTF-8 keeps its bytes in ASCII.
        return json.dumps(record).encode() + b"\n"


def _is_whole(part: Path, start: int, stop: int) -> bool:
    """Whether the block's results are all there, and nothing else."""
    following = start
    with part.open("rb") as file:
        for line in file:
            try:
                frame = _result(_checked(line, _Record)).frame
            except (ValueError, TypeError):
                return False
            if frame.index != following:
                return False
            following += frame.closes
    return following == stop


def _lines(part: Path) -> Iterator[dict[str, Any]]:
    if part.is_file():
        with part.open("rb") as file:
            yield from map(json.loads, file)


def _foreign(path: Path, error: Exception) -> FerError:
    return FerError(f"{path} is not what fer wrote: {error}.", hint="Type --overwrite to begin anew.")


def _checked(line: bytes, kind: Any) -> Any:
    """The JSON in a line, of the type ``kind``; raises ``ValueError`` for anything else."""
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    check_document(found, kind)
    return found


def _checked_input(line: bytes) -> Any:
    with suppress(ValueError):
        # In a fortieth of the time that the others take.
        return _decode_input(line)
    try:
        # A name that is no UTF-8.
        return _checked(line, _Input)
    except ValueError:
        *row, place = _checked(line, _InShard)
        return [*row, tuple(place)]


def _record(result: FrameResult) -> dict[str, Any]:
    frame = result.frame
    return {
        "index": frame.index,
        "path": str(frame.path),
        "frame": frame.number,
        "time": frame.time,
        "end": frame.end,
        "faces": result.rows,
        "skipped": result.skipped,
    }


def _result(record: Mapping[str, Any]) -> FrameResult:
    frame = Frame(
        record["index"], to_path(record["path"]), number=record["frame"], time=record["time"], end=record["end"]
    )
    skipped = tuple(Skipped(*each) for each in record["skipped"])
    return FrameResult(frame, tuple(map(from_row, record["faces"])), skipped)
