"""``fer prepare`` as a person types it: what is said at the end, and the exit code."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_cli.cli.app import app


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with pictures of eleven people in two parts, each smiling and not."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for part in ("training", "testing"):
        for label in ("happy", "neutral"):
            for number in range(11):
                path = tmp_path / "faces" / part / label / f"{part}-{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return tmp_path


def prepared(*line: str) -> tuple[str, int]:
    line = ("prepare", "files", "faces", "--detector", "none", "--size", "32", "--jobs", "1", *line)
    result = CliRunner().invoke(app, line, env={"TERM": "dumb"})
    # Where a line breaks depends on the terminal.
    return " ".join(result.output.split()), result.exit_code


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{split}/{label}/*.png", "next fer train difference --features target"),
        ("*/{label}/*.png", "next it cannot be trained on: data/faces has no folds"),
    ],
)
def test_case_08_the_next_line_is_one_that_can_be_typed(here, pattern, said):
    output, code = prepared("--pattern", pattern)
    assert said in output
    assert code == 0


def test_case_10_contradictions_are_told_and_the_exit_code_says_that_something_is_wrong(here):
    rows = [f"training/happy/training-{number}.png,happy,train" for number in range(11)]
    rows += [f"training/neutral/training-{number}.png,neutral,train" for number in range(11)]
    (here / "rows.csv").write_text("\n".join(["path,label,split", *rows, rows[0], rows[1].replace("happy,", "sad,")]))
    output, code = prepared("--table", "rows.csv")
    assert "2 a row that contradicts another of the same picture (such as rows.csv:25)" in output
    assert "1 a row that repeats an earlier one" in output
    assert code == 3
