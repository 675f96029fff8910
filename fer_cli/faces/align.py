"""The template that every face is brought to.

The template is a square in which the eyes are level, centred, and at 0.32 of its height. Without a margin its side is
2.5 times the distance between the eyes, which takes the face in from the forehead to below the chin; the margin adds
that part of the side on each edge. Only the eyes decide: mouth and brows move with the expression that is to be told,
and would carry it into the alignment.
"""

import cmath
import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Interval

from fer_cli.errors import PictureError
from fer_cli.options import check_bounds

#: Side of the square without margin, in distances between the eyes.
SIDE = 2.5
#: How far down the square, without margin, the line of the eyes is.
EYE_LINE = 0.32
#: How many times finer than a crop a larger face is mapped, to be averaged.
OVERSAMPLING = 2
#: The longest side that OpenCV maps, in pixels.
MAX_MAPPED = 32_767


@dataclass(frozen=True, slots=True)
class CropTemplate:
    """Square crops of ``size`` pixels a side, with ``margin`` of the tight square's side added on each edge."""

    size: Annotated[int, Interval(ge=32, le=1024)] = 224
    margin: Annotated[float, Interval(ge=0, le=1)] = 0.15

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def eyes(self) -> np.ndarray:
        """2×2: where the right and the left eye lie in a crop, x and y in pixels."""
        return np.array(_eyes(self))

    def matrix(self, landmarks: np.ndarray) -> np.ndarray:
        """2×3: the similarity that brings a picture's points to the crop's, for 5×2 ``landmarks`` (eyes first).

        Raises :class:`~fer_cli.errors.PictureError` if the eyes are in one place.
        """
        # As complex numbers a similarity without mirroring is a product and a sum.
        right, left = (complex(*eye) for eye in np.asarray(landmarks, dtype=float)[:2].tolist())
        to_right, to_left = (complex(*eye) for eye in _eyes(self))
        across = left - right
        if not cmath.isfinite(across) or abs(across) < 1:
            raise PictureError("eyes in one place")
        turn = (to_left - to_right) / across
        shift = to_right - turn * right
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])

    def align(self, pixels: np.ndarray, landmarks: np.ndarray, *, quick: int | None = None) -> np.ndarray:
        """The face in H×W×3 uint8 ``pixels`` as size×size×3; what lies outside the picture repeats its edge.

        ``quick`` is how many times finer than the crop a larger face is mapped where not quite every pixel of it has to
        be averaged: 1 or 2, in a third to a half of the time. Raises :class:`~fer_cli.errors.PictureError` if the eyes
        are in one place.
        """
        matrix = self.matrix(landmarks)
        pixels, matrix = _around(pixels, matrix, self.size)
        scale = math.hypot(matrix[0, 0], matrix[1, 0])
        if scale >= 1:
            return _warped(pixels, matrix, self.size)
        # Each pixel of the crop stands for several of the picture. Mapped twice as fine and then averaged, none is
        # skipped over, and the crop is as sharp wherever the face lies on the picture's grid.
        times = OVERSAMPLING if quick is None else quick
        finer = times * matrix
        finer[:, 2] += (times - 1) / 2
        # To average areas that are no whole number of pixels takes three times as long.
        shrinking = times * scale if quick is None else 1 / max(1, int(1 / (times * scale)))
        if shrinking < 1:
            pixels, finer = _shrunk(pixels, finer, shrinking)
        warped = _warped(pixels, finer, times * self.size)
        return cv2.resize(warped, (self.size, self.size), interpolation=cv2.INTER_AREA) if times > 1 else warped

    def fit(self, pixels: np.ndarray, *, tight: bool = False) -> np.ndarray:
        """The whole of a face already cropped as size×size×3; the shorter side is filled up by repeating its edge.

        With ``tight`` it takes the square without margin, and the margin is filled up likewise.
        """
        height, width = pixels.shape[:2]
        scale = self.size / max(height, width)
        if tight:
            scale /= 1 + 2 * self.margin
        inside = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(pixels, inside, interpolation=method)
        left, top = (self.size - inside[0]) // 2, (self.size - inside[1]) // 2
        right, bottom = self.size - inside[0] - left, self.size - inside[1] - top
        return cv2.copyMakeBorder(resized, top, bottom, left, right, borderType=cv2.BORDER_REPLICATE)


@cache
def _eyes(template: CropTemplate) -> tuple[tuple[float, float], tuple[float, float]]:
    tight = template.size / (1 + 2 * template.margin)
    down = (template.margin + EYE_LINE) * tight
    apart = tight / SIDE
    return ((template.size - apart) / 2, down), ((template.size + apart) / 2, down)


def inverse_of(matrix: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The two rows of the inverse of a 2×3 affine ``matrix``, computed as ``cv2.invertAffineTransform`` does.

    In plain numbers: a call of OpenCV hands Python's lock to another thread, and waits for it afterwards.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    area = a * d - b * c
    scale = 1 / area if area else 0.0
    a, b, c, d = d * scale, -b * scale, -c * scale, a * scale
    return (a, b, -a * x - b * y), (c, d, -c * x - d * y)


def _warped(pixels: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    return cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _around(pixels: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that a crop of ``size`` shows, with room to average in, and the matrix from there.

    The rest need not be averaged, and OpenCV maps no picture that is wider than 32,767 pixels.
    """
    height, width = pixels.shape[:2]
    columns, rows = inverse_of(matrix)
    room = 2 + 2 * math.hypot(columns[0], rows[0])
    left, right = _span(columns, size, room, width)
    top, bottom = _span(rows, size, room, height)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, 0] * left + matrix[:, 1] * top
    return pixels[top:bottom, left:right], moved


def _span(coordinate: tuple[float, float, float], size: int, room: float, length: int) -> tuple[int, int]:
    """From where to where of ``length`` pixels a crop of ``size`` reaches, by the line of the matrix back to there.

    In plain numbers: as arrays the four corners take ten times as long.
    """
    across, down, start = coordinate
    lowest = start + min(0, across * size) + min(0, down * size) - room
    highest = start + max(0, across * size) + max(0, down * size) + room
    first = math.floor(min(max(0, lowest), length - 1))
    return first, math.ceil(max(first + 1, min(highest, length)))


def _shrunk(pixels: np.ndarray, matrix: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture shrunk, by averaging areas, to ``scale``, and the matrix from there."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    across, down = size[0] / width, size[1] / height
    from_shrunk = matrix / (across, down, 1)
    # Pixel centres, not corners, are what the matrix maps: hence the halves.
    from_shrunk[:, 2] -= from_shrunk[:, 0] * (across - 1) / 2 + from_shrunk[:, 1] * (down - 1) / 2
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), from_shrunk


#: The side of the crops that networks which tell people apart are trained on, and where the right and the left eye, the
#: tip of the nose, and the right and the left corner of the mouth lie in them: J. Deng et al., *ArcFace*, CVPR 2019,
#: arXiv 1801.07698, and OpenCV's ``FaceRecognizerSF``.
FIVE_SIDE = 112
FIVE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def align_five(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face in H×W×3 uint8 ``pixels`` as 112×112×3, by its five ``landmarks`` (5×2), for an identity encoder.

    The similarity is that of the least squares (S. Umeyama, *Least-squares estimation of transformation parameters
    between two point patterns*, PAMI 1991), as ``FaceRecognizerSF.alignCrop`` of OpenCV has it, pixel for pixel: a
    picture is not averaged before it is made smaller, and outside of it all is black. Raises
    :class:`~fer_cli.errors.PictureError` if the landmarks are in one place.
    """
    # As complex numbers a similarity without mirroring is a product and a sum.
    points, wanted = (np.asarray(each, dtype=float) @ [1, 1j] for each in (landmarks, FIVE_POINTS))
    middle, goal = points.mean(), wanted.mean()
    spread = float((np.abs(points - middle) ** 2).sum())
    if not np.isfinite(spread) or spread < 1e-6:
        raise PictureError("landmarks in one place")
    turn = complex((np.conj(points - middle) * (wanted - goal)).sum() / spread)
    shift = goal - turn * middle
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    if max(pixels.shape[:2]) > MAX_MAPPED:
        pixels, matrix = _around(pixels, matrix, FIVE_SIDE)
    return cv2.warpAffine(pixels, matrix, (FIVE_SIDE, FIVE_SIDE), flags=cv2.INTER_LINEAR)
