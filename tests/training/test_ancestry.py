"""Weights say whom they have seen, by whatever name a training or an evaluation is given them."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from fer_cli.documents import read_seen
from fer_cli.errors import RunError
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.options import Session
from fer_cli.runs.run import Run, seen_behind
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import made_dataset

SMALL = "mobilenet_v3_small"
QUICK = {"epochs": 1, "batch_size": 9, "logger": ("none",)}
SCRATCH = DifferenceRecipe(encoder="scratch", backbone=SMALL, **QUICK)
#: The subjects of fold 1, on whom the runs of fold 0 were chosen.
KNOWN = ["P02", "P05", "P08"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A dataset; a run of difference, one of vit-se and one of stage 1 with its identity encoder, each of fold 0."""
    home = tmp_path_factory.mktemp("ancestry")
    made = made_dataset(home / "data" / "made")
    fit(SCRATCH, made, home / "difference", device="cpu")
    fit(ViTSERecipe(backbone="tiny", **QUICK), made, home / "vit-se", device="cpu")
    stage_1 = DisentangledRecipe(stage=1, encoder="scratch", identity="subjects", backbone=SMALL, **QUICK)
    fit(stage_1, made, home / "stage1", device="cpu")
    return home


@pytest.fixture
def made(home):
    from fer_cli.dataset.prepared import PreparedDataset

    return PreparedDataset.open(home / "data" / "made")


def named(run, way, elsewhere):
    """The weights of ``run``, named in another ``way``; ``elsewhere`` is a folder without any card."""
    elsewhere.mkdir(exist_ok=True)
    file = run / "model.safetensors"
    if way == "folder":
        return run
    if way == "file":
        return file
    if way == "copied file":
        return shutil.copy(file, elsewhere / "encoder.safetensors")
    if way == "linked file":
        (elsewhere / "link.safetensors").symlink_to(file)
        return elsewhere / "link.safetensors"
    if way == "file of torch's":
        torch.save(load_file(file), run / "encoder.pth")
        return run / "encoder.pth"
    if way == "renamed folder":
        return shutil.copytree(run, elsewhere / "mine")
    if way == "model alone":
        for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
            if (run / name).is_file():
                shutil.copy(run / name, elsewhere / name)
        return elsewhere
    if way == "checkpoint":
        folder = elsewhere / "unfinished" / "checkpoints" / "checkpoint-3"
        folder.mkdir(parents=True)
        (elsewhere / "unfinished" / "unfinished.json").write_text("{}")
        return shutil.copy(file, folder / "model.safetensors")
    raise ValueError(way)


FILES = (
    "folder",
    "file",
    "copied file",
    "linked file",
    "file of torch's",
    "renamed folder",
    "model alone",
    "checkpoint",
)


@pytest.mark.parametrize("way", FILES)
def test_an_encoder_that_knows_the_tested_subjects_is_refused_however_it_is_named(home, made, tmp_path, way):
    encoder = str(named(home / "difference", way, tmp_path / "elsewhere"))
    recipe = dataclasses.replace(SCRATCH, encoder=encoder, fold=1)
    with pytest.raises(RunError, match=r"trained on 3 of the made subjects that fold 1 tests \(P02, P05, P08\)"):
        fit(recipe, made, tmp_path / "run", device="cpu")
    insisted = fit(recipe, made, tmp_path / "run", device="cpu", allow_seen=True)
    assert insisted.card["insisted_on"] == KNOWN
    assert len(insisted.seen["made"]) == 9


@pytest.mark.parametrize("way", ["folder", "renamed folder", "model alone"])
def test_a_backbone_that_knows_them_is_refused(home, made, tmp_path, way):
    backbone = str(named(home / "vit-se", way, tmp_path / "elsewhere"))
    with pytest.raises(RunError, match="P02, P05, P08"):
        fit(ViTSERecipe(backbone=backbone, fold=1, **QUICK), made, tmp_path / "run", device="cpu")


@pytest.mark.parametrize("way", ["folder", "file", "copied file", "model alone"])
def test_an_identity_encoder_that_knows_them_is_refused(home, made, tmp_path, way):
    identity = str(named(home / "stage1" / "identity", way, tmp_path / "elsewhere"))
    recipe = DisentangledRecipe(stage=1, encoder="scratch", identity=identity, backbone=SMALL, fold=2, **QUICK)
    with pytest.raises(RunError, match=r"trained on 3 of the made subjects that fold 2 tests"):
        fit(recipe, made, tmp_path / "run", device="cpu")


@pytest.mark.parametrize("way", ["folder", "renamed folder"])
def test_a_stage_1_that_knows_them_is_refused(home, made, tmp_path, way):
    encoder = str(named(home / "stage1", way, tmp_path / "elsewhere"))
    with pytest.raises(RunError, match="P02, P05, P08"):
        fit(DisentangledRecipe(stage=2, encoder=encoder, fold=1, **QUICK), made, tmp_path / "run", device="cpu")


def test_evaluation_refuses_whom_an_ancestor_has_seen(home, tmp_path):
    """An encoder trained on one corpus, named by its file, in a run on another: both corpora's people are known."""
    made = made_dataset(tmp_path / "data" / "made")
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    encoder = named(home / "difference", "copied file", tmp_path / "elsewhere")
    run = fit(dataclasses.replace(SCRATCH, encoder=str(encoder)), other, tmp_path / "run", device="cpu")
    with pytest.raises(RunError, match=r"trained on 6 of the made subjects"):
        evaluate(run, EvaluateOptions(made.path), Session("cpu"))
    card = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**card, "seen": {}}))
    with pytest.raises(RunError, match=r"trained on 6 of the made subjects"):
        evaluate(Run.open(run.path), EvaluateOptions(made.path), Session("cpu"))


def test_checkpoints_name_the_subjects_before_the_training_is_finished(made, tmp_path):
    out = tmp_path / "interrupted"

    def interrupt(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if list(out.glob("checkpoints/*/trainer_state.json")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(dataclasses.replace(SCRATCH, epochs=2), made, out, device="cpu", progress=interrupt)
    [checkpoint] = out.glob("checkpoints/*/model.safetensors")
    assert len(read_seen(checkpoint)["made"]) == 6
    assert seen_behind(checkpoint) == read_seen(checkpoint)


def test_weights_in_a_training_under_way_that_name_nobody_are_refused(tmp_path):
    (tmp_path / "unfinished.json").write_text("{}")
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(RunError, match="was not finished"):
        seen_behind(tmp_path / "weights.pth")


def test_weights_of_nobody_knows_whom_name_nobody(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04" * 10)
    assert seen_behind(tmp_path / "weights.pth") == {}
    assert seen_behind(tmp_path / "nowhere") == {}


def test_a_damaged_note_is_said(home, tmp_path):
    from fer_cli.documents import write_metadata

    file = shutil.copy(home / "difference" / "model.safetensors", tmp_path / "m.safetensors")
    write_metadata(file, {"seen_subjects": "[1]"})
    with pytest.raises(RunError, match="does not say on whom"):
        seen_behind(file)
