"""YuNet on real faces: all are found, with their eyes where a person marked them."""

import cv2
import numpy as np
import pandas as pd
import pytest

from fer_cli.errors import DetectorError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.decode import decode
from fer_cli.faces.detect import Detector, Face
from tests.conftest import SHARED


@pytest.fixture(scope="module")
def portrait(london) -> np.ndarray:
    return decode(london / "neutral" / "001.jpg")


@pytest.fixture(scope="module")
def eyes(london) -> np.ndarray:
    """2×2: the eyes of the portrait as marked by hand."""
    row = pd.read_csv(london / "eyes.csv", index_col="file_name").loc["neutral/001.jpg"]
    return row.to_numpy(dtype=float).reshape(2, 2)


def errors(face: Face, eyes: np.ndarray) -> np.ndarray:
    """How far each eye is from where it was marked, in distances between the eyes."""
    return np.linalg.norm(face.landmarks[:2] - eyes, axis=1) / np.linalg.norm(eyes[1] - eyes[0])


def canvas(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 220, np.uint8)


def test_every_portrait_has_its_one_face_with_the_eyes_in_place(detector, london):
    marked = pd.read_csv(london / "eyes.csv", index_col="file_name")
    pictures = sorted(london.glob("*/*.jpg"))
    found = {path: detector.detect(decode(path)) for path in pictures}
    assert len(pictures) == 204
    assert {path for path, faces in found.items() if len(faces) != 1} == set()
    away = [errors(found[london / name][0], row.to_numpy().reshape(2, 2)) for name, row in marked.iterrows()]
    worse_eye = np.max(away, axis=1)
    assert len(worse_eye) == 102
    assert np.median(worse_eye) < 0.05
    assert worse_eye.max() < 0.12


def test_acted_expressions_are_found_too(detector, shared):
    pictures = sorted((shared / "data" / "london-acted").glob("*/*/*.jpg"))[::57]
    assert pictures
    assert [path for path in pictures if len(detector.detect(decode(path))) != 1] == []


def test_a_face_as_described(detector, portrait, eyes):
    (face,) = detector.detect(portrait)
    x, y, width, height = face.box
    assert 0.7 < face.score <= 1
    assert face.landmarks.shape == (5, 2)
    assert (face.landmarks > [x, y]).all()
    assert (face.landmarks < [x + width, y + height]).all()
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    # The person's right is on the left of the picture.
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_red_and_blue_are_not_exchanged(detector, portrait):
    # Blue skin scores lower; were the channels handed over in the wrong order, true skin would.
    (true,), swapped = detector.detect(portrait), detector.detect(portrait[..., ::-1].copy())
    assert true.score > max((face.score for face in swapped), default=0)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_tilted_face_is_found_with_its_eyes_in_place(detector, portrait, eyes, degrees):
    turn = cv2.getRotationMatrix2D((256, 256), degrees, 1)
    turned = cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    (face,) = detector.detect(turned)
    assert errors(face, eyes @ turn[:, :2].T + turn[:, 2]).max() < 0.12


def quarter_turned(points: np.ndarray, quarters: int, side: int) -> np.ndarray:
    """Where the points of a square picture are after it was turned anticlockwise."""
    for _ in range(quarters):
        points = np.stack([points[:, 1], side - 1 - points[:, 0]], axis=1)
    return points


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_scores_highest_the_right_way_up(detector, portrait, quarters):
    # Sideways a face may be found, but not its eyes: the score is what tells.
    (upright,) = detector.detect(portrait)
    turned = detector.detect(np.ascontiguousarray(np.rot90(portrait, quarters)), any_way_up=False)
    assert max((face.score for face in turned), default=0) < upright.score - 0.03
    assert upright.turn == 0


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_case_38_a_face_that_lies_on_its_side_is_found_as_the_upright_one_is(detector, london, quarters):
    for path in sorted(london.glob("*/*.jpg"))[::20]:
        picture = decode(path)
        (upright,) = detector.detect(picture)
        (lying,) = detector.detect(np.ascontiguousarray(np.rot90(picture, quarters)))
        assert lying.turn == 90 * quarters
        wanted = quarter_turned(upright.landmarks, quarters, 512)
        assert errors(lying, wanted[:2]).max() < 0.12
        x, y, width, height = lying.box
        assert abs(width * height / upright.area - 1) < 0.25
        x0, y0, w0, h0 = upright.box
        middle = quarter_turned(np.array([[x0 + w0 / 2, y0 + h0 / 2]]), quarters, 512)[0]
        assert np.hypot(*(middle - [x + width / 2, y + height / 2])) < 0.1 * w0


def test_case_38_of_a_group_each_face_has_its_own_turn(detector, portrait):
    picture = canvas(512, 1_600)
    for quarters, left in ((0, 0), (1, 540), (2, 1_080)):
        picture[:, left : left + 512] = np.rot90(portrait, quarters)
    found = sorted(detector.detect(picture), key=lambda face: face.box[0])
    assert [face.turn for face in found] == [0, 90, 180]


@pytest.mark.parametrize(("factor", "height", "width"), [(0.25, 1_500, 2_000), (1, 700, 4_000), (5, 2_560, 2_560)])
def test_coordinates_are_those_of_the_picture_however_large(detector, portrait, eyes, factor, height, width):
    face = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    picture = canvas(height, width)
    left, top = width - face.shape[1], height - face.shape[0]
    picture[top:, left:] = face
    (found,) = detector.detect(picture)
    assert errors(found, (eyes + 0.5) * factor - 0.5 + [left, top]).max() < 0.12


@pytest.mark.parametrize("size", [48, 100, 224])
@pytest.mark.parametrize("margin", [0, 0.4])
def test_a_face_that_fills_a_small_picture_is_found(detector, portrait, eyes, size, margin):
    template = CropTemplate(size, margin)
    crop = template.align(portrait, np.concatenate([eyes, np.zeros((3, 2))]))
    (face,) = detector.detect(crop)
    assert errors(face, template.eyes).max() < 0.12


def test_a_group_large_and_small_the_largest_first(detector, portrait):
    picture = canvas(1_500, 2_000)
    for factor, left in ((0.15, 50), (2, 500), (0.4, 200)):
        face = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        picture[: face.shape[0], left : left + face.shape[1]][:, : 2_000 - left] = face[:, : 2_000 - left]
    found = detector.detect(picture)
    assert len(found) == 3
    widths = [face.box[2] for face in found]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 4 * widths[1] > 8 * widths[2] * 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (64, 40_000), (512, 512)])
def test_a_picture_without_a_face_has_none(detector, shape):
    assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []


@pytest.mark.parametrize("name", ["text.onnx", "empty.onnx", "absent.onnx", "folder.onnx", "text.bin"])
def test_a_file_that_is_no_detector_is_refused_in_one_voice(tmp_path, capfd, name):
    (tmp_path / "text.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "text.bin").write_text("no network at all\n")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(DetectorError) as caught:
        Detector(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message
    assert "--detector-model" in caught.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def quick(detector) -> Detector:
    return Detector(SHARED / "models" / "face_detection_yunet_2023mar.onnx", quick=True)


def test_a_quick_detector_finds_every_portraits_face_with_its_eyes_nearly_in_place(quick, london):
    marked = pd.read_csv(london / "eyes.csv", index_col="file_name").iloc[::4]
    away = []
    for name, row in marked.iterrows():
        pixels = decode(london / name)
        (face,), largest = quick.detect(pixels), quick.largest(pixels)
        away += [errors(each, row.to_numpy().reshape(2, 2)) for each in (face, largest)]
    assert np.median(np.max(away, axis=1)) < 0.06
    assert np.max(away) < 0.13


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_quick_detector_turns_faces_as_another_does(quick, detector, portrait, turn):
    pixels = np.ascontiguousarray(np.rot90(portrait, turn))
    (found,), (expected,) = quick.detect(pixels), detector.detect(pixels)
    assert found.turn == expected.turn == 90 * turn
    assert np.array_equal(found.landmarks, expected.landmarks)


def laid_on(picture: np.ndarray, portrait: np.ndarray, side: int, x: int, y: int) -> None:
    """The portrait, ``side`` pixels a side, laid on ``picture``."""
    picture[y : y + side, x : x + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("turn", [0, 2])
def test_the_largest_face_alone_is_the_first_of_all(quick, portrait, turn):
    picture = canvas(480, 640)
    laid_on(picture, np.rot90(portrait, turn), 300, 20, 100)
    laid_on(picture, portrait, 120, 400, 60)
    largest, first = quick.largest(picture), quick.detect(picture)[0]
    assert largest.turn == first.turn == 90 * turn
    assert np.abs(largest.landmarks - first.landmarks).max() < 6
    assert np.abs(np.subtract(largest.box, first.box)).max() < 20


@pytest.mark.parametrize("sides", [(230, 210), (60, 40), (30,)])
def test_faces_of_about_one_size_and_small_ones_are_all_searched_for(quick, portrait, sides):
    picture = canvas(480, 640)
    for place, side in enumerate(sides):
        laid_on(picture, portrait, side, 30 + 300 * place, 120)
    largest, first = quick.largest(picture), quick.detect(picture)[0]
    assert largest.box == first.box
    assert np.array_equal(largest.landmarks, first.landmarks)


def test_a_detector_that_is_not_quick_gives_the_first_of_all_exactly(detector, portrait):
    largest, first = detector.largest(portrait), detector.detect(portrait)[0]
    assert largest.box == first.box
    assert np.array_equal(largest.landmarks, first.landmarks)


def test_a_picture_without_a_face_has_no_largest(quick):
    assert quick.largest(canvas(480, 640)) is None
