from pathlib import Path

import pytest

from fer_cli.faces.detect import Detector
from tests.conftest import SHARED


@pytest.fixture(scope="session")
def detector() -> Detector:
    model = SHARED / "models" / "face_detection_yunet_2023mar.onnx"
    if not model.is_file():
        pytest.skip("no detector beside the checkout (shared/models)")
    return Detector(model)


@pytest.fixture(scope="session")
def london() -> Path:
    """102 people, neutral and smiling, 512 × 512, with the neutral pictures' eyes marked by hand."""
    folder = SHARED / "data" / "london"
    if not folder.is_dir():
        pytest.skip("no portraits beside the checkout (shared/data/london)")
    return folder
