"""The examples run as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.corpora.ckplus_tree import CODES, sequence

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(*words: str | Path, cwd: Path) -> str:
    # The console script stands beside the interpreter, on the path or not.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} == {
        *("contact_sheet.py", "predict.py", "whole_path.sh"),
    }


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_the_whole_path(tmp_path):
    shown = run("bash", EXAMPLES / "whole_path.sh", cwd=tmp_path)
    assert "accuracy" in shown
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + 27
    assert (tmp_path / "runs/difference-small-fold0/evaluation/confusion.png").is_file()


def test_predicting_from_python(made, tmp_path):
    recipe = DifferenceRecipe(
        features="target", encoder="scratch", backbone="mobilenet_v3_small", epochs=1, batch_size=9
    )
    trained = fit(recipe, made, tmp_path / "run", device="cpu")
    shown = run(sys.executable, EXAMPLES / "predict.py", trained.path, made.path / "images/P01", cwd=tmp_path)
    assert len(shown.splitlines()) == 4
    assert "anger.png face 0: " in shown


def test_the_contact_sheet(tmp_path):
    for number, label in enumerate(CODES, start=1):
        for frame in sequence(tmp_path / "corpus", "S001", f"{number:03d}", label=label):
            Image.new("RGB", (64, 49), "grey").save(frame)
    run(sys.executable, EXAMPLES / "contact_sheet.py", tmp_path / "corpus", tmp_path / "sheet.png", cwd=tmp_path)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 8 * 100
