import cv2
import numpy as np
import pytest

from fer_cli.faces.decode import decode
from fer_cli.faces.yunet import YuNet


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
