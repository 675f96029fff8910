"""A training that is killed outright, at whatever moment, ends as if it had not been."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import made_dataset
from tests.training.test_kept_weights import contradicted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

#: Three training subjects show three expressions each: in batches of 2, the last of one left out, four steps an epoch.
#: The validation fold contradicts them, so that patience ends the training before its epochs do.
COMMON = {"batch_size": 2, "augment": "light", "logger": ("none",), "schedule": "constant", "warmup": 0.0}
SCRATCH = {"encoder": "scratch", "backbone": "mobilenet_v3_small"}
RECIPES = {
    "vit-se": ViTSERecipe(backbone="tiny", epochs=8, patience=2, lr=3e-3, **COMMON),
    "difference": DifferenceRecipe(epochs=3, tune_encoder=True, **SCRATCH, **COMMON),
    "disentangled": DisentangledRecipe(
        identity="subjects", epochs=5, patience=1, lr=1e-2, views=2, **SCRATCH, **COMMON
    ),
}
#: The step of the training (of which the disentangled one has three) after which it is killed, and the first step that
#: is trained when it is resumed; or another moment.
MOMENTS = [
    ("vit-se", "1:5", 5),
    ("vit-se", "patience spent", None),
    ("difference", "1:3", 1),
    ("difference", "1:12", 9),
    ("difference", "checkpoint 2", 5),
    ("disentangled", "2:6", 5),
    ("disentangled", "embedding", 1),
    ("disentangled", "3:5", 5),
]

#: Imports once, and trains each in a child that kills itself at its moment.
KILLED = """
import os, signal, sys
from pathlib import Path
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.training.fit import fit
from fer_cli.training.trainer import FoldTrainer
from tests.training.test_killed import MOMENTS, RECIPES

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def train(model, moment, data, out):
    trainings = [0]
    def watch(stage, done, total, /, **facts):
        trainings[0] += stage == "training" and done == 1
        if moment in (f"{trainings[0]}:{done}", stage):
            die()
    if moment == "patience spent":
        FoldTrainer._load_best_model = die
    if moment == "checkpoint 2":
        write, written = FoldTrainer._save_optimizer_and_scheduler, []
        def write_and_die(self, folder):
            write(self, folder)
            written.append(folder)
            if len(written) == 2:
                die()
        FoldTrainer._save_optimizer_and_scheduler = write_and_die
    fit(RECIPES[model], PreparedDataset.open(data), out, device="cpu", progress=watch)

for number, (model, moment, _) in enumerate(MOMENTS):
    child = os.fork()
    if not child:
        try:
            train(model, moment, Path(sys.argv[1], str(number)), Path(sys.argv[2], str(number)))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, (model, moment)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset for each of the moments, and what was left of the training that was killed at it."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("killed")
    for number in range(len(MOMENTS)):
        contradicted(made_dataset(data / str(number)))
    done = subprocess.run([sys.executable, "-c", KILLED, data, out], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return data, out


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("whole")
    dataset = contradicted(made_dataset(home / "made"))
    return {model: fit(recipe, dataset, home / model, device="cpu").path for model, recipe in RECIPES.items()}


def kept(run: Path) -> dict[str, bytes]:
    """What a run holds, but for the record, which names its dataset's folder."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.mark.parametrize(("model", "moment", "first"), MOMENTS)
def test_what_it_keeps_is_byte_for_byte_that_of_an_uninterrupted_one(folders, uninterrupted, model, moment, first):
    data, out = (folder / str(MOMENTS.index((model, moment, first))) for folder in folders)
    assert json.loads((out / "unfinished.json").read_text())["model"] == RECIPES[model].name
    steps = []

    def watch(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if stage == "training":
            steps.append(done)

    run = fit(RECIPES[model], PreparedDataset.open(data), out, device="cpu", progress=watch)
    assert (steps[0] if steps else None) == first
    assert kept(run.path) == kept(uninterrupted[model])


def test_the_patience_of_some_of_them_was_spent(uninterrupted):
    ended = {model: len((run / "epochs.csv").read_text().splitlines()) - 1 for model, run in uninterrupted.items()}
    assert ended["vit-se"] < RECIPES["vit-se"].epochs
    assert ended["disentangled"] < RECIPES["disentangled"].epochs
