"""Which way up a picture is, and which half of it shows the frontal face, told by where a face is found."""

from dataclasses import dataclass

import numpy as np

from fer_cli.errors import PictureError
from fer_cli.faces.detect import Detector

#: Turns tried, in quarters clockwise: as most sideways videos want it, as it is, the other way, upside down.
QUARTERS = (1, 0, 3, 2)


@dataclass(frozen=True, slots=True)
class Way:
    """How a picture was looked at: ``turn`` in degrees clockwise, ``part`` whole, left or right."""

    turn: int
    part: str


def best_way_up(pixels: np.ndarray, detector: Detector, *, turned: bool, halves: bool) -> tuple[np.ndarray, Way]:
    """The picture as the detector is surest of a face in it, and how that is.

    A face lying on its side is found too, with a lower score and its eyes in the wrong places; the highest score is
    that of the upright face, and the frontal one beats the profile beside it. Raises
    :class:`~fer_cli.errors.PictureError` if none is found in any way.
    """
    best: tuple[float, np.ndarray, Way] | None = None
    for quarters in QUARTERS if turned else (0,):
        whole = np.ascontiguousarray(np.rot90(pixels, -quarters))
        middle = whole.shape[1] // 2
        parts = {"left": whole[:, :middle], "right": whole[:, middle:]} if halves else {"whole": whole}
        for part, seen in parts.items():
            seen = np.ascontiguousarray(seen)
            score = max((face.score for face in detector.detect(seen, any_way_up=False)), default=0.0)
            if score and (best is None or score > best[0]):
                best = (score, seen, Way(90 * quarters, part))
    if best is None:
        raise PictureError("no face found")
    return best[1], best[2]
