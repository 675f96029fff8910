"""A run and a cross-validation, trained once for all tests of a file and copied for each that asks."""

import json
import shutil
from pathlib import Path

import pytest

from tests.made import made_dataset


@pytest.fixture(scope="session")
def _trained(tmp_path_factory) -> Path:
    from fer_cli.training.cross_validation import cross_validate
    from fer_cli.training.difference import DifferenceRecipe

    home = tmp_path_factory.mktemp("trained")
    recipe = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", epochs=1, batch_size=9)
    cross_validate(recipe, made_dataset(home / "data" / "made"), home / "cv", device="cpu")
    return home


@pytest.fixture
def home(_trained, tmp_path) -> Path:
    """A folder with the dataset of squares, ``data/made``, and a cross-validation on it, ``cv``."""
    home = tmp_path / "home"
    shutil.copytree(_trained, home)
    for path in [home / "cv" / "cross-validation.json", *home.glob("cv/*/run.json")]:
        card = json.loads(path.read_text())
        card["dataset"]["path"] = str(home / "data" / "made")
        path.write_text(json.dumps(card))
    return home


@pytest.fixture
def made(home):
    """The dataset of the run."""
    from fer_cli.dataset.prepared import PreparedDataset

    return PreparedDataset.open(home / "data" / "made")


@pytest.fixture
def run(home):
    """The run of fold 0."""
    from fer_cli.runs.run import Run

    return Run.open(home / "cv" / "fold0")
