"""Where a crop comes from: owners' landmarks, the detector, or the whole picture."""

import os
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.crop import align_cropped, crop_face, crop_faces, cut, five_points, read_landmarks
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


WHOLE = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8)


def test_a_box_is_cut_out_with_room_about_it():
    assert np.array_equal(cut(WHOLE, (40, 30, 20, 10)), WHOLE[27:43, 34:66])


def test_room_ends_at_the_pictures_edge():
    assert np.array_equal(cut(WHOLE, (0, 0, 120, 100)), WHOLE)


@pytest.mark.parametrize("box", [(10, 10, 0, 5), (10, 10, 5, -5), (500, 10, 20, 20), (float("nan"), 0, 5, 5)])
def test_a_box_that_holds_nothing_is_said(box):
    with pytest.raises(PictureError, match="box"):
        cut(WHOLE, box)


POINTS = np.stack([np.arange(68) * 4.0 + 0.5, 300.0 - np.arange(68)], axis=1)


def as_ckplus(points: np.ndarray) -> str:
    """Cohn-Kanade's own way of writing: three spaces before each number, in powers of ten."""
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in points)


def test_the_layout_of_cohn_kanade(tmp_path):
    path = tmp_path / "S005_001_00000011_landmarks.txt"
    path.write_text(as_ckplus(POINTS))
    points = read_landmarks(path)
    assert points.dtype == np.float64
    assert np.allclose(points, POINTS)


def test_blank_lines_and_windows_line_ends_are_no_points(tmp_path):
    path = tmp_path / "landmarks.txt"
    path.write_bytes(as_ckplus(POINTS).replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert np.allclose(read_landmarks(path), POINTS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]), "landmarks that are not 68 points"),
        (as_ckplus(POINTS) + "1 2\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS).replace("\n", " "), "landmarks that are not 68 points"),
        ("1 2 3 4\n" * 34, "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "nan 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "inf 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "1e300 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "-1e7 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "9" * 5_000 + " 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS) * 100, "landmarks that cannot be read"),
        (as_ckplus(POINTS[:-1]) + "x y\n", "landmarks that cannot be read"),
        (as_ckplus(POINTS[:-1]) + "7\n", "landmarks that cannot be read"),
        (as_ckplus(POINTS[:-1]) + "٣ é\n", "landmarks that cannot be read"),
    ],
    ids=[
        "empty",
        "67",
        "69",
        "one line",
        "four a line",
        "nan",
        "inf",
        "far",
        "far left",
        "5,000 digits",
        "huge",
        "words",
        "half a point",
        "not ASCII",
    ],
)
def test_anything_else_is_refused_with_a_reason(tmp_path, text, reason):
    path = tmp_path / "landmarks.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PictureError) as caught:
        read_landmarks(path)
    assert caught.value.message == reason


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(PictureError, match="cannot be read"):
        read_landmarks(tmp_path / "absent.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "landmarks.txt")
    with pytest.raises(PictureError, match="cannot be read"):
        read_landmarks(tmp_path / "landmarks.txt")


def test_the_five_points_of_sixty_eight():
    five = five_points(POINTS)
    assert five.tolist() == [
        POINTS[36:42].mean(axis=0).tolist(),
        POINTS[42:48].mean(axis=0).tolist(),
        POINTS[30].tolist(),
        POINTS[48].tolist(),
        POINTS[54].tolist(),
    ]


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
def test_case_25_a_pipe_or_a_device_holds_no_landmarks(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(PictureError, match="landmarks that cannot be read"):
            read_landmarks(tmp_path / name)


class SeesCrops(Sees):
    """A detector that notes what it is given, and finds its faces there."""

    def detect(self, pixels: np.ndarray, *, any_way_up: bool, sides: tuple[int, ...]) -> list[Face]:
        self.shape, self.any_way_up = pixels.shape, any_way_up
        return self.faces


CROPPED = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def test_a_small_crop_is_enlarged_once_and_its_face_aligned():
    found = face(20, 150)
    detector = SeesCrops(found)
    crop = align_cropped(CROPPED, TEMPLATE, detector)
    # Nothing in a crop of a face lies on its side.
    assert (detector.shape, detector.any_way_up) == ((192, 192, 3), False)
    assert (crop.source, crop.faces_found) == ("detector", 1)
    enlarged = np.array(Image.fromarray(CROPPED).resize((192, 192), Image.Resampling.BICUBIC))
    assert (crop.pixels == TEMPLATE.align(enlarged, found.landmarks)).all()
    # What is noted of the face is in the picture's own pixels, four times fewer.
    assert crop.face.box == (5, 2.5, 37.5, 37.5)
    assert crop.face.landmarks + 0.5 == pytest.approx((found.landmarks + 0.5) / 4)


def test_a_large_crop_is_not_enlarged():
    detector = SeesCrops(face(20, 150))
    align_cropped(np.zeros((300, 200, 3), np.uint8), TEMPLATE, detector)
    assert detector.shape == (300, 200, 3)


def test_of_several_faces_in_a_crop_the_one_in_the_middle_is_taken():
    # As wide as the picture is high, but at its edge; and one in the middle.
    edge, middle = Face((-80.0, 0.0, 160.0, 160.0), face(-80, 160).landmarks, 0.9), face(60, 100)
    for order in ((edge, middle), (middle, edge)):
        crop = align_cropped(CROPPED, TEMPLATE, SeesCrops(*order))
        assert crop.face.box == (15, 2.5, 25, 25)
        assert crop.faces_found == 2


@pytest.mark.parametrize("faces", [(), (face(80, 60),)], ids=["none", "a profile"])
def test_a_crop_without_a_face_to_align_takes_the_tight_square(faces):
    # The eyes of the second are 0.4 × 60 of 192 pixels apart.
    crop = align_cropped(CROPPED, CropTemplate(130), SeesCrops(*faces))
    assert (crop.source, crop.face, crop.faces_found) == ("none", None, 0)
    assert crop.pixels.shape == (130, 130, 3)
    # A margin of 0.15 on each side of 100 pixels, in which the edge is repeated.
    enlarged = np.array(Image.fromarray(CROPPED).resize((192, 192), Image.Resampling.BICUBIC))
    tight = crop.pixels[15:115, 15:115]
    assert (tight == CropTemplate(100, 0).fit(enlarged)).all()
    assert (crop.pixels[:15, 15:115] == tight[:1]).all()
    assert (crop.pixels[15:115, 115:] == tight[:, -1:]).all()
    assert (crop.pixels[115:, :15] == tight[-1, 0]).all()


def test_small_pictures_of_real_faces_are_aligned_by_their_eyes(shared):
    from fer_cli.faces.detect import Detector

    detector = Detector(shared / "models/face_detection_yunet_2023mar.onnx")
    picture = decode(shared / "data/london/neutral/001.jpg")
    template = CropTemplate(112)
    whole = crop_face(picture, template, detector=detector)
    # The face as FER2013 has it: cropped roughly, off its middle, and 48 pixels wide.
    x, y, width, height = whole.face.box
    side = int(1.3 * max(width, height))
    left, top = int(x - 0.1 * width), int(y - 0.15 * height)
    small = np.array(Image.fromarray(picture[top : top + side, left : left + side]).resize((48, 48)))
    crop = align_cropped(small, template, detector)
    assert crop.source == "detector"
    found = np.array(crop.face.landmarks) * side / 48 + [left, top]
    apart = np.linalg.norm(whole.face.landmarks[0] - whole.face.landmarks[1])
    assert np.abs(found[:2] - whole.face.landmarks[:2]).max() < 0.1 * apart
