"""Smoothing of a video's probabilities over time: expressions last, and predictions of single frames flicker."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fer_cli.prediction.results import FacePrediction, FrameResult

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
