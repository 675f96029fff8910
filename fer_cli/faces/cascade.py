"""The LBP cascade, a detector of frontal faces for machines on which YuNet's file cannot be had.

S. Liao, X. Zhu, Z. Lei, L. Zhang, S. Z. Li, *Learning Multi-scale Block Local Binary Patterns for Face Recognition*,
ICB 2007, doi 10.1007/978-3-540-74549-5_87. scikit-image comes with the cascade's file and runs it. It finds a box and
no landmarks; the eyes lie in nearly constant places of the box, :data:`EYE_LINE` and :data:`EYES_APART`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from fer_cli.errors import PictureError, UnreachableDetectorError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.detect import Detector, Face, FaceDetector
from fer_cli.faces.yunet import can_be_had, find_detector_model
from fer_cli.progress import Progress, silent

#: The name of this detector, and what stands for it in the place of YuNet's file.
CASCADE: Literal["cascade"] = "cascade"
#: How a person chooses a detector: auto is YuNet where its file can be had, else the cascade.
DetectorChoice = Literal["auto", "yunet", "cascade", "none"]
#: YuNet's file, the cascade, or None for no detection.
ChosenDetector = Path | Literal["cascade"] | None
#: The longest sides, in pixels, at which a picture is searched, the next one where no face is found; and the smallest
#: face in it.
SIDES, SMALLEST = (320, 200, 128), 24
#: The smallest face in pixels of the picture.
LEAST = 16
#: From one size of face to the next.
STEP = 1.1
#: How many windows that overlap make a box: two in the search; when a face is looked for again, four, and two where
#: that leaves no face in the picture. Four place the eyes better; with four throughout, half of 60 press photographs
#: have a face, with two 54.
LENIENT, STRICT = 2, 4
#: Each face is looked for again in a square so many times its box, at these sizes and mirrored; the median of what is
#: found is its box. A single box is off by a tenth of the distance between the eyes and more.
ROOM, REFINEMENTS = 1.8, (64, 76, 90, 104, 120)
#: The least part of the refinements that must find a face again: walls and clothes are not found twice.
AGAIN = 0.4
#: The line of the eyes and the distance between them, in sides of the box, and the nose and mouth of a face at rest:
#: medians over 102 portraits with hand-marked pupils, all of which are found. Their eyes come out 4.0 % of the distance
#: between the eyes off (median; 9 in 10 less than 7.1 %, the worst 22 %), with YuNet 3.1 % (5.2, 9.3).
EYE_LINE, EYES_APART = 0.385, 0.370
NOSE_LINE, MOUTH_LINE, MOUTH_WIDTH = 0.616, 0.779, 0.323
#: Faces of a picture of a crowd.
MOST = 200
#: Left, top and side in pixels.
Box = tuple[float, float, float]


class CascadeDetector:
    """scikit-image's cascade of frontal, upright faces; any number of threads may call it at once."""

    def __init__(self) -> None:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self._cascade = Cascade(lbp_frontal_face_cascade_filename())

    def detect(self, pixels: np.ndarray, *, any_way_up: bool = True, sides: tuple[int, ...] = SIDES) -> list[Face]:
        """The faces in H×W×3 uint8 RGB ``pixels``, the largest first; those that are turned are not found.

        ``sides`` are as :data:`SIDES`.
        Landmarks follow from the box alone, and the score is the part of the refinements that found the face.
        """
        grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
        found: list[Face] = []
        for boxes, neighbours in self._attempts(grey, sides):
            found = [face for box in boxes if (face := self._refined(grey, box, neighbours)) is not None]
            if found:
                break
        faces: list[Face] = []
        # Of two boxes of one face the surer stays.
        for face in sorted(found, key=lambda face: (-face.score, -face.area)):
            if not any(map(face.overlaps, faces)):
                faces.append(face)
        return sorted(faces, key=lambda face: -face.area)

    def largest(self, pixels: np.ndarray) -> Face | None:
        """The first that :meth:`detect` gives, or None."""
        return next(iter(self.detect(pixels)), None)

    def _attempts(self, grey: np.ndarray, sides: tuple[int, ...]) -> Iterator[tuple[list[Box], int]]:
        """Boxes to look at again, and how strictly: every size of the picture strictly, then leniently."""
        searched = []
        for side in sides:
            searched.append(self._search(grey, side))
            yield searched[-1], STRICT
        for boxes in searched:
            yield boxes, LENIENT

    def _search(self, grey: np.ndarray, longest: int) -> list[Box]:
        """The boxes in a picture at this size, or where there are none in its mirror image."""
        height, width = grey.shape
        scale = longest / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        boxes = self._find(small, SMALLEST, LENIENT) or _mirrored(
            self._find(_flipped(small), SMALLEST, LENIENT), size[0]
        )
        # What is smaller than that before it was enlarged shows no expression, and noise is full of it.
        return [(left / scale, top / scale, side / scale) for left, top, side in boxes if side >= LEAST * scale][:MOST]

    def _find(self, grey: np.ndarray, smallest: int, neighbours: int) -> list[Box]:
        """The left, top and side of the boxes in an H×W uint8 picture."""
        if min(grey.shape) < smallest:
            return []
        found = self._cascade.detect_multi_scale(
            grey,
            scale_factor=STEP,
            step_ratio=1.5,
            min_size=(smallest, smallest),
            max_size=grey.shape,
            min_neighbor_number=neighbours,
        )
        return [(float(box["c"]), float(box["r"]), float(box["width"])) for box in found]

    def _refined(self, grey: np.ndarray, box: Box, neighbours: int) -> Face | None:
        """The face about ``box`` as the refinements agree on it; None where too few find it again."""
        left, top, side = box
        middle, found = np.array([left + side / 2, top + side / 2]), []
        for size in REFINEMENTS:
            template, scale = CropTemplate(size), ROOM * side / size
            try:
                # With these for its eyes, the template shows the square about the box.
                square = template.align(grey, middle + scale * (template.eyes - size / 2))
            except PictureError:
                return None
            for mirrored in (False, True):
                boxes = self._find(_flipped(square) if mirrored else square, size // 3, neighbours)
                central = [box for box in (_mirrored(boxes, size) if mirrored else boxes) if _holds(box, size / 2)]
                if central:
                    across, down, width = np.mean(central, axis=0)
                    found.append([*(middle + scale * (np.array([across, down]) - (size + 1) / 2)), scale * width])
        score = len(found) / (2 * len(REFINEMENTS))
        if score < AGAIN:
            return None
        left, top, side = map(float, np.median(found, axis=0))
        return Face((left, top, side, side), landmarks_of(left, top, side), score)


def landmarks_of(left: float, top: float, side: float) -> np.ndarray:
    """5×2 points, in the order of :class:`~fer_cli.faces.detect.Face`, of a frontal face in the cascade's box."""
    middle = left + side / 2
    eyes, mouth = EYES_APART / 2 * side, MOUTH_WIDTH / 2 * side
    return np.array(
        [
            [middle - eyes, top + EYE_LINE * side],
            [middle + eyes, top + EYE_LINE * side],
            [middle, top + NOSE_LINE * side],
            [middle - mouth, top + MOUTH_LINE * side],
            [middle + mouth, top + MOUTH_LINE * side],
        ]
    )


def _flipped(grey: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(grey[:, ::-1])


def _mirrored(boxes: list[Box], width: int) -> list[Box]:
    return [(width - left - side, top, side) for left, top, side in boxes]


def _holds(box: Box, middle: float) -> bool:
    left, top, side = box
    return left <= middle <= left + side and top <= middle <= top + side


def is_cropped(face_crop: Mapping[str, Any], detector: str) -> bool:
    """Whether pictures are taken as faces already cropped, as a model's ``face_crop`` or ``detector`` states."""
    return detector == "none" or face_crop.get("detector") == "none"


def choose_detector(wanted: DetectorChoice, model: Path | None = None, progress: Progress = silent) -> ChosenDetector:
    """YuNet's file, the cascade, or None for no detection, as ``wanted``; ``model`` is YuNet's file if it was named.

    Raises :class:`~fer_cli.errors.DetectorError` if a file that was named, here or by FER_YUNET, cannot be used; or,
    where ``wanted`` is ``yunet``, cannot be downloaded.
    """
    if wanted in ("none", CASCADE):
        return CASCADE if wanted == CASCADE else None
    if wanted == "auto" and not can_be_had(model):
        return CASCADE
    try:
        return find_detector_model(model, progress)
    except UnreachableDetectorError:
        if wanted == "yunet":
            raise
        return CASCADE


def open_detector(chosen: ChosenDetector, *, quick: bool = False) -> FaceDetector | None:
    """The detector that :func:`choose_detector` chose; ``quick`` as of :class:`~fer_cli.faces.detect.Detector`.

    Raises :class:`~fer_cli.errors.DetectorError` if the file is not YuNet's.
    """
    if chosen is None:
        return None
    return CascadeDetector() if chosen == CASCADE else Detector(chosen, quick=quick)
