import hashlib
from pathlib import Path

import cv2
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from fer_cli.errors import DetectorError
from fer_cli.faces import yunet
from fer_cli.faces.decode import decode
from fer_cli.faces.yunet import YuNet, find_detector_model


@pytest.fixture(scope="module")
def opencv():
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def find(model, pixels: np.ndarray, threshold: float) -> np.ndarray:
        height, width = pixels.shape[:2]
        _, rows = cv2.FaceDetectorYN.create(str(model), "", (width, height), threshold).detect(
            cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        )
        return np.zeros((0, 15)) if rows is None else rows

    return find


@pytest.mark.parametrize("size", [(640, 480), (333, 257), (96, 160), (700, 1000)])
@pytest.mark.parametrize("threshold", [0.7, 0.3])
def test_it_finds_what_opencvs_own_detector_finds(shared, opencv, size, threshold):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    ours = YuNet(model, threshold)
    portraits = sorted((shared / "data" / "london" / "smiling").iterdir())
    faces = [decode(portraits[number]) for number in (0, 9, 60)]
    crowd = np.concatenate([cv2.resize(face, (400, 400)) for face in faces], axis=1)
    for picture in (*faces, crowd):
        pixels = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        expected, found = opencv(model, pixels, threshold), ours.find(pixels)
        assert found.shape == expected.shape
        assert np.allclose(found, expected, atol=0.05)


def test_a_picture_without_a_face_has_none(shared):
    ours = YuNet(shared / "models" / "face_detection_yunet_2023mar.onnx", 0.7)
    assert ours.find(np.full((70, 33, 3), 128, np.uint8)).shape == (0, 15)


def test_a_face_has_the_mean_of_several_places_points_on_request(shared):
    ours = YuNet(shared / "models" / "face_detection_yunet_2023mar.onnx", 0.7)
    portrait = decode(shared / "data" / "london" / "neutral" / "001.jpg")
    pixels = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    (best,), (averaged,) = ours.find(pixels), ours.find(pixels, average=True)
    assert np.array_equal(averaged[[0, 1, 2, 3, 14]], best[[0, 1, 2, 3, 14]])
    assert 0 < np.abs(averaged[4:14] - best[4:14]).max() < 6
    assert ours.find(np.full((70, 33, 3), 128, np.uint8), average=True).shape == (0, 15)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("FER_YUNET", raising=False)


@pytest.fixture
def hub(monkeypatch):
    """The Hub, replaced: what was asked of it, and what it answers."""

    class Hub:
        asked: tuple | None = None
        answer: Path | Exception = OfflineModeIsEnabled("offline")

        def download(self, repository, file, *, revision):
            self.asked = (repository, file, revision)
            if isinstance(self.answer, Exception):
                raise self.answer
            return str(self.answer)

    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    return hub


def test_a_path_comes_first_then_the_variable(tmp_path, monkeypatch, hub):
    typed, set_ = tmp_path / "typed.onnx", tmp_path / "set.onnx"
    for path in (typed, set_):
        path.write_bytes(b"any")
    monkeypatch.setenv("FER_YUNET", str(set_))
    assert find_detector_model(typed) == typed
    assert find_detector_model() == set_
    assert hub.asked is None


@pytest.mark.parametrize("by", ["--detector-model", "FER_YUNET"])
def test_a_path_to_nothing_is_named_with_who_named_it(tmp_path, monkeypatch, hub, by):
    absent = tmp_path / "absent.onnx"
    monkeypatch.setenv("FER_YUNET", str(absent))
    with pytest.raises(DetectorError) as caught:
        find_detector_model(absent if by == "--detector-model" else None)
    assert caught.value.message == f"{by} names {absent}, which is not a file."
    assert hub.asked is None


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch, hub):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "yunet.onnx").write_bytes(b"any")
    monkeypatch.setenv("FER_YUNET", "~/yunet.onnx")
    assert find_detector_model() == tmp_path / "yunet.onnx"


def test_otherwise_one_pinned_revision_is_downloaded_and_checked(tmp_path, monkeypatch, hub):
    hub.answer = tmp_path / "yunet.onnx"
    hub.answer.write_bytes(b"the right bytes")
    monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(b"the right bytes").hexdigest())
    assert find_detector_model() == hub.answer
    assert hub.asked == (
        "opencv/face_detection_yunet",
        "face_detection_yunet_2023mar.onnx",
        "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
    )


def test_other_bytes_than_expected_are_refused_naming_what_to_remove(tmp_path, hub):
    blob = tmp_path / "blob"
    blob.write_bytes(b"something else")
    hub.answer = tmp_path / "yunet.onnx"
    hub.answer.symlink_to(blob)
    with pytest.raises(DetectorError, match="checksum differs") as caught:
        find_detector_model()
    assert str(blob) in caught.value.message
    assert "Remove it" in caught.value.hint


@pytest.mark.parametrize(
    "trouble",
    [LocalEntryNotFoundError("not in the cache"), OfflineModeIsEnabled("offline"), OSError(28, "no space"), OSError()],
    ids=["no network", "offline", "disk", "says nothing"],
)
def test_without_the_file_or_a_network_the_person_learns_what_to_type(capfd, hub, trouble):
    hub.answer = trouble
    with pytest.raises(DetectorError) as caught:
        find_detector_model()
    assert "face_detection_yunet_2023mar.onnx" in caught.value.message
    assert huggingface_hub.constants.HF_HUB_CACHE in caught.value.message
    for way in ("--detector-model PATH", "FER_YUNET", "--detector none"):
        assert way in caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_the_copy_beside_the_checkout_is_the_one_that_is_pinned(shared):
    copy = shared / "models" / yunet.FILE
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == yunet.SHA256


def test_case_02_a_git_lfs_pointer_is_named(tmp_path):
    path = tmp_path / "face_detection_yunet_2023mar.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:8f\nsize 232589\n")
    with pytest.raises(DetectorError, match="git lfs pull"):
        find_detector_model(path)
