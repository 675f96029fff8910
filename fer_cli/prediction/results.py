"""Results of a prediction: frames, their faces with probabilities, rows of both, and smoothing over time."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_cli.files import as_text


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, or one frame of a video or camera.

    ``index`` counts the inputs from 0. ``pixels`` (H×W×3 uint8 RGB) is None for a picture file that is still to be
    decoded. ``number``, counted from 0, and ``time``, in seconds from the start, are those of a video or a camera.
    ``subject`` is the person shown, where a list says so; ``problem`` why there are no pixels. After a video's last
    frame comes one without pixels whose ``end`` is True.
    """

    index: int
    path: Path
    subject: str | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)
    number: int | None = None
    time: float | None = None
    problem: str | None = None
    end: bool = False

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
    for and there are landmarks: 112×112×3 uint8 RGB.
    """

    number: int
    probabilities: dict[str, float] = field(default_factory=dict)
    box: tuple[float, float, float, float] | None = None
    landmarks: np.ndarray | None = field(default=None, repr=False, compare=False)
    detection: float | None = None
    neutral: str = ""
    neutral_confidence: float | None = None
    track: int | None = None
    person: str = ""
    person_confidence: float | None = None
    crop: np.ndarray | None = field(default=None, repr=False, compare=False)
    aligned: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of :attr:`label`."""
        return self.probabilities[self.label]


class Skipped(NamedTuple):
    """The reason why a frame, or one ``face`` of it, has no prediction, or a note on one that has.

    ``fault`` is True where something is wrong with it; False where a rule excludes it, and for notes (of an animated
    picture the first frame is taken, say).
    """

    reason: str
    fault: bool = True
    face: int | None = None


@dataclass(frozen=True, slots=True)
class FrameResult:
    """A frame, without its pixels, with its faces, and what was skipped."""

    frame: Frame
    faces: tuple[FacePrediction, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass
class Summary:
    """Counts: ``frames``, of which ``used`` have a face; ``faces``, and how many of each label; ``faults``."""

    frames: int = 0
    used: int = 0
    faces: int = 0
    faults: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def count(self, result: FrameResult) -> None:
        """Count one result."""
        self.faults += sum(skipped.fault for skipped in result.skipped)
        if not result.frame.end:
            self.frames += 1
            self.used += bool(result.faces)
            self.faces += len(result.faces)
            self.labels.update(face.label for face in result.faces)


POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
BOX = ("x", "y", "width", "height")
LANDMARKS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")

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
    **dict.fromkeys((*BOX, "detection", *LANDMARKS), float),
    "neutral": str,
    "neutral_confidence": float,
    "label": str,
    "confidence": float,
}
#: The columns of the table of skipped frames and faces. ``kind`` is ``fault``, or ``note`` for what is no fault.
SKIPPED_COLUMNS: dict[str, type] = {"file": str, "frame": int, "face": int, "kind": str, "reason": str}
#: Before a class's name in the column of its probability.
PROBABILITY = "p_"


def columns(classes: Sequence[str]) -> dict[str, type]:
    """The columns with their types: :data:`COLUMNS`, then ``p_anger`` and so on, a probability a class."""
    return {**COLUMNS, **dict.fromkeys((PROBABILITY + name for name in classes), float)}


def to_row(frame: Frame, face: FacePrediction) -> dict[str, Any]:
    """One face as a row of :func:`columns`, exact to the last digit; what is absent is None."""
    row = dict.fromkeys(COLUMNS)
    if face.box is not None:
        row |= zip(BOX, map(float, face.box), strict=True)
        row |= zip(LANDMARKS, map(float, np.ravel(face.landmarks)), strict=True)
        row["detection"] = float(face.detection)
    return row | {
        "file": as_text(frame.path),
        "frame": frame.number,
        "time": frame.time,
        "face": face.number,
        "track": face.track,
        "person": as_text(face.person) or None,
        "person_confidence": face.person_confidence,
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


#: The intersection over union from which two boxes of successive frames are one face's.
SAME_FACE = 0.3
#: Seconds after which a face that was out of sight is a new one.
OUT_OF_SIGHT = 2.0


Box = tuple[float, float, float, float]


@dataclass(slots=True)
class _Track:
    box: Box | None
    time: float
    shares: dict[str, float]


def smoothed(results: Iterable[FrameResult], seconds: float) -> Iterator[FrameResult]:
    """The results with the probabilities of videos' faces averaged over the past, exponentially.

    A frame counts for less the longer ago it is, by half each ``seconds``; later frames do not count, so that a result
    is there as soon as its frame is. A face is tracked from frame to frame by its box. Pictures are unchanged.
    """
    tracks: list[_Track] = []
    for result in results:
        if result.frame.closes:
            tracks = []
            yield result
            continue
        now = result.frame.time
        tracks = [track for track in tracks if now - track.time <= max(OUT_OF_SIGHT, seconds)]
        free = list(tracks)
        faces = []
        for face in result.faces:
            track = max(free, key=lambda track: _iou(track.box, face.box), default=None)
            if track is None or _iou(track.box, face.box) < SAME_FACE:
                tracks.append(_Track(face.box, now, face.probabilities))
                faces.append(face)
            else:
                free.remove(track)
                faces.append(_averaged(track, face, now, seconds))
        yield replace(result, faces=tuple(faces))


def _averaged(track: _Track, face: FacePrediction, now: float, seconds: float) -> FacePrediction:
    past = math.pow(0.5, (now - track.time) / seconds)
    shares = {name: past * track.shares[name] + (1 - past) * share for name, share in face.probabilities.items()}
    track.box, track.time, track.shares = face.box, now, shares
    return replace(face, probabilities=shares)


def _iou(one: Box | None, other: Box | None) -> float:
    """The intersection of two boxes over their union; 1 where both are the whole picture."""
    if one is None or other is None:
        return float(one is other)
    (x, y, width, height), (u, v, breadth, tall) = one, other
    across = max(0.0, min(x + width, u + breadth) - max(x, u))
    down = max(0.0, min(y + height, v + tall) - max(y, v))
    return across * down / (width * height + breadth * tall - across * down)
