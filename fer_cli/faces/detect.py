"""Face detection in pictures of any size, with accurate landmarks."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fer_cli.errors import DetectorError, PictureError
from fer_cli.faces.align import CropTemplate, inverse_of
from fer_cli.faces.yunet import HINT, YuNet

#: Longest sides, in pixels, at which a picture is searched: smaller ones where no face is found, because YuNet
#: finds faces of about 10 to 300 pixels, and a face that fills its picture is larger than that.
SIDES = (640, 320, 160)
#: A picture this large is searched again at this size, for the smaller faces of a group.
FINE_SIDE = 1280

#: A quick detector that is asked for the largest face alone has it from a search at this side, a sixth of the pixels,
#: where it is at least so large there and no other box that scores at least :data:`RIVAL` has half its area. In 3,000
#: pictures, half of them with several faces, it was the largest at 640 too wherever these three were so (at a side of
#: 320 and for faces of 40 pixels, not in one of them).
COARSE_SIDE, COARSE_FACE, RIVAL, RIVAL_AREA = 256, 48, 0.3, 0.5

#: Each face is detected again, upright, in these sizes and mirrored, and its points are the mean of what is found. A
#: single detection places the eyes less well: on 102 portraits with hand-marked eyes this takes the median error from
#: 4.7 to 3.1 % of the distance between the eyes, and the worst from 13 to 9 %.
REFINEMENTS = (CropTemplate(256, margin=0.3), CropTemplate(288, margin=0.3))
#: A face whose refinements all agree and score at least this on average is upright: of 1,400 portraits and press
#: photographs turned by 90, 180 and 270 degrees none did.
UPRIGHT = 0.915
#: A quick detector searches again in this size alone, mirrored, and takes the mean of that and what it found first; the
#: points of both are averaged over the network's places. The worst error on the 102 portraits is then 11 %. Where the
#: mean of the two scores is below the second number, the face may be turned, and is refined as others are: of 2,334
#: turned faces none came so high (at 0.904 one).
QUICK_REFINEMENT, QUICK_UPRIGHT = CropTemplate(128, margin=0.2), 0.91
#: Any other is detected in four turns, in a square of this many pixels whose side is so many times the box's. In 840
#: trials with faces of all turns the upright one scored highest in all but one.
TURN_SIZE, TURN_ROOM = 160, 1.4
#: A refinement that finds the eyes farther off than this many distances between the eyes has found another face.
SAME_FACE = 0.3
#: The five points' order in a mirrored picture.
MIRRORED = [1, 0, 2, 4, 3]


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a picture.

    ``box`` is x, y, width and height in pixels of the picture, from its top left corner. ``landmarks`` are 5×2, x and
    y of the right eye, the left eye, the tip of the nose, the right and the left corner of the mouth, right and left
    being the person's own. ``score`` is the detector's, 0 to 1. ``turn`` is by how many degrees, clockwise and in
    quarters, the picture would have to be turned for the face to be upright.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float
    turn: int = 0

    @property
    def area(self) -> float:
        """The box's area in pixels."""
        return self.box[2] * self.box[3]

    def overlaps(self, other: "Face") -> bool:
        """Whether the middle of either's box lies in the other's: one face, or a part of it taken for another."""
        return _middle_inside(self.box, other.box) or _middle_inside(other.box, self.box)


class FaceDetector(Protocol):
    """What finds faces: :class:`Detector`, or :class:`~fer_cli.faces.cascade.CascadeDetector`."""

    def detect(self, pixels: np.ndarray, *, any_way_up: bool = True, sides: tuple[int, ...] = SIDES) -> list[Face]:
        """The faces in H×W×3 uint8 RGB ``pixels``, the largest first, which are searched at ``sides`` in turn."""

    def largest(self, pixels: np.ndarray) -> Face | None:
        """The largest face, or None."""


class Detector:
    """YuNet, from the file ``model``.

    With ``quick`` a face that is surely upright is refined once: the same faces, with points that differ by a few per
    cent of the distance between the eyes.

    Raises :class:`~fer_cli.errors.DetectorError` if the file is not the detector's.
    """

    def __init__(self, model: Path, threshold: float = 0.7, *, quick: bool = False):
        self._threshold, self._quick = threshold, quick
        try:
            self._net = YuNet(model, threshold)
            self._find(np.zeros((32, 32, 3), np.uint8), 32)
        except Exception as error:  # whatever a file that is no network makes its readers raise
            raise DetectorError(f"{model} is not the face detector YuNet.", hint=HINT) from error

    def detect(self, pixels: np.ndarray, *, any_way_up: bool = True, sides: tuple[int, ...] = SIDES) -> list[Face]:
        """The faces in H×W×3 uint8 RGB ``pixels``, the largest first; ``sides`` are as :data:`SIDES`.

        One that lies on its side or upside down is found with its points in the wrong places. With ``any_way_up`` each
        face that is not surely upright is detected in four turns, and taken as it scores highest.
        """
        faces: list[Face] = []
        for side in sides:
            faces = self._find(pixels, side, average=self._quick)
            if faces:
                break
        if max(pixels.shape[:2]) >= FINE_SIDE:
            fine = self._find(pixels, FINE_SIDE, average=self._quick)
            faces += [face for face in fine if not any(map(face.overlaps, faces))]
        refined = [self._upright(pixels, face) if any_way_up else self._refined(pixels, face)[0] for face in faces]
        return sorted(refined, key=lambda face: -face.area)

    def _upright(self, pixels: np.ndarray, face: Face) -> Face:
        if self._quick and (sure := self._quickly_refined(pixels, face)) is not None:
            return sure
        again, upright = self._refined(pixels, face)
        if not upright and (turned := self._turned(pixels, face)) is not None:
            # Its points come of a small square: one more refinement makes them as exact as an upright face's.
            again, _ = self._refined(pixels, self._refined(pixels, turned)[0])
        return again

    def largest(self, pixels: np.ndarray) -> Face | None:
        """The face that :meth:`detect` gives first, or None.

        A quick detector does not search for others where it can tell without; the box is then that of a coarser search,
        a few pixels off.
        """
        face = self._plainly_largest(pixels) if self._quick else None
        if face is None:
            return next(iter(self.detect(pixels)), None)
        return self._upright(pixels, face)

    def _plainly_largest(self, pixels: np.ndarray) -> Face | None:
        found = sorted(self._find_coarsely(pixels), key=lambda face: -face.area)
        face = next((face for face in found if face.score >= self._threshold), None)
        if face is None or max(face.box[2:]) * COARSE_SIDE < COARSE_FACE * max(pixels.shape[:2]):
            return None
        rivals = (other for other in found if other.area >= RIVAL_AREA * face.area and other is not face)
        return face if all(map(face.overlaps, rivals)) else None

    def _find(self, pixels: np.ndarray, longest: int, *, average: bool = False) -> list[Face]:
        scale = longest / max(pixels.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = pixels if scale == 1 else cv2.resize(pixels, _size(pixels, scale), interpolation=method)
        return self._found(pixels, resized, average=average)

    def _find_coarsely(self, pixels: np.ndarray) -> list[Face]:
        """The faces at :data:`COARSE_SIDE`, down to a score of :data:`RIVAL`."""
        scale = COARSE_SIDE / max(pixels.shape[:2])
        seen = pixels
        if (whole := int(1 / scale)) > 1:
            # To average areas that are no whole number of pixels would take as long as the search.
            seen = cv2.resize(pixels, _size(pixels, 1 / whole), interpolation=cv2.INTER_AREA)
        seen = cv2.resize(seen, _size(pixels, scale), interpolation=cv2.INTER_LINEAR)
        return self._found(pixels, seen, RIVAL, average=True)

    def _found(
        self, pixels: np.ndarray, resized: np.ndarray, threshold: float | None = None, *, average: bool
    ) -> list[Face]:
        (height, width), (rows, columns) = pixels.shape[:2], resized.shape[:2]
        back = width / columns, height / rows
        return [_face(row, back) for row in self._net.find(resized, threshold, average=average)]

    def _refined(self, pixels: np.ndarray, face: Face) -> tuple[Face, bool]:
        """The face with its points refined, and whether the refinements leave no doubt that it is upright."""
        points_found, scores = [], []
        for template in REFINEMENTS:
            try:
                upright, matrix = template.align(pixels, face.landmarks), template.matrix(face.landmarks)
            except PictureError:
                return face, False
            back = np.array(inverse_of(matrix))
            for mirrored in (False, True):
                found = self._points(upright, template, mirrored=mirrored)
                if found is not None:
                    points, score = found
                    points_found.append(points @ back[:, :2].T + back[:, 2])
                    scores.append(score)
        sure = len(points_found) == 2 * len(REFINEMENTS) and np.mean(scores) >= UPRIGHT
        return (replace(face, landmarks=np.mean(points_found, axis=0)) if points_found else face), bool(sure)

    def _quickly_refined(self, pixels: np.ndarray, face: Face) -> Face | None:
        """The face with its points refined once, if that leaves no doubt that it is upright."""
        template = QUICK_REFINEMENT
        try:
            matrix = template.matrix(face.landmarks)
            upright = template.align(pixels, face.landmarks, quick=1)
        except PictureError:
            return None
        found = self._points(upright, template, mirrored=True, average=True)
        if found is None or (face.score + found[1]) / 2 < QUICK_UPRIGHT:
            return None
        back = np.array(inverse_of(matrix))
        return replace(face, landmarks=(face.landmarks + found[0] @ back[:, :2].T + back[:, 2]) / 2)

    def _points(
        self, upright: np.ndarray, template: CropTemplate, *, mirrored: bool, average: bool = False
    ) -> tuple[np.ndarray, float] | None:
        """The points and score of the face that ``template`` has brought to the middle, if it is found there again."""
        faces = self._find(cv2.flip(upright, 1) if mirrored else upright, template.size, average=average)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.area)
        points = largest.landmarks.astype(float)
        if mirrored:
            points[:, 0] = template.size - 1 - points[:, 0]
            points = np.array([points[place] for place in MIRRORED])
        eyes = template.eyes.tolist()
        farthest = max(map(math.dist, points[:2].tolist(), eyes))
        return (points, largest.score) if farthest < SAME_FACE * math.dist(*eyes) else None

    def _turned(self, pixels: np.ndarray, face: Face) -> Face | None:
        """The face as it is found in the turn in which it scores highest, or None if that is as the picture lies."""
        template = CropTemplate(TURN_SIZE)
        middle = np.array(face.box[:2]) + np.array(face.box[2:]) / 2
        scale = TURN_ROOM * max(face.box[2:]) / TURN_SIZE
        try:
            # With these for its eyes, the template shows the square about the box as it lies.
            square = template.align(pixels, middle + scale * (template.eyes - TURN_SIZE / 2))
        except PictureError:
            return None
        best, quarters = None, 0
        for turn in range(4):
            for found in self._find(np.ascontiguousarray(np.rot90(square, -turn)), TURN_SIZE):
                central = _middle_inside((TURN_SIZE / 2, TURN_SIZE / 2, 0, 0), found.box)
                if central and (best is None or found.score > best.score):
                    best, quarters = found, turn
        if best is None or not quarters:
            return None

        def back(points: np.ndarray) -> np.ndarray:
            # As complex numbers, a quarter turn is a product.
            offsets = (points - (TURN_SIZE - 1) / 2) @ [1, 1j] * (-1j) ** quarters
            square_points = np.stack([offsets.real, offsets.imag], axis=1) + (TURN_SIZE - 1) / 2
            return middle + scale * (square_points - TURN_SIZE / 2)

        x, y, width, height = best.box
        corners = back(np.array([[x, y], [x + width, y + height]]))
        (left, top), (wide, high) = corners.min(axis=0), np.ptp(corners, axis=0)
        box = (float(left), float(top), float(wide), float(high))
        return Face(box, back(best.landmarks), best.score, turn=90 * quarters)


def _size(pixels: np.ndarray, scale: float) -> tuple[int, int]:
    """Width and height of a picture that is ``scale`` times as large."""
    return max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))


def _face(row: np.ndarray, back: tuple[float, float]) -> Face:
    """The face of a row of the network, times ``back`` across and down."""
    across, down = back
    x, y, width, height = row[:4].tolist()
    box = x * across, y * down, width * across, height * down
    return Face(box, row[4:14].reshape(5, 2) * np.array(back), float(row[14]))


def _middle_inside(inner: tuple[float, float, float, float], outer: tuple[float, float, float, float]) -> bool:
    across, down = inner[0] + inner[2] / 2 - outer[0], inner[1] + inner[3] / 2 - outer[1]
    return 0 <= across <= outer[2] and 0 <= down <= outer[3]
