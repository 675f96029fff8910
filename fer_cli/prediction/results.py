"""Results of a prediction: frames, their faces with probabilities, and rows of both."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_cli.files import as_text

#: x, y, width and height in pixels.
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, or one frame of a video or camera.

    ``index`` counts the inputs from 0. ``pixels`` (H×W×3 uint8 RGB) is None for a picture that is still to be decoded,
    from its file at ``path`` or from ``data``, the bytes of a file. ``number``, counted from 0, and ``time``, in
    seconds from the start, are those of a video or a camera. ``subject`` is the person shown, where a list says so;
    ``problem`` why there are no pixels. After a video's last frame comes one without pixels whose ``end`` is True.
    ``origin`` is the input where ``path`` is no file of this disk but a name: what opens it once more. ``thumbnail``,
    16×16 uint8 grey, is left of a video's pixels once the faces are extracted.
    """

    index: int
    path: Path
    subject: str | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)
    number: int | None = None
    time: float | None = None
    problem: str | None = None
    end: bool = False
    data: bytes | None = field(default=None, repr=False)
    origin: Any = field(default=None, repr=False, compare=False)
    thumbnail: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def closes(self) -> bool:
        """Whether no other frame of the same input follows."""
        return self.end or self.number is None


@dataclass(frozen=True, slots=True)
class FacePrediction:
    """One face, and what a model makes of it.

    ``number`` counts the faces of a picture from 0, the largest first. ``probabilities`` are by class and sum to 1.
    ``box`` is x, y, width and height in pixels of the upright picture; ``landmarks``, 5×2, are the right and left eye,
    the nose and the right and left corner of the mouth; ``detection`` is the detector's score; all three are None where
    the whole picture was taken as the face. ``neutral`` names the neutral face that a paired model compared it with,
    and ``neutral_confidence`` is the probability that this one is neutral, where it was found among the pictures.
    ``track`` numbers the faces of a video that are followed from frame to frame, from 0 in the order in which they come
    up. ``person`` is who it is, as the people store calls them, and ``person_confidence`` how sure that is, from 0
    to 1. ``crop`` is the model's input, size×size×3 uint8 RGB; ``aligned`` is an identity encoder's, where it was asked
    for and there are landmarks: 112×112×3 uint8 RGB; ``identity`` is what that encoder made of the face, D float32,
    where that was asked for.
    """

    number: int
    probabilities: dict[str, float] = field(default_factory=dict)
    box: Box | None = None
    landmarks: np.ndarray | None = field(default=None, repr=False, compare=False)
    detection: float | None = None
    neutral: str = ""
    neutral_confidence: float | None = None
    track: int | None = None
    person: str = ""
    person_confidence: float | None = None
    crop: np.ndarray | None = field(default=None, repr=False, compare=False)
    aligned: np.ndarray | None = field(default=None, repr=False, compare=False)
    identity: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of :attr:`label`."""
        return max(self.probabilities.values())


def crop_of(face: FacePrediction) -> np.ndarray:
    """The face's ``crop``, which it has until its result is stored; raises ``ValueError`` afterwards."""
    if face.crop is None:
        raise ValueError(f"the crop of face {face.number} was not kept")
    return face.crop


class Skipped(NamedTuple):
    """The reason why a frame, or one ``face`` of it, has no prediction, or a note on one that has.

    ``fault`` is True where something is wrong with it; False where a rule excludes it, and for notes (of an animated
    picture the first frame is taken, say).
    """

    reason: str
    fault: bool = True
    face: int | None = None


@dataclass(frozen=True)
class FrameResult:
    """A frame, without its pixels, with its faces, and what was skipped."""

    frame: Frame
    faces: tuple[FacePrediction, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @cached_property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """:func:`to_row` of each face, made once for whoever stores them."""
        return tuple(to_row(self.frame, face) for face in self.faces)


#: Faces that a summary names for being the least certain.
LEAST_CERTAIN = 3


@dataclass
class Summary:
    """Counts: ``frames``, of which ``used`` have a face; ``faces``, and how many of each label; ``faults``.

    ``least_certain`` are the :data:`LEAST_CERTAIN` faces with the lowest confidence, of each picture or video one.
    """

    frames: int = 0
    used: int = 0
    faces: int = 0
    faults: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    least_certain: list[tuple[Frame, FacePrediction]] = field(default_factory=list)

    def count(self, result: FrameResult) -> None:
        """Count one result."""
        self.faults += sum(skipped.fault for skipped in result.skipped)
        if not result.frame.end:
            self.frames += 1
            self.used += bool(result.faces)
            self.faces += len(result.faces)
            self.labels.update(face.label for face in result.faces)
        if result.faces:
            face = min(result.faces, key=lambda face: face.confidence)
            if len(self.least_certain) < LEAST_CERTAIN or face.confidence < self.least_certain[-1][1].confidence:
                self._compare(result.frame, face)

    def _compare(self, frame: Frame, face: FacePrediction) -> None:
        found: dict[int, tuple[Frame, FacePrediction]] = {}
        for each in sorted([*self.least_certain, (frame, replace(face, crop=None))], key=lambda it: it[1].confidence):
            found.setdefault(each[0].index, each)
        self.least_certain = list(found.values())[:LEAST_CERTAIN]


POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
BOX = ("x", "y", "width", "height")
LANDMARKS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
#: The columns of where a face is.
PLACE = (*BOX, "detection", *LANDMARKS)

#: The columns before the probabilities, and their types. ``frame``, ``time`` (seconds) and ``track`` are empty for
#: pictures; ``person`` and ``person_confidence`` where people are not told apart. The
#: box and the landmarks are in pixels of the upright picture, from its top left corner, and empty where the whole
#: picture is the face; right and left are the person's own. ``detection`` is the detector's score, ``confidence`` the
#: probability of ``label``, ``neutral`` the neutral face that it was compared with, ``neutral_confidence`` the
#: probability that this is neutral, where it was found among the pictures.
COLUMNS: dict[str, type] = {
    "file": str,
    "frame": int,
    "time": float,
    "face": int,
    "track": int,
    "person": str,
    "person_confidence": float,
    **dict.fromkeys(PLACE, float),
    "neutral": str,
    "neutral_confidence": float,
    "label": str,
    "confidence": float,
}
#: The columns of the table of skipped frames and faces. ``kind`` is ``fault``, or ``note`` for what is no fault.
SKIPPED_COLUMNS: dict[str, type] = {"file": str, "frame": int, "face": int, "kind": str, "reason": str}
#: Before a class's name in the column of its probability.
PROBABILITY = "p_"


class Column(NamedTuple):
    """A column of another program's table: ``of`` names ours, and ``make`` its value from the whole row where given."""

    of: str
    kind: type
    make: Callable[[Mapping[str, Any]], Any] | None = None


def _clock(row: Mapping[str, Any]) -> str | None:
    """Minutes and seconds, 01:07, as py-feat writes them."""
    return None if row["time"] is None else "{:02d}:{:02d}".format(*divmod(int(row["time"]), 60))


def _identity(row: Mapping[str, Any]) -> str | None:
    """The person, or where nobody is told apart the track, by the name that py-feat gives to one."""
    return row["person"] or (None if row["track"] is None else f"Person_{row['track']}")


#: Other programs' columns, in their order: those of py-feat's ``Detector.detect``, and of OpenFace's ``RecorderCSV``
#: for videos, which counts frames from 1 and whose ``confidence`` is that of the landmarks.
SCHEMAS: dict[str, dict[str, Column]] = {
    "fer": {},
    "pyfeat": {
        **{f"FaceRect{name}": Column(of, float) for name, of in zip(("X", "Y", "Width", "Height"), BOX, strict=True)},
        "FaceScore": Column("detection", float),
        **{
            name: Column(PROBABILITY + name, float)
            for name in ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
        },
        "input": Column("file", str),
        "frame": Column("frame", int),
        "approx_time": Column("", str, _clock),
        "Identity": Column("person", str, _identity),
    },
    "openface": {
        "frame": Column("frame", int, lambda row: None if row["frame"] is None else row["frame"] + 1),
        "face_id": Column("track", int, lambda row: row["face"] if row["track"] is None else row["track"]),
        "timestamp": Column("time", float),
        "confidence": Column("detection", float),
        "success": Column("", int, lambda _: 1),
    },
}
#: What our columns are called where another program's has the name.
RENAMED = {"confidence": "label_confidence", "neutral": "neutral_face"}


def columns(classes: Sequence[str], schema: str = "fer") -> dict[str, type]:
    """The columns with their types: :data:`COLUMNS`, then ``p_anger`` and so on, a probability a class.

    In another of the :data:`SCHEMAS` its columns come first, but for those of classes that the model does not know;
    then ours that it has no place for.
    """
    ours = {**COLUMNS, **dict.fromkeys((PROBABILITY + name for name in classes), float)}
    theirs, rest = _in_schema(ours, schema)
    return {name: column.kind for name, column in theirs.items()} | {name: ours[of] for name, of in rest.items()}


def in_schema(row: Mapping[str, Any], schema: str) -> dict[str, Any]:
    """A row of :func:`to_row` in the columns of one of the :data:`SCHEMAS`."""
    theirs, rest = _in_schema(row, schema)
    made = {name: column.make(row) if column.make else row[column.of] for name, column in theirs.items()}
    return made | {name: row[of] for name, of in rest.items()}


def _in_schema(ours: Mapping[str, Any], schema: str) -> tuple[dict[str, Column], dict[str, str]]:
    """The schema's columns that can be made of ``ours``, and the others of ours by the names that they get."""
    every = SCHEMAS[schema]
    theirs = {name: column for name, column in every.items() if not column.of or column.of in ours}
    taken = {column.of for column in theirs.values()}
    return theirs, {RENAMED[of] if of in every else of: of for of in ours if of not in taken}


def to_row(frame: Frame, face: FacePrediction) -> dict[str, Any]:
    """One face as a row of :func:`columns`, exact to the last digit; what is absent is None."""
    box, points, detection = face.box, face.landmarks, face.detection
    if box is None or points is None or detection is None:
        place = dict.fromkeys(PLACE)
    else:
        place = dict(zip(PLACE, map(float, (*box, detection, *np.ravel(points).tolist())), strict=True))
    return {
        "file": as_text(frame.path),
        "frame": frame.number,
        "time": frame.time,
        "face": face.number,
        "track": face.track,
        "person": as_text(face.person) or None,
        "person_confidence": face.person_confidence,
        **place,
        "neutral": as_text(face.neutral) or None,
        "neutral_confidence": face.neutral_confidence,
        "label": face.label,
        "confidence": face.confidence,
        **{PROBABILITY + name: share for name, share in face.probabilities.items()},
    }


def from_row(row: Mapping[str, Any]) -> FacePrediction:
    """The face of a row that :func:`to_row` made.

    Raises ``ValueError`` or ``TypeError`` if it has no probabilities or its parts are not numbers.
    """
    shares = {name.removeprefix(PROBABILITY): share for name, share in row.items() if name.startswith(PROBABILITY)}
    if not shares:
        raise ValueError("a face without probabilities")
    located = row["x"] is not None
    return FacePrediction(
        row["face"],
        {name: 0.0 + share for name, share in shares.items()},
        tuple(0.0 + row[name] for name in BOX) if located else None,
        np.array([0.0 + row[name] for name in LANDMARKS]).reshape(5, 2) if located else None,
        row["detection"],
        row["neutral"] or "",
        row["neutral_confidence"],
        row["track"],
        row["person"] or "",
        row["person_confidence"],
    )


def face_name(frame: Frame, number: int) -> str:
    """The name of a face that others are compared with: the picture's path, with a video's frame and a group's face.

    >>> face_name(Frame(0, Path("clip.mp4"), number=12), 1)
    'clip.mp4 frame 12 face 1'
    """
    of_video = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.path}{of_video}" + (f" face {number}" if number else "")


def skipped_row(frame: Frame, skipped: Skipped) -> dict[str, Any]:
    """A skipped frame or face as a row of :data:`SKIPPED_COLUMNS`."""
    kind = "fault" if skipped.fault else "note"
    return dict(
        zip(
            SKIPPED_COLUMNS,
            (as_text(frame.path), frame.number, skipped.face, kind, as_text(skipped.reason)),
            strict=True,
        )
    )
