"""The LBP cascade: frontal faces with their eyes where they are, and nothing where there is none."""

import cv2
import huggingface_hub
import numpy as np
import pandas as pd
import pytest

from fer_cli.errors import DetectorError, UnreachableDetectorError
from fer_cli.faces import cascade
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.cascade import CASCADE, CascadeDetector, choose_detector, landmarks_of, open_detector
from fer_cli.faces.crop import align_cropped
from fer_cli.faces.decode import decode
from fer_cli.faces.detect import Detector
from fer_cli.faces.yunet import can_be_had
from tests.conftest import SHARED

detector = CascadeDetector()


@pytest.fixture(scope="module")
def portrait(london) -> np.ndarray:
    return decode(london / "neutral" / "001.jpg")


@pytest.fixture(scope="module")
def eyes(london) -> np.ndarray:
    """2×2: the eyes of the portrait as marked by hand."""
    row = pd.read_csv(london / "eyes.csv", index_col="file_name").loc["neutral/001.jpg"]
    return row.to_numpy(dtype=float).reshape(2, 2)


def off(found: np.ndarray, eyes: np.ndarray) -> float:
    """How far the worse eye is from where it was marked, in distances between the eyes."""
    return float(np.linalg.norm(found[:2] - eyes, axis=1).max() / np.linalg.norm(eyes[1] - eyes[0]))


def test_a_portrait_has_one_face_with_its_eyes_where_a_person_marked_them(portrait, eyes):
    [face] = detector.detect(portrait)
    assert off(face.landmarks, eyes) < 0.15
    assert 0.4 <= face.score <= 1
    assert face.landmarks.shape == (5, 2)


def test_the_face_is_found_wherever_it_is_and_in_any_size(portrait, eyes):
    small = cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)
    canvas = np.full((300, 420, 3), 127, np.uint8)
    canvas[90:250, 230:390] = small
    [face] = detector.detect(canvas)
    assert off(face.landmarks, (eyes + 0.5) * 160 / 512 - 0.5 + [230, 90]) < 0.15


def test_the_face_in_a_crop_is_aligned_by_its_eyes(portrait, eyes):
    template = CropTemplate(160)
    crop = align_cropped(portrait, template, detector)
    assert (crop.source, crop.faces_found) == ("detector", 1)
    assert off(crop.face.landmarks, eyes) < 0.15
    # Where the eyes were marked is where the template has them.
    assert off(np.column_stack((eyes, [1, 1])) @ template.matrix(crop.face.landmarks).T, template.eyes) < 0.15


def test_a_crop_without_a_face_is_taken_as_it_is():
    crop = align_cropped(np.full((64, 64, 3), 127, np.uint8), CropTemplate(64), detector)
    assert (crop.source, crop.face) == ("none", None)
    assert (crop.pixels == 127).all()


def test_two_people_are_two_faces_the_larger_first(portrait):
    small = cv2.resize(portrait, (360, 360), interpolation=cv2.INTER_AREA)
    both = np.full((512, 872, 3), 200, np.uint8)
    both[:, 360:] = portrait
    both[100:460, :360] = small
    large, other = detector.detect(both)
    assert large.box[0] > 360 > other.box[0]
    assert large.area > other.area


def test_a_mirrored_face_is_found_mirrored(portrait):
    [face], [mirrored] = detector.detect(portrait), detector.detect(np.ascontiguousarray(portrait[:, ::-1]))
    width = portrait.shape[1]
    assert abs(width - 1 - mirrored.landmarks[:2, 0].mean() - face.landmarks[:2, 0].mean()) < 0.03 * face.box[2]


def drawn_face() -> np.ndarray:
    picture = np.full((200, 160, 3), 90, np.uint8)
    cv2.ellipse(picture, (80, 100), (55, 75), 0, 0, 360, (205, 170, 150), -1)
    for x in (58, 102):
        cv2.circle(picture, (x, 85), 7, (30, 20, 20), -1)
    cv2.ellipse(picture, (80, 140), (22, 8), 0, 0, 180, (120, 40, 40), 3)
    return picture


@pytest.mark.parametrize(
    "pixels",
    [
        drawn_face(),
        np.zeros((100, 100, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.zeros((3, 2000, 3), np.uint8),
        np.zeros((2000, 5, 3), np.uint8),
    ],
    ids=["drawn", "black", "noise", "a pixel", "a row", "a column"],
)
def test_other_pictures_make_no_trouble(pixels):
    for face in detector.detect(pixels):
        assert np.isfinite(face.landmarks).all()
        assert face.box[2] > 0


def test_the_points_stand_in_their_order_and_follow_the_box():
    points = landmarks_of(10, 20, 100)
    right, left, nose, *mouth = points
    assert right[0] < nose[0] < left[0]
    assert right[1] == left[1] < nose[1] < mouth[0][1] == mouth[1][1]
    assert np.allclose(landmarks_of(30, 60, 200), 2 * points + [10, 20])
    assert np.allclose(points[:, 0].mean(), 60)


@pytest.mark.parametrize("answers", [True, False], ids=["lost on the way", "no network"])
def test_the_cascade_stands_in_where_the_file_cannot_be_had(monkeypatch, answers):
    asked = []

    def fail(*_):
        asked.append(1)
        raise UnreachableDetectorError("not here")

    monkeypatch.setattr(cascade, "find_detector_model", fail)
    monkeypatch.setattr(cascade, "can_be_had", lambda path: answers)
    assert choose_detector("auto") == CASCADE
    # Without a network nothing is waited for.
    assert len(asked) == answers
    assert choose_detector("none") is None
    with pytest.raises(UnreachableDetectorError):
        choose_detector("yunet")


def test_the_file_can_be_had_if_it_was_named_or_the_hub_answers(tmp_path, monkeypatch):
    monkeypatch.delenv("FER_YUNET", raising=False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    assert not can_be_had()
    assert can_be_had(tmp_path / "any.onnx")
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url, timeout: None)
    assert can_be_had()


def test_a_file_that_was_named_and_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_YUNET", str(tmp_path / "absent.onnx"))
    with pytest.raises(DetectorError, match="FER_YUNET names"):
        choose_detector("auto")
    assert choose_detector("cascade") == CASCADE


def test_what_was_chosen_is_opened(tmp_path):
    assert open_detector(None) is None
    assert isinstance(open_detector(CASCADE), CascadeDetector)
    model = SHARED / "models" / "face_detection_yunet_2023mar.onnx"
    if model.is_file():
        assert isinstance(open_detector(model), Detector)
