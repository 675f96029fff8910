"""The worked examples of CONTRIBUTING.md are what it takes: they are run as they stand there."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fer_cli
from fer_cli import corpora
from fer_cli.cli import train
from fer_cli.cli.app import app
from fer_cli.errors import CorpusError
from fer_cli.evaluation.metrics import METRICS
from tests.made import made_dataset
from tests.trained import trained

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = re.compile(r"<!-- tests/test_contributing.py runs this -->\n```python\n(.*?)```", re.DOTALL)
CORPUS, MODEL, METRIC = EXAMPLE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def module(name: str, code: str, monkeypatch) -> ModuleType:
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(code, name, "exec"), made.__dict__)
    return made


def fer(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "100"})
    assert result.exit_code == code, f"{words}: {result.output}\n{result.exception!r}"
    return result.output


def test_a_corpus(tmp_path, monkeypatch):
    moods = module("fer_cli.corpora.moods", CORPUS, monkeypatch).Moods
    root = tmp_path / "moods"
    root.mkdir()
    for person in range(1, 4):
        for mood in ("rest_1", "happy_1", "sad_1"):
            pixels = np.random.default_rng(person).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"P{person:02d}_{mood}.png")
    reading = moods().read(moods().locate(tmp_path))
    assert [(each.subject, each.label) for each in reading.records[:3]] == [
        ("P01", "happiness"),
        ("P01", "neutral"),
        ("P01", "sadness"),
    ]
    assert len(reading.records) == 9
    (root / "P01_bored_1.png").touch()
    with pytest.raises(CorpusError, match="bored"):
        moods().read(root)
    assert moods.name not in corpora.corpora()


def test_a_model(tmp_path, monkeypatch):
    recipe = module("colours", MODEL, monkeypatch).ColoursRecipe
    monkeypatch.setattr(train.app, "registered_commands", list(train.app.registered_commands))
    train.add_model(recipe)
    monkeypatch.chdir(tmp_path)
    made_dataset(tmp_path / "data" / "made")
    assert "accuracy" in fer("train", "colours", "--cells", 6, "--epochs", 2, "--device", "cpu", "--logger", "none")
    fer("predict", "data/made/images", "--detector", "none", "--device", "cpu", "--out", "found.csv")
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + 36


def test_a_metric(tmp_path, monkeypatch):
    metric = module("error_rate", METRIC, monkeypatch).METRIC
    monkeypatch.setitem(METRICS, metric.name, metric)
    monkeypatch.chdir(trained(tmp_path / "home"))
    assert "error rate" in fer("evaluate", "runs/cv", "--out", "there")
    assert metric.title in Path("there/report.html").read_text(encoding="utf-8")


def test_the_citation_and_the_changelog_are_of_this_version_and_day():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = [re.search(rf"^{name}: (.+)$", citation, re.MULTILINE)[1] for name in ("version", "date-released")]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, released = re.findall(r"^## (.+)$", changes, re.MULTILINE)[:2]
    assert unreleased == "[Unreleased]"
    assert released == "[{}] - {}".format(*cited)
    assert cited[0] == fer_cli.__version__


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_the_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:fer_cli|tests|benchmarks|docs)/[\w./-]*)`|\]\(([\w./-]+)\)", text)
    paths = {one or other for one, other in named}
    assert len(paths) > 3
    assert not [path for path in paths if not (ROOT / path).exists()]
