"""The part of a picture that somebody says a face is in."""

import numpy as np

from fer_cli.errors import PictureError

#: Room left on each side of the box, as a part of its own: a detector finds a face better with its surroundings.
ROOM = 0.3


def cut(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The part of H×W×3 ``pixels`` about ``box`` (x, y, width, height in pixels), with some room.

    Raises :class:`~fer_cli.errors.PictureError` if the box is empty or outside the picture.
    """
    x, y, width, height = box
    if not np.isfinite(box).all() or width < 1 or height < 1:
        raise PictureError("a face's box that is empty")
    left, top = int(max(0, x - ROOM * width)), int(max(0, y - ROOM * height))
    right, bottom = int(x + (1 + ROOM) * width), int(y + (1 + ROOM) * height)
    part = pixels[top : max(top, bottom), left : max(left, right)]
    if not part.size:
        raise PictureError("a face's box outside its picture")
    return np.ascontiguousarray(part)
