"""The folder of a prediction that is under way, from which an interrupted one goes on.

Beside the output ``p.csv`` it is ``.p.csv.unfinished``, and holds ``settings.json`` (what was asked for),
``inputs.jsonl`` (the inputs, listed once, so that a folder that changes meanwhile changes nothing) and a part
``part-0.jsonl`` a process: one line an outcome, in the order of the inputs, written when all that comes of it is there.
A line cut short, and the lines of a video that was not finished, are dropped and made again. When all is done, the
output is made of the parts, whole, and the folder goes.
"""

import heapq
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta

from fer_cli.documents import check_document
from fer_cli.errors import FerError, UsageError
from fer_cli.faces.detect import Face
from fer_cli.files import read_json, write_json, written_whole
from fer_cli.prediction.inputs import Input
from fer_cli.prediction.outcomes import Missed, Outcome, Prediction
from fer_cli.prediction.shots import Shot
from fer_cli.prediction.writers import said
from fer_cli.progress import Progress, silent


class Unfinished:
    """The folder of the prediction whose output is to be ``out``."""

    def __init__(self, out: Path):
        self.folder = out.with_name(f".{out.name}.unfinished")
        self._settings = self.folder / "settings.json"
        self._inputs = self.folder / "inputs.jsonl"

    @property
    def exists(self) -> bool:
        """Whether there is something to go on with."""
        return self._settings.is_file()

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder anew, or with ``resume`` go on with the one that is there.

        Raises :class:`~fer_cli.errors.UsageError` if other things were asked for then.
        """
        settings = json.loads(json.dumps(settings))
        if resume and self.exists:
            before = _read_json(self._settings)
            changed = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
            if changed:
                raise UsageError(
                    f"--resume: {', '.join(changed)} is not what the interrupted prediction began with.",
                    hint="Type the same line as then with --resume, or --overwrite to begin anew.",
                )
            return
        with said(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(self._settings, settings)

    def list_inputs(self, found: Iterable[Input], progress: Progress = silent) -> int:
        """Write the inputs down, unless that was done, and say how many there are."""
        if not self._inputs.is_file():
            with said(self._inputs), written_whole(self._inputs) as beside, beside.open("w") as file:
                for number, each in enumerate(found, start=1):
                    # As ASCII, in which a name that is no UTF-8 keeps its bytes.
                    file.write(json.dumps([str(each.path), each.subject, each.problem]) + "\n")
                    progress("listing", number, None)
        with self._inputs.open("rb") as file:
            return sum(1 for _ in file)

    def inputs(self, rank: int = 0, processes: int = 1) -> Iterator[tuple[int, Input]]:
        """The numbered inputs of process ``rank`` of several that it has not done yet."""
        done = self._keep_whole(self._part(rank))
        for index, each in enumerate(self.all_inputs()):
            if index % processes == rank and index > done:
                yield index, each

    def all_inputs(self) -> Iterator[Input]:
        """All inputs, from the first."""
        with self._inputs.open("rb") as file:
            for line in file:
                try:
                    path, subject, problem = _checked(line, _Input)
                except ValueError as error:
                    raise _foreign(self._inputs, error) from error
                yield Input(Path(path), subject, problem)

    @property
    def empty(self) -> bool:
        """Whether nothing has been written down yet."""
        return not any(part.stat().st_size for part in self.folder.glob("part-*.jsonl"))

    def keep(self, outcomes: Iterable[Outcome], rank: int = 0) -> Iterator[Outcome]:
        """The same outcomes, each written down once whoever takes them has come back for the next."""
        with self._part(rank).open("ab", buffering=0) as file:
            for outcome in outcomes:
                yield outcome
                with said(self._part(rank)):
                    file.write(json.dumps(_record(outcome)).encode() + b"\n")

    def outcomes(self) -> Iterator[Outcome]:
        """All that was written down, of all processes, in the order of the inputs."""
        parts = [_lines(part) for part in self.folder.glob("part-*.jsonl")]
        for record in heapq.merge(*parts, key=lambda record: record["index"]):
            yield _outcome(record)

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _part(self, rank: int) -> Path:
        return self.folder / f"part-{rank}.jsonl"

    @staticmethod
    def _keep_whole(part: Path) -> int:
        """Cut the part off after the last input that was finished, and say which that is; -1 if there is none."""
        last, end, position = -1, 0, 0
        if not part.is_file():
            return last
        with part.open("r+b") as file:
            for line in file:
                position += len(line)
                try:
                    record = _checked(line, _Record)
                except ValueError:
                    break
                if line.endswith(b"\n") and (record["end"] or record["frame"] is None):
                    last, end = record["index"], position
            file.truncate(end)
        return last


def _lines(part: Path) -> Iterator[dict[str, Any]]:
    with part.open("rb") as file:
        yield from map(json.loads, file)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        stored = read_json(path)
        check_document(stored, dict[str, Any])
    except (OSError, ValueError) as error:
        raise _foreign(path, error) from error
    return stored


def _foreign(path: Path, error: Exception) -> FerError:
    return FerError(f"{path} is not what fer wrote: {error}.", hint="Type --overwrite to begin anew.")


def _checked(line: bytes, kind: Any) -> Any:
    """The JSON in a line, of the type ``kind``; raises ``ValueError`` for what is not."""
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    check_document(found, kind)
    return found


#: Path, subject and problem of an input.
_Input = tuple[str, str | None, str | None]
_Point = tuple[float, float]


class _Face(TypedDict):
    number: int
    probabilities: Annotated[dict[str, float], Meta(min_length=1)]
    neutral: str
    neutral_confidence: float | None
    box: tuple[float, float, float, float] | None
    landmarks: tuple[_Point, _Point, _Point, _Point, _Point] | None
    score: float | None


class _Record(TypedDict):
    index: int
    path: str
    frame: int | None
    time: float | None
    end: bool
    faces: list[_Face]
    missed: list[tuple[str, bool, int | None]]


#: What is written of a prediction beside the shot's own facts and the face, by the names of its fields.
PLAIN = tuple(field.name for field in fields(Prediction) if field.name not in ("path", "face", "frame", "time", "crop"))


def _record(outcome: Outcome) -> dict[str, Any]:
    shot = outcome.shot
    return {
        "index": shot.index,
        "path": str(shot.path),
        "frame": shot.frame,
        "time": shot.time,
        "end": shot.end,
        "faces": [
            {
                **{name: getattr(each, name) for name in PLAIN},
                "box": None if each.face is None else list(map(float, each.face.box)),
                "landmarks": None if each.face is None else np.asarray(each.face.landmarks, dtype=float).tolist(),
                "score": None if each.face is None else float(each.face.score),
            }
            for each in outcome.predictions
        ],
        "missed": [[each.reason, each.fault, each.number] for each in outcome.missed],
    }


def _outcome(record: Mapping[str, Any]) -> Outcome:
    path, frame, time = Path(record["path"]), record["frame"], record["time"]
    predictions = []
    for each in record["faces"]:
        face = None
        if each["box"] is not None:
            face = Face(tuple(each["box"]), np.array(each["landmarks"]), each["score"])
        plain = {name: each[name] for name in PLAIN}
        predictions.append(Prediction(path=path, face=face, frame=frame, time=time, **plain))
    missed = tuple(Missed(path, reason, fault, number, frame) for reason, fault, number in record["missed"])
    return Outcome(
        Shot(record["index"], path, None, None, frame, time, None, record["end"]), tuple(predictions), missed
    )
