"""A training that is killed outright, at whatever moment, ends as if it had not been."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.training.difference import DifferenceRecipe
from fer_cli.training.fit import fit
from tests.made import made_dataset

#: Three training subjects show three expressions each: in batches of 2, the last of one left out, four steps an epoch
#: and twelve in all.
SETTINGS = {
    "encoder": "scratch",
    "backbone": "mobilenet_v3_small",
    "epochs": 3,
    "batch_size": 2,
    "augment": "light",
    "logger": ("none",),
}

#: Trains in a process of its own, which kills itself after the step of that number, or before its checkpoint is whole.
KILLED = """
import os, signal, sys
from pathlib import Path
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.training.difference import DifferenceRecipe
from fer_cli.training.fit import fit
from transformers import Trainer
data, out, moment, settings = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def watch(stage, done, total, /, **facts):
    if stage == "training" and str(done) == moment:
        die()
if moment == "while the second checkpoint is written":
    write, written = Trainer._save_optimizer_and_scheduler, []
    def write_and_die(self, folder):
        write(self, folder)
        written.append(folder)
        if len(written) == 2:
            die()
    Trainer._save_optimizer_and_scheduler = write_and_die
fit(DifferenceRecipe(**settings), PreparedDataset.open(data), out, device="cpu", progress=watch)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return made_dataset(tmp_path_factory.mktemp("killed") / "made")


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory) -> dict[str, torch.Tensor]:
    run = fit(DifferenceRecipe(**SETTINGS), dataset, tmp_path_factory.mktemp("whole") / "run", device="cpu")
    return load_file(run.path / "model.safetensors")


def killed(dataset: PreparedDataset, out: Path, moment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, dataset.path, out, moment, repr(SETTINGS)], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (out / "run.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("moment", ["3", "7", "11", "12", "while the second checkpoint is written"])
def test_its_weights_are_bit_for_bit_those_of_an_uninterrupted_one(dataset, uninterrupted, tmp_path, moment):
    out = tmp_path / "run"
    killed(dataset, out, moment)
    assert json.loads((out / "unfinished.json").read_text())["model"] == "difference"
    steps = []
    run = fit(
        DifferenceRecipe(**SETTINGS),
        dataset,
        out,
        device="cpu",
        progress=lambda stage, done, *_, **__: steps.append(done),
    )
    begun_again_at = {"3": 1, "7": 5, "11": 9, "12": 9, "while the second checkpoint is written": 5}
    assert steps[0] == begun_again_at[moment]
    ended = load_file(run.path / "model.safetensors")
    assert ended.keys() == uninterrupted.keys()
    assert all(torch.equal(ended[name], tensor) for name, tensor in uninterrupted.items())
    assert not (out / "checkpoints").exists()
