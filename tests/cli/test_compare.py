"""``fer compare`` as a person types it."""

import json
import re

import pytest
from typer.testing import CliRunner

from fer_cli.cli.app import app
from tests.evaluation.predictions import random_table
from tests.evaluation.test_compare import better, evaluated


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, with three evaluated runs."""
    monkeypatch.chdir(tmp_path)
    rows = random_table(0, subjects=20)
    for name, share in (("plain", 0), ("mended", 1), ("hardly", 0.05)):
        evaluated(tmp_path / "runs" / name, better(rows, share))
    return tmp_path


def fer(*words: str, code: int = 0):
    """What ``fer compare`` says and shows."""
    result = CliRunner().invoke(app, ["compare", *words], env={"COLUMNS": "80"})
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def test_two_runs_on_one_screen(here):
    shown = fer("runs/plain", "runs/mended").stdout
    assert "A  plain" in shown
    assert "180 samples of 20 subjects, tested by all" in shown
    assert re.search(r"^accuracy +\S+ +100\.0 +\+\S+ \[\+\S+, \+\S+\] +<\.001", shown, flags=re.MULTILINE)
    assert re.search(r"^recall fear ", shown, flags=re.MULTILINE)
    assert "A and B: their accuracies differ at the 5 % level." in shown
    assert "Holm" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_three_runs_are_compared_in_pairs_and_corrected(here):
    shown = fer("runs/plain", "runs/mended", "runs/hardly").stdout
    assert shown.count("p, Holm") == 3
    assert "A and C: no difference in accuracy is shown" in shown
    assert "B and C: their accuracies differ" in shown


def test_files_are_written_where_asked_and_not_overwritten_unasked(here):
    fer("runs/plain", "runs/mended", "--out", "there")
    assert {path.name for path in (here / "there").iterdir()} == {
        "comparison.csv",
        "comparison.json",
        "comparison.png",
    }
    assert "--overwrite" in fer("runs/plain", "runs/hardly", "--out", "there", code=2).stderr
    fer("runs/plain", "runs/hardly", "--out", "there", "--overwrite")
    assert json.loads((here / "there" / "comparison.json").read_text())["differing"] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "RUN"),
        (("runs/plain",), 2, "two or more"),
        (("runs/plain", "runs/plain"), 2, "two or more"),
        (("runs/plain", "runs"), 1, "Type fer evaluate runs first"),
        (("runs/plain", "nowhere"), 1, "no folder nowhere"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(here, words, code, said):
    assert said in fer(*words, code=code).output
