"""Timelines of a video's faces: the probabilities of each track over time, and where each expression is surest."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_cli.labels import EXPRESSIONS
from fer_cli.prediction.results import FacePrediction, Frame

#: The track of a video's largest face, where faces are not followed from frame to frame.
LARGEST = -1
#: Points of a timeline.
MOST_POINTS = 200
#: Lines of expressions that never reach this probability are not drawn.
LEAST_SHARE = 0.1
#: The number of each expression's colour in the pages' palette: the hue that annotated pictures have, with contrast.
HUES = dict(zip(EXPRESSIONS, (7, 1, 5, 2, 4, 6, 0, 3), strict=True))
#: A chart in the units of its SVG's viewBox.
CHART = {"width": 720, "height": 170, "left": 44, "right": 10, "top": 10, "bottom": 26}


def track_of(face: FacePrediction) -> int | None:
    """The track of a face of a video; None where faces are not followed, and it is not its frame's largest."""
    if face.track is not None:
        return face.track
    return LARGEST if face.number == 0 else None


class Peaks:
    """For each track and label of one video, the frame in which this label is the most probable one and surest."""

    def __init__(self) -> None:
        self._best: dict[tuple[int, str], tuple[float, Frame, FacePrediction]] = {}

    def add(self, frame: Frame, face: FacePrediction) -> tuple[Frame, FacePrediction] | None:
        """Add a face; what is no peak, this one or an earlier, is returned."""
        track = track_of(face)
        if track is None:
            return frame, face
        before = self._best.get((track, face.label))
        if before is not None and before[0] >= face.confidence:
            return frame, face
        self._best[track, face.label] = face.confidence, frame, face
        return before and before[1:]

    def of(self, track: int) -> list[tuple[Frame, FacePrediction]]:
        """The peaks of a track, in order of time."""
        found = [(frame, face) for (own, _), (_, frame, face) in self._best.items() if own == track]
        return sorted(found, key=lambda peak: peak[0].number or 0)


@dataclass(frozen=True)
class Timeline:
    """A track as a page shows it.

    ``number`` is the track's, None for a video's largest face; ``person`` and ``neutral`` are those of most of its
    ``frames``. ``times`` are T seconds, ``shares`` T×classes probabilities, ``gaps`` (T−1) whether the face was out of
    sight between one and the next; ``step`` is the length of the stretches of which each is one, 0 for every frame.
    """

    number: int | None
    person: str
    neutral: str
    frames: int
    times: np.ndarray
    shares: np.ndarray
    gaps: np.ndarray
    step: float
    classes: tuple[str, ...]
    peaks: list[tuple[Frame, FacePrediction]]


class Track:
    """The probabilities of one face of a video, frame by frame; its track is ``number``."""

    def __init__(self, number: int, classes: Sequence[str]):
        self.number, self.classes = number, tuple(classes)
        self._places, self._times, self._shares = array("q"), array("d"), array("f")
        self._people: Counter[str] = Counter()
        self._neutrals: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, place: int, time: float, face: FacePrediction) -> None:
        """Add the face of the frame that was sampled as number ``place``, ``time`` seconds from the start."""
        self._places.append(place)
        self._times.append(time)
        self._shares.extend(face.probabilities.values())
        self._people[face.person] += 1
        self._neutrals[face.neutral] += 1

    def timeline(self, peaks: list[tuple[Frame, FacePrediction]]) -> Timeline:
        """At most :data:`MOST_POINTS` frames: of each stretch of time the one whose label is surest."""
        times, places = np.array(self._times), np.array(self._places)
        shares = np.array(self._shares, np.float32).reshape(len(times), -1)
        parts = np.array_split(np.arange(len(times)), min(len(times), MOST_POINTS))
        chosen = np.array([part[shares[part].max(axis=1).argmax()] for part in parts])
        # The frames that are missing before each, counted from the first.
        missing = (places - np.arange(len(places)))[chosen]
        return Timeline(
            None if self.number == LARGEST else self.number,
            self._people.most_common(1)[0][0],
            self._neutrals.most_common(1)[0][0],
            len(times),
            times[chosen],
            shares[chosen],
            np.diff(missing) > 0,
            0.0 if len(times) <= MOST_POINTS else float(times[-1] - times[0]) / MOST_POINTS,
            self.classes,
            peaks,
        )


def hue(label: str, labels: Sequence[str]) -> int:
    """The number of a label's colour: an expression's own, and any other's by its place among the labels.

    >>> hue("anger", ["anger", "boredom"]), hue("boredom", ["anger", "boredom"])
    (1, 2)
    """
    return HUES[label] if label in HUES else (labels.index(label) + 1) % len(HUES)


def drawn(timeline: Timeline, labels: Sequence[str]) -> dict[str, Any]:
    """The lines, ticks and peaks of a timeline's chart."""
    begin, end = float(timeline.times[0]), float(timeline.times[-1])
    across = CHART["width"] - CHART["left"] - CHART["right"]
    down = CHART["height"] - CHART["top"] - CHART["bottom"]

    def x(time: float) -> float:
        return round(CHART["left"] + across * ((time - begin) / (end - begin) if end > begin else 0.5), 1)

    def y(share: float) -> float:
        return round(CHART["top"] + down * (1 - share), 1)

    lines = []
    for label, shares in zip(timeline.classes, timeline.shares.T, strict=True):
        if shares.max() >= LEAST_SHARE:
            parts = np.split(np.arange(len(shares)), np.flatnonzero(timeline.gaps) + 1)
            # A line through one point is drawn where it leads there twice.
            parts = [part if len(part) > 1 else part.repeat(2) for part in parts]
            points = [" ".join(f"{x(timeline.times[place])},{y(shares[place])}" for place in part) for part in parts]
            lines.append({"label": label, "hue": hue(label, labels), "parts": points})
    return {
        "lines": lines,
        "x_ticks": [(x(time), f"{time:.1f} s") for time in np.linspace(begin, end, 5 if end > begin else 1)],
        "y_ticks": [(y(share), f"{share:.0%}") for share in (0, 0.5, 1)],
        "peaks": [
            {"x": x(min(max(frame.time, begin), end)), "y": y(face.confidence), "hue": hue(face.label, labels)}
            for frame, face in timeline.peaks
            if frame.time is not None
        ],
    }
