"""The whole path as a person types it, on a corpus small enough for a test."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_cli.cli.app import app

RUN = ("--encoder", "scratch", "--backbone", "mobilenet_v3_small", "--size", "32", "--epochs", "1", "--batch-size", "8")
FILES = ("prepare", "files", "faces", "--pattern", "{label}/{subject}.png", "--folds", "3", "--size", "32")
CROPPED = ("--detector", "none")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with cropped faces of six people in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_YUNET", raising=False)
    for label in ("neutral", "anger", "surprise"):
        for subject in range(6):
            path = tmp_path / "faces" / label / f"{subject}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([subject, len(label)]).integers(0, 256, (40, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path


def fer(*words: str, code: int = 0) -> str:
    """What ``fer`` says and shows; fails if it exits otherwise than with ``code``."""
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "160"})
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result.output


def test_short_lines_take_what_the_line_before_made(here):
    prepared = fer(*FILES, *CROPPED)
    assert "data/faces" in prepared
    trained = fer("train", "difference", *RUN)
    assert "data/faces (the latest in ./data)" in trained
    assert "runs/difference-faces-fold0" in trained
    assert "accuracy" in trained
    evaluated = fer("evaluate")
    assert "runs/difference-faces-fold0 (the latest in ./runs)" in evaluated
    metrics = json.loads((here / "runs/difference-faces-fold0/evaluation/metrics.json").read_text())
    assert metrics["classes"] == ["anger", "surprise"]
    table = fer("predict", "faces/anger", "--neutral", "faces/neutral/0.png", "--out", "p.csv")
    assert "whole picture" in table
    with (here / "p.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


def test_a_second_training_has_a_folder_of_its_own(here):
    fer(*FILES, *CROPPED)
    fer("train", "difference", *RUN)
    assert "runs/difference-faces-fold0-2" in fer("train", "difference", *RUN)
    assert "holds a finished run" in fer("train", "difference", *RUN, "--out", "runs/difference-faces-fold0", code=1)


def test_data_goes_to_standard_output_and_words_to_standard_error(here):
    fer(*FILES, *CROPPED)
    fer("train", "difference", *RUN, "--features", "target")
    done = subprocess.run(
        [sys.executable, "-m", "fer_cli", "predict", "faces/anger"], capture_output=True, text=True, check=True
    )
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == 6
    assert set(rows[0]) >= {"file", "label", "confidence", "p_anger", "p_surprise"}
    assert "6 faces in 6 of 6 pictures" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_inputs_left_out_are_named_and_told_by_the_exit_code(here):
    (here / "faces" / "anger" / "0.png").write_bytes(b"")
    said = fer(*FILES, *CROPPED, code=3)
    assert "empty file" in said
    assert "anger/0.png" in said
    fer("train", "difference", *RUN)
    said = fer("predict", "faces/anger", "--neutral", "faces/neutral/0.png", code=3)
    assert "faces/anger/0.png: empty file" in said
    said = fer("predict", "faces/anger/0.png", "--neutral", "faces/neutral/0.png", code=1)
    assert "0 faces in 0 of 1 pictures" in said


def test_what_is_there_is_not_overwritten_unasked(here):
    fer(*FILES, *CROPPED)
    assert "--overwrite" in fer(*FILES[:-1], "40", *CROPPED, code=1)
    fer(*FILES[:-1], "40", *CROPPED, "--overwrite")
    fer("train", "difference", *RUN, "--features", "target")
    (here / "p.csv").write_text("mine")
    assert "p.csv is there already" in fer("predict", "faces", "--out", "p.csv", code=2)
    assert (here / "p.csv").read_text() == "mine"
    fer("predict", "faces", "--out", "p.csv", "--overwrite")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("train", "difference"), 1, "fer prepare"),
        (("evaluate",), 1, "fer train"),
        (("evaluate", "nowhere"), 1, "no folder nowhere"),
        (("evaluate", "faces/anger"), 1, "not a run"),
        (("predict", "faces"), 1, "no finished run"),
        (("predict",), 2, "SOURCE"),
        (("prepare", "ckpuls"), 2, "ckplus"),
        (("train", "diference"), 2, "difference"),
        (("train", "difference", "--features", "all"), 2, "both"),
        (("train", "difference", "--epochs", "0"), 2, "--epochs 0"),
        (("prepare", "files", "faces"), 2, "--pattern or --table"),
        (("prepare", "files", "nowhere", "--pattern", "{label}.png"), 1, "nowhere"),
        (("prepare", "ckplus", "faces"), 1, "cohn-kanade"),
        (("prepare", "ckplus", "faces/anger/0.png"), 1, "Type the folder that CK+ is in"),
        (("prepare",), 2, "fer prepare ckplus"),
        (("prepare", "synthetic", "--subjects", "0"), 2, "--subjects"),
        (("train", "difference", "--data", "faces"), 1, "not a prepared dataset"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(here, words, code, said):
    assert said in fer(*words, code=code)


def test_a_device_that_is_not_there_is_said_before_work(here):
    fer(*FILES, *CROPPED)
    assert "--device auto" in fer("train", "difference", *RUN, "--device", "cuda:7", code=2)
    assert not (here / "runs").exists()


def test_weights_that_cannot_be_downloaded_say_what_to_type_instead(here, monkeypatch):
    import torch

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(here / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    fer(*FILES, *CROPPED)
    said = fer("train", "difference", "--size", "32", code=1)
    assert "--encoder scratch" in said
    assert not (here / "runs").exists()


def test_a_detector_that_cannot_be_downloaded_says_what_to_type_instead(here):
    said = fer(*FILES, code=1)
    assert "--detector-model" in said
    assert not (here / "data").exists()


def test_a_key_press_stops_with_a_sentence_and_the_same_line_goes_on(here, monkeypatch):
    import fer_cli.training.fit as fitting

    fer(*FILES, *CROPPED)
    make = fitting.make_trainer

    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "make_trainer", interrupted)
    assert "type the same line again" in fer("train", "difference", *RUN, code=130)
    monkeypatch.setattr(fitting, "make_trainer", make)
    assert "going on where it was interrupted" in fer("train", "difference", *RUN)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(here):
    (here / "data").mkdir()
    (here / "data").chmod(0o500)
    assert "cannot be written" in fer(*FILES, *CROPPED, code=1)


def test_the_demo_stops_at_the_first_line_that_fails(here):
    (here / "demo" / "corpus").mkdir(parents=True)
    (here / "demo" / "corpus" / "thesis.txt").write_text("precious")
    said = fer("demo", code=1)
    assert "$ fer prepare synthetic" in said
    assert "$ fer train" not in said
    assert "thesis.txt" in said or "demo/corpus" in said
