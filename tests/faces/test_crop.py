"""Where a crop comes from: owners' landmarks, the detector, or the whole picture."""

from dataclasses import asdict

import numpy as np
import pytest

from fer_cli.errors import PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.crop import crop_face, crop_faces, five_points
from fer_cli.faces.decode import decode
from fer_cli.faces.detect import Face

TEMPLATE = CropTemplate(64)
PICTURE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
#: The 68 points of a face between x 40 and 107, the eyes 6 apart in numbering and level.
LANDMARKS = np.stack([np.arange(68) + 40.0, np.full(68, 60.0)], axis=1)


def face(left: float, size: float) -> Face:
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    return Face((left, 10.0, size, size), points * size + [left, 10], 0.9)


class Sees:
    """A detector that finds the faces it is given."""

    def __init__(self, *faces: Face):
        self.faces = list(faces)

    def detect(self, pixels: np.ndarray) -> list[Face]:
        return self.faces


def test_landmarks_come_before_the_detector():
    crop = crop_face(PICTURE, TEMPLATE, detector=Sees(face(10, 50)), landmarks=LANDMARKS)
    assert (crop.source, crop.face, crop.faces_found) == ("landmarks", None, 1)
    assert (crop.pixels == TEMPLATE.align(PICTURE, five_points(LANDMARKS))).all()


@pytest.mark.parametrize("moved", [(200, 0), (-100, 0), (0, 80), (0, -61)])
def test_landmarks_of_another_picture_are_refused(moved):
    with pytest.raises(PictureError, match="landmarks of another picture"):
        crop_face(PICTURE, TEMPLATE, landmarks=LANDMARKS + moved)


def test_the_detectors_largest_face_and_how_many_there_were():
    large, small = face(10, 60), face(90, 30)
    crop = crop_face(PICTURE, TEMPLATE, detector=Sees(large, small))
    assert (crop.source, crop.face, crop.faces_found) == ("detector", large, 2)
    assert (crop.pixels == TEMPLATE.align(PICTURE, large.landmarks)).all()
    assert asdict(crop.face)["box"] == (10, 10, 60, 60)


def test_every_face_of_a_picture_in_the_detectors_order():
    faces = [face(10, 60), face(90, 30)]
    crops = crop_faces(PICTURE, TEMPLATE, Sees(*faces))
    assert [crop.face for crop in crops] == faces
    assert [crop.faces_found for crop in crops] == [2, 2]
    assert not (crops[0].pixels == crops[1].pixels).all()


def test_a_face_cut_by_the_edge_is_a_face():
    assert crop_face(PICTURE, TEMPLATE, detector=Sees(face(-20, 50))).pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("crop", [lambda *given: crop_face(*given[:2], detector=given[2]), crop_faces])
def test_no_face_is_a_reason(crop):
    with pytest.raises(PictureError) as caught:
        crop(PICTURE, TEMPLATE, Sees())
    assert caught.value.message == "no face found"


def test_without_a_detector_the_whole_picture_is_the_face():
    crop = crop_face(PICTURE, TEMPLATE)
    assert (crop.source, crop.face, crop.faces_found) == ("none", None, 1)
    assert (crop.pixels == TEMPLATE.fit(PICTURE)).all()


def test_a_person_looks_alike_in_two_pictures_once_aligned(detector, london):
    template = CropTemplate(64, margin=0)

    def aligned(name: str) -> np.ndarray:
        pixels = crop_face(decode(london / f"{name}.jpg"), template, detector=detector).pixels.astype(float)
        return (pixels - pixels.mean()) / pixels.std()

    neutral = {subject: aligned(f"neutral/{subject}") for subject in ("001", "002", "004", "005")}
    for subject in neutral:
        smiling = aligned(f"smiling/{subject}")
        distance = {other: np.abs(smiling - pixels).mean() for other, pixels in neutral.items()}
        assert min(distance, key=distance.get) == subject
