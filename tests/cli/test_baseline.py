"""The baseline from the command line: trained, tested, compared with, used, and what it has not."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_cli.prediction.predictor import Predictor
from tests.cli.test_path import fer
from tests.made import made_dataset

SMALL = ("--size", "32", "--device", "cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a dataset and the baseline's runs of one fold: of pairs, and of single faces."""
    home = tmp_path_factory.mktemp("home")
    made_dataset(home / "data" / "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        said = fer("train", "baseline", *SMALL)
        assert "C         0.001: highest average recall on the validation fold (loss" in said
        assert said.splitlines()[-1] == "next      fer predict PICTURES"
        fer("train", "baseline", "--features", "target", "--out", "runs/single", *SMALL)
    return home


@pytest.fixture
def here(home, monkeypatch) -> Path:
    monkeypatch.chdir(home)
    return home


def test_it_has_no_options_of_gradient_descent():
    shown = fer("train", "baseline", "--help")
    assert all(option in shown for option in ("--C ", "--features", "--orientations", "--fold", "--cv", "--resume"))
    assert not any(option in shown for option in ("--lr", "--epochs", "--augment", "--recipe", "--batch-size"))
    assert "No such option: --epochs" in fer("train", "baseline", "--epochs", "3", code=2)
    assert "--C -1.0: a number of more than 0" in fer("train", "baseline", "--C", "-1", code=2)


def test_its_settings_come_from_a_file_and_from_a_run(here):
    (here / "settings.toml").write_text('C = [1.0, 2.0]\nfeatures = "target"\nclass-weights = true\n')
    fer("train", "baseline", "--config", "settings.toml", "--out", "runs/from-file", *SMALL)
    recipe = json.loads((here / "runs/from-file/run.json").read_text())["recipe"]
    assert (recipe["C"], recipe["features"], recipe["class_weights"]) == ([1.0, 2.0], "target", True)
    fer("train", "baseline", "--config", "runs/from-file/run.json", "--out", "runs/again", "--device", "cpu")
    assert json.loads((here / "runs/again/run.json").read_text())["recipe"] == recipe
    (here / "settings.toml").write_text("epochs = 3\n")
    assert "epochs, which fer train baseline does not have" in fer(
        *("train", "baseline", "--config", "settings.toml"), code=2
    )


def test_it_is_evaluated_explained_and_probed(here):
    said = fer("evaluate", "runs/baseline-made-fold0", "--explain", "3", "--map", "--device", "cpu")
    assert "C by highest average recall on the validation fold" in said.replace("\n", " ")
    page = (here / "runs/baseline-made-fold0/evaluation/report.html").read_text()
    assert "evidence by block" in page
    assert "fer train baseline" in page


@pytest.mark.parametrize("run", ["baseline-made-fold0", "single"])
def test_it_predicts_faces_and_a_paired_one_compares_them_with_what_is_given(here, tmp_path, run):
    out = tmp_path / "found.csv"
    words = ("predict", "data/made/images/P01", "--run", f"runs/{run}", "--detector", "none", "--device", "cpu")
    neutral = ("--neutral", "data/made/images/P01/neutral.png") if run != "single" else ()
    said = fer(*words, *neutral, "--runtime", "onnxruntime", "--out", out)
    assert "scikit-image computes its HOG" in said
    with out.open(newline="") as file:
        rows = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    # A picture is never its own neutral.
    assert set(rows) - {"neutral"} == {"anger", "happiness", "surprise"}
    assert all(row["label"] == name for name, row in rows.items() if name != "neutral")
    if run != "single":
        fer(*words, "--neutral", "auto", "--out", out, "--overwrite")
        fer(*words, "--neutral", "mean", "--out", out, "--overwrite")
        with out.open(newline="") as file:
            assert {row["neutral"] for row in csv.DictReader(file)} == {"mean"}


@pytest.mark.parametrize("run", ["baseline-made-fold0", "single"])
def test_a_path_a_pillow_image_and_an_array_give_equal_results(here, tmp_path, run):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    predictor = Predictor(here / "runs" / run, device="cpu")
    expected = predictor(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert predictor(image) == predictor(np.asarray(image)) == expected


def test_it_is_not_exported_as_a_graph_and_the_reason_is_told(here):
    said = fer("export", "runs/single", code=1)
    assert "scikit-image computes its HOG" in said.replace("\n", " ")
    assert not (here / "runs/single/model.onnx").exists()


def test_a_network_trained_after_it_is_compared_with_it(here):
    untrained = ("--features", "target", "--encoder", "scratch", "--backbone", "mobilenet_v3_small")
    said = fer("train", "difference", *untrained, "--epochs", "1", "--lr", "1e-9", "--logger", "none", *SMALL)
    [line] = [each for each in said.splitlines() if each.startswith("baseline  ")]
    assert "difference-made-fold0 does not beat HOG and a linear SVM (" in line
    other_fold = fer("train", "difference", *untrained, "--epochs", "1", "--logger", "none", "--fold", "1", *SMALL)
    assert not [each for each in other_fold.splitlines() if each.startswith("baseline  ")]
    shown = fer("compare", "runs/difference-made-fold0", "runs/single")
    assert "does not beat HOG and a linear SVM (single): accuracy" in shown.replace("\n", " ")
