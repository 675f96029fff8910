"""The template that every face is brought to.

The template is a square in which the eyes are level, centred, and at 0.32 of its height. Without a margin its side is
2.5 times the distance between the eyes, which takes the face in from the forehead to below the chin; the margin adds
that part of the side on each edge. Only the eyes decide: mouth and brows move with the expression that is to be told,
and would carry it into the alignment.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from fer_cli.errors import PictureError, UsageError

#: Side of the square without margin, in distances between the eyes.
SIDE = 2.5
#: How far down the square, without margin, the line of the eyes is.
EYE_LINE = 0.32


@dataclass(frozen=True, slots=True)
class CropTemplate:
    """Square crops of ``size`` pixels a side, with ``margin`` of the tight square's side added on each edge."""

    size: int = 224
    margin: float = 0.15

    def __post_init__(self):
        if not 32 <= self.size <= 1024:
            raise UsageError(f"--size {self.size}: from 32 to 1024 pixels are possible.")
        if not 0 <= self.margin <= 1:
            raise UsageError(f"--margin {self.margin}: from 0 to 1 is possible.")

    @property
    def eyes(self) -> np.ndarray:
        """2×2: where the right and the left eye lie in a crop, x and y in pixels."""
        tight = self.size / (1 + 2 * self.margin)
        down = (self.margin + EYE_LINE) * tight
        apart = tight / SIDE
        return np.array([[(self.size - apart) / 2, down], [(self.size + apart) / 2, down]])

    def matrix(self, landmarks: np.ndarray) -> np.ndarray:
        """2×3: the similarity that brings a picture's points to the crop's, for 5×2 ``landmarks`` (eyes first).

        Raises :class:`~fer_cli.errors.PictureError` if the eyes are in one place.
        """
        right, left = np.asarray(landmarks, dtype=float)[:2]
        to_right, to_left = self.eyes
        # As complex numbers a similarity without mirroring is a product and a sum.
        across, wanted = complex(*(left - right)), complex(*(to_left - to_right))
        if not np.isfinite(across) or abs(across) < 1:
            raise PictureError("eyes in one place")
        turn = wanted / across
        shift = complex(*to_right) - turn * complex(*right)
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])

    def align(self, pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """The face in H×W×3 ``pixels`` as size×size×3; what lies outside the picture repeats its edge."""
        matrix = self.matrix(landmarks)
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        if scale < 1:
            # Each pixel of the crop stands for several of the picture: blurred first, so that none is skipped over.
            pixels, matrix = _smoothed(pixels, matrix, scale)
        return cv2.warpAffine(
            pixels, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """The whole of a face already cropped as size×size×3; the shorter side is filled up by repeating its edge."""
        height, width = pixels.shape[:2]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        square = cv2.copyMakeBorder(
            pixels, top, side - height - top, left, side - width - left, borderType=cv2.BORDER_REPLICATE
        )
        method = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        return cv2.resize(square, (self.size, self.size), interpolation=method)


def _smoothed(pixels: np.ndarray, matrix: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture shrunk by area to the scale of the crop, and the matrix from there."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    across, down = size[0] / width, size[1] / height
    # Pixel centres, not corners, are what the matrix maps: hence the halves.
    to_shrunk = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return shrunk, matrix @ np.linalg.inv(to_shrunk)
