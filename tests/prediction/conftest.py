from pathlib import Path

import pytest

from tests.prediction.made import made_classifier, made_extract, made_pictures


@pytest.fixture(scope="session")
def alone():
    """A classifier of single faces."""
    return made_classifier("target")


@pytest.fixture(scope="session")
def paired():
    """A classifier that compares a face with a neutral one."""
    return made_classifier("both")


@pytest.fixture
def extract():
    return made_extract()


@pytest.fixture
def faces(tmp_path) -> list[Path]:
    return made_pictures(tmp_path / "faces", 3)
