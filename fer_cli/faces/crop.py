"""From a picture to the crop of a face."""

from dataclasses import dataclass

import numpy as np

from fer_cli.errors import PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.detect import Detector, Face
from fer_cli.faces.landmarks import five_points


@dataclass(frozen=True, slots=True)
class Crop:
    """A face brought to the template.

    ``pixels`` are size×size×3 uint8 RGB. ``source`` says what it was aligned by: ``landmarks`` (the owners'),
    ``detector``, or ``none`` (the whole picture). ``face`` is what the detector found, ``faces_found`` how many there
    were.
    """

    pixels: np.ndarray
    source: str
    face: Face | None = None
    faces_found: int = 1


def crop_face(
    pixels: np.ndarray,
    template: CropTemplate,
    *,
    detector: Detector | None = None,
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


def crop_faces(pixels: np.ndarray, template: CropTemplate, detector: Detector) -> list[Crop]:
    """Every face that ``detector`` finds in ``pixels``, the largest first.

    Raises :class:`~fer_cli.errors.PictureError` if there is none.
    """
    faces = detector.detect(pixels)
    if not faces:
        raise PictureError("no face found")
    return [Crop(template.align(pixels, face.landmarks), "detector", face, len(faces)) for face in faces]
