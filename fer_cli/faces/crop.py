"""Crops of faces: from a picture, with the owners' box and landmarks where there are any, to the template."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.detect import Face, FaceDetector
from fer_cli.files import read_bytes


@dataclass(frozen=True, slots=True)
class Crop:
    """A face brought to the template.

    ``pixels`` are size×size×3 uint8 RGB. ``source`` says what it was aligned by: ``landmarks`` (the owners'),
    ``detector``, or ``none`` (the whole picture). ``face`` is what the detector found, ``faces_found`` how many there
    were, 0 where it looked for the face of a crop and found none.
    """

    pixels: np.ndarray
    source: str
    face: Face | None = None
    faces_found: int = 1


def crop_face(
    pixels: np.ndarray,
    template: CropTemplate,
    *,
    detector: FaceDetector | None = None,
    landmarks: np.ndarray | None = None,
) -> Crop:
    """The largest face in H×W×3 uint8 RGB ``pixels``.

    It is aligned by the 68×2 ``landmarks`` where there are any, else by what ``detector`` finds; without a detector the
    whole picture is taken as the face. Raises :class:`~fer_cli.errors.PictureError` if no face is found, or the
    landmarks are not this picture's.
    """
    if landmarks is not None:
        points = five_points(landmarks)
        if (points[:2] < 0).any() or (points[:2] >= pixels.shape[1::-1]).any():
            raise PictureError("landmarks of another picture: its eyes are outside")
        return Crop(template.align(pixels, points), "landmarks")
    if detector is None:
        return Crop(template.fit(pixels), "none")
    return crop_faces(pixels, template, detector)[0]


def crop_faces(
    pixels: np.ndarray, template: CropTemplate, detector: FaceDetector, *, quick: int | None = None
) -> list[Crop]:
    """Every face that ``detector`` finds in ``pixels``, the largest first; ``quick`` is as of the template's ``align``.

    Raises :class:`~fer_cli.errors.PictureError` if there is none.
    """
    faces = detector.detect(pixels)
    if not faces:
        raise PictureError("no face found")
    return [Crop(template.align(pixels, face.landmarks, quick=quick), "detector", face, len(faces)) for face in faces]


def crop_largest(
    pixels: np.ndarray, template: CropTemplate, detector: FaceDetector, *, quick: int | None = None
) -> Crop:
    """The largest face in ``pixels``, found more quickly than all are; of ``faces_found`` it counts none but this.

    ``quick`` is as of the template's ``align``. Raises :class:`~fer_cli.errors.PictureError` if there is none.
    """
    face = detector.largest(pixels)
    if face is None:
        raise PictureError("no face found")
    return Crop(template.align(pixels, face.landmarks, quick=quick), "detector", face)


#: A picture that is the crop of a face is enlarged to this side, in pixels, if it is smaller: once, by cubic
#: interpolation, to about the size at which the template shows it.
ENLARGED = 192
#: Its sides when it is searched. In 1,500 pictures of FER2013 the three find 98.7 % of the faces, a little more than
#: the sides for whole photographs, in a tenth of the time.
SIDES_OF_CROPS = (192, 256, 128)
#: Eyes nearer than this part of the picture's side are those of a profile, or of another face: the template would
#: enlarge them until little else is seen. They are 0.35 apart in the middle half of FER2013, nearer than this in 1 %.
NEAREST_EYES = 0.15


def align_cropped(pixels: np.ndarray, template: CropTemplate, detector: FaceDetector) -> Crop:
    """The face in H×W×3 uint8 RGB ``pixels`` that are the crop of one face, upright but not aligned.

    Of several faces the one nearest the middle is taken. Where none is found, or its eyes are too near each other to
    align by, the picture as it is takes the template's tight square and its edge is repeated in the margin: the
    ``source`` is then ``none``.
    """
    height, width = pixels.shape[:2]
    scale = max(1.0, ENLARGED / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale > 1:
        pixels = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    # A crop's face is about upright: of 600 eight were taken for turned ones, half of them upside down, and none was.
    faces = detector.detect(pixels, any_way_up=False, sides=SIDES_OF_CROPS)
    if faces:
        face = min(faces, key=lambda each: _from_middle(each, size))
        right, left = face.landmarks[:2]
        if np.linalg.norm(left - right) >= NEAREST_EYES * max(size):
            return Crop(template.align(pixels, face.landmarks), "detector", _shrunk(face, scale), len(faces))
    return Crop(template.fit(pixels, tight=True), "none", faces_found=0)


def _from_middle(face: Face, size: tuple[int, int]) -> float:
    x, y, width, height = face.box
    return float(np.hypot(x + width / 2 - size[0] / 2, y + height / 2 - size[1] / 2))


def _shrunk(face: Face, scale: float) -> Face:
    """The face in the pixels of a picture that was enlarged ``scale`` times; pixel centres are whole numbers."""
    x, y, width, height = (number / scale for number in face.box)
    return replace(face, box=(x, y, width, height), landmarks=(face.landmarks + 0.5) / scale - 0.5)


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


#: Turns tried, in quarters clockwise: as most sideways videos want it, as it is, the other way, upside down.
QUARTERS = (1, 0, 3, 2)


@dataclass(frozen=True, slots=True)
class Way:
    """Orientation in which a picture was searched: ``turn`` in degrees clockwise, ``part`` whole, left or right."""

    turn: int
    part: str


def best_way_up(pixels: np.ndarray, detector: FaceDetector, *, turned: bool, halves: bool) -> tuple[np.ndarray, Way]:
    """The picture as the detector is surest of a face in it, and how that is.

    A face lying on its side is found too, with a lower score and its eyes in the wrong places; the highest score is
    that of the upright face, and the frontal one beats the profile next to it. Raises
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
