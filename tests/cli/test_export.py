"""``fer export`` and the options of ``fer predict`` that choose models and neutral faces, as a person types them."""

import csv

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.cli.test_path import fer
from tests.made import CLASSES, made_dataset
from tests.prediction.runs import write_run


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_paired_run_needs_no_neutral_picture(here):
    write_run(here / "runs" / "pair", features="both")
    said = fer("predict", "images", "--out", "p.csv")
    assert "the latest in ./runs" in said
    assert "identity" in said
    assert "people in 3 faces" in said
    assert "onnxruntime (" in said
    assert len(rows(here / "p.csv")) == 3
    assert {row["neutral"] for row in rows(here / "p.csv")} <= {"mean", *(f"images/{n}.png" for n in range(3))}


def test_what_was_chosen_as_neutral_is_told_row_by_row_with_its_confidence(here):
    write_run(here / "runs" / "single", features="target", classes=("neutral", *CLASSES))
    write_run(here / "runs" / "pair", features="both")
    fer("predict", "images", "--run", "runs/pair", "--identity-threshold", "2", "--out", "p.csv")
    for row in rows(here / "p.csv"):
        assert (row["neutral_confidence"] == "") == (row["neutral"] == "mean")
    fer("predict", "images", "--run", "runs/pair", "--neutral", "mean", "--out", "m.csv")
    assert {row["neutral"] for row in rows(here / "m.csv")} == {"mean"}


def test_runtimes_give_the_same_rows(here):
    write_run(here / "runs" / "pair", features="both")
    for runtime in ("torch", "onnxruntime"):
        assert runtime in fer("predict", "images", "--runtime", runtime, "--out", f"{runtime}.csv")
    for one, other in zip(rows(here / "torch.csv"), rows(here / "onnxruntime.csv"), strict=True):
        for name in CLASSES:
            assert float(one[f"p_{name}"]) == pytest.approx(float(other[f"p_{name}"]), abs=1e-4)


def test_somebody_elses_model_is_used_by_its_folder_and_its_labels_are_told(here):
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

    labels = {"id2label": {0: "happy", 1: "sleepy"}, "label2id": {"happy": 0, "sleepy": 1}}
    small = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(**small, **labels)).save_pretrained("theirs")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained("theirs")
    words = ("predict", "images", "--model", "theirs", "--detector", "none", "--runtime", "torch")
    said = fer(*words, "--out", "p.csv")
    assert "happy → happiness; kept under their own names: sleepy" in said
    assert {"p_happiness", "p_sleepy"} <= set(rows(here / "p.csv")[0])
    assert "cannot be downloaded" in fer("predict", "images", "--model", "nobody/nothing", code=1)
    assert "--run and --model" in fer(*words, "--run", "runs/x", code=2)


def test_a_run_is_exported_once_and_not_overwritten_unasked(here):
    write_run(here / "runs" / "pair", features="both")
    said = fer("export")
    assert "on random pictures" in said
    assert said.splitlines()[-1] == "runs/pair/model.onnx"
    onnx.checker.check_model("runs/pair/model.onnx", full_check=True)
    assert "--overwrite" in fer("export", code=2)
    fer("export", "runs/pair", "--overwrite")
    assert "is no longer at" in fer("export", "--quantize", code=1)
    assert "not a run" in fer("export", "images", code=1)
    made_dataset(here / "data" / "made")
    said = fer("export", "runs/pair", "--quantize", "--data", "data/made")
    assert "on 9 test faces" in said
    assert said.splitlines()[-1] == "runs/pair/model-int8.onnx"
    assert "--data is for" in fer("export", "runs/pair", "--format", "package", "--data", "data/made", code=2)
