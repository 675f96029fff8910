"""Smoothing over time: an expression lasts, and what a model makes of single frames flickers."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fer_cli.faces.detect import Face
from fer_cli.prediction.outcomes import Outcome, Prediction

#: A face is the one of the frame before whose box shares at least this part of the two boxes' union with it.
SAME_FACE = 0.3
#: Seconds after which a face that was out of sight is a new one.
OUT_OF_SIGHT = 2.0


@dataclass(slots=True)
class _Track:
    face: Face | None
    time: float
    shares: dict[str, float]


def smoothed(outcomes: Iterable[Outcome], seconds: float) -> Iterator[Outcome]:
    """The outcomes with the probabilities of videos' faces averaged over the past, exponentially.

    A frame counts for less the longer ago it is, by half each ``seconds``; nothing ahead of a frame counts, so
    that a result is there as soon as its frame is. A face is followed from frame to frame by its box. Pictures stay as
    they are.
    """
    tracks: list[_Track] = []
    for outcome in outcomes:
        if outcome.shot.closes:
            tracks = []
            yield outcome
            continue
        now = outcome.shot.time
        tracks = [track for track in tracks if now - track.time <= max(OUT_OF_SIGHT, seconds)]
        free = list(tracks)
        calmer = []
        for prediction in outcome.predictions:
            track = max(free, key=lambda track: _overlap(track.face, prediction.face), default=None)
            if track is None or _overlap(track.face, prediction.face) < SAME_FACE:
                tracks.append(_Track(prediction.face, now, prediction.probabilities))
                calmer.append(prediction)
                continue
            free.remove(track)
            calmer.append(_averaged(track, prediction, seconds))
        yield replace(outcome, predictions=tuple(calmer))


def _averaged(track: _Track, prediction: Prediction, seconds: float) -> Prediction:
    past = math.pow(0.5, (prediction.time - track.time) / seconds)
    shares = {name: past * track.shares[name] + (1 - past) * share for name, share in prediction.probabilities.items()}
    track.face, track.time, track.shares = prediction.face, prediction.time, shares
    return replace(prediction, probabilities=shares)


def _overlap(one: Face | None, other: Face | None) -> float:
    """The part of two boxes' union that both cover; 1 where both are the whole picture."""
    if one is None or other is None:
        return float(one is other)
    (x, y, width, height), (u, v, breadth, tall) = one.box, other.box
    across = max(0.0, min(x + width, u + breadth) - max(x, u))
    down = max(0.0, min(y + height, v + tall) - max(y, v))
    return across * down / (one.area + other.area - across * down)
