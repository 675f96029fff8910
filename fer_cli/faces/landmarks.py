"""Facial points that a corpus's owners ship: 68 lines ``x y``, in the iBUG order."""

from pathlib import Path

import numpy as np

from fer_cli.errors import PictureError
from fer_cli.files import read_bytes

MAX_BYTES = 64 * 1024
#: No picture is as wide, in pixels.
FARTHEST = 1_000_000

RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
NOSE_TIP, RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 30, 48, 54


def read_landmarks(path: Path) -> np.ndarray:
    """68×2 points, x and y in pixels.

    Raises :class:`~fer_cli.errors.PictureError` if the file does not hold just those.
    """
    try:
        rows = [line.split() for line in read_bytes(path, MAX_BYTES).decode("ascii").splitlines() if line.strip()]
        points = np.array(rows, dtype=float)
    except (OSError, ValueError) as error:
        raise PictureError("landmarks that cannot be read") from error
    if points.shape != (68, 2) or not (np.abs(points) < FARTHEST).all():
        raise PictureError("landmarks that are not 68 points")
    return points


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """5×2: right eye, left eye, tip of the nose, right and left corner of the mouth, of 68×2 ``landmarks``."""
    return np.array(
        [
            landmarks[RIGHT_EYE].mean(axis=0),
            landmarks[LEFT_EYE].mean(axis=0),
            landmarks[NOSE_TIP],
            landmarks[RIGHT_MOUTH_CORNER],
            landmarks[LEFT_MOUTH_CORNER],
        ]
    )
