"""The first lines on a fresh machine without a network: an empty folder, no run, no detector's file."""

import csv
import json
import shutil

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from fer_cli import Predictor, pretrained
from fer_cli.cli import choose
from fer_cli.errors import ModelError
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.cli.test_path import fer
from tests.conftest import SHARED
from tests.made import made_dataset
from tests.prediction.runs import write_run
from tests.pretrained.made import packaged_stand_in


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = packaged_stand_in(tmp_path_factory.mktemp("installed") / "faces")
    shutil.copytree(folder, folder.with_name("faces-quick"))
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, installed):
    """An empty folder on a machine without a network, with pictures of noise."""

    def offline(*_, **__):
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.delenv("FER_YUNET", raising=False)
    monkeypatch.setattr(pretrained, "FOLDER", installed)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_run_the_packaged_model_predicts_and_says_its_scores(here):
    said = fer("predict", "images", "--detector", "none", "--out", "p.csv")
    assert "model     faces-quick: accuracy 80.0% [70.0%, 90.0%] of 40 (made); trained on Made" in said
    assert len(rows(here / "p.csv")) == 2
    assert "p_neutral" in rows(here / "p.csv")[0]


def test_a_run_comes_first_and_the_name_overrides_it(here):
    write_run(here / "runs" / "own", features="target")
    assert "run       runs/own (the latest in ./runs)" in fer("predict", "images", "--out", "own.csv")
    assert "p_neutral" not in rows(here / "own.csv")[0]
    assert "model     faces: " in fer("predict", "images", "--run", "faces", "--detector", "none", "--out", "f.csv")
    assert "p_neutral" in rows(here / "f.csv")[0]


def test_without_either_the_person_learns_how_to_make_a_run(here, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", here / "nothing")
    assert "no finished run in ./runs" in fer("predict", "images", code=1)
    for name in pretrained.NAMES:
        assert "no packaged model" in fer("predict", "images", "--run", name, code=1)
    with pytest.raises(ModelError, match="no packaged model"):
        Predictor()


def test_portraits_are_labelled_with_the_cascade(here):
    if not (SHARED / "data" / "london").is_dir():
        pytest.skip("no portraits beside the checkout (shared/data/london)")
    shutil.rmtree(here / "images")
    (here / "images").mkdir()
    for number in ("001", "002"):
        shutil.copy(SHARED / "data" / "london" / "neutral" / f"{number}.jpg", here / "images")
    # The stand-in was trained on nothing, and takes whole pictures as crops unless it is told otherwise.
    said = fer("predict", "images", "--run", str(detecting(here)), "--out", "p.csv")
    assert "LBP cascade, frontal ones only" in said
    assert len(rows(here / "p.csv")) == 2
    assert all(float(row["right_eye_x"]) < float(row["left_eye_x"]) for row in rows(here / "p.csv"))


def test_a_picture_in_which_the_cascade_finds_no_face_is_skipped(here):
    said = fer("predict", "images", "--run", str(detecting(here)), code=1)
    assert "0.png: no face found" in said


def test_yunet_can_be_insisted_on(here):
    said = fer("predict", "images", "--run", str(detecting(here)), "--detector", "yunet", code=1)
    assert "cannot be downloaded" in said
    assert "--detector cascade" in said


def detecting(here):
    """A run whose model takes detected faces."""
    folder = here / "elsewhere" / "run"
    write_run(folder, features="target")
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"detector": "none"', '"detector": "yunet"'))
    return folder


def test_from_python_it_needs_no_name(here):
    predictor = Predictor(detector="none")
    assert predictor.about.startswith("faces-quick: accuracy 80.0%")
    [face] = predictor(here / "images" / "0.png")
    assert set(face.probabilities) == set(predictor.classes)


def test_it_is_evaluated_on_a_dataset_and_exported_by_its_name(here):
    made_dataset(here / "data" / "other", corpus="other")
    said = fer("evaluate", "faces", "--data", "data/other")
    assert "runs/faces/evaluation/other" in said
    assert (here / "runs" / "faces" / "evaluation" / "other" / "metrics.json").is_file()
    # Where it is installed is nothing to type, and what it was trained on was never here.
    assert f"{pretrained.FOLDER}" not in said
    assert "faces comes without the dataset" in said
    refused = fer("evaluate", "faces", code=1)
    assert "faces comes without the dataset" in refused
    assert "Type --data FOLDER" in refused
    fer("export", "faces")
    assert (here / "runs" / "faces" / "model.onnx").is_file()


def test_the_margin_of_the_crops_that_it_was_trained_on_is_told_by_its_name(here, installed, monkeypatch):
    folder = shutil.copytree(installed, here / "deep" / "faces")
    stored = json.loads((folder / "preprocessor_config.json").read_text())
    stored["face_crop"]["margin"] = 0.4
    (folder / "preprocessor_config.json").write_text(json.dumps(stored))
    pretrained.write_checksums(folder)
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    said = []
    monkeypatch.setattr(choose, "say", said.append)
    choose.resolved(DifferenceRecipe(encoder="faces"), made_dataset(here / "data" / "made"))
    [line] = said
    assert "faces was trained on crops with 0.4: fer prepare … --margin 0.4" in line
    assert "deep" not in line


def test_people_whom_it_was_trained_on_are_refused_though_their_names_are_not_in_it(here):
    made_dataset(here / "data" / "made")
    assert "3 of the made subjects in this test (P01, P02, P03)" in fer(
        "evaluate", "faces", "--data", "data/made", code=1
    )


def test_a_run_is_packaged_for_others(here):
    run = write_run(here / "runs" / "own", features="target")
    assert "fer evaluate" in fer("export", "runs/own", "--format", "package", code=1)
    made_dataset(here / "data" / "made")
    assert "--format onnx" in fer("export", "runs/own", "--format", "package", "--quantize", code=2)
    assert not (run.path / "package").exists()
