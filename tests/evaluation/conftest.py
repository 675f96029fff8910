"""A run and a cross-validation, trained once and copied for each test that asks."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _home(tmp_path_factory) -> Path:
    from tests.trained import trained

    return trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def home(_home, tmp_path) -> Path:
    """A folder with the dataset of squares, ``data/made``, and a cross-validation on it, ``runs/cv``."""
    from tests.trained import moved

    return moved(_home, tmp_path / "home")


@pytest.fixture
def made(home):
    """The dataset of the run."""
    from fer_cli.dataset.prepared import PreparedDataset

    return PreparedDataset.open(home / "data" / "made")


@pytest.fixture
def run(home):
    """The run of fold 0."""
    from fer_cli.runs.run import Run

    return Run.open(home / "runs" / "cv" / "fold0")
