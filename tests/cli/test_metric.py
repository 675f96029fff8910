"""A metric added to the one table is everywhere, with no other line touched."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.evaluation.metrics import METRICS, Metric, accuracy
from tests.evaluation.predictions import random_table
from tests.evaluation.test_compare import better, evaluated
from tests.trained import trained


@pytest.fixture
def added(monkeypatch) -> Metric:
    metric = Metric(
        "error_rate",
        "share of wrong predictions",
        "error rate",
        lambda confusions: 1 - accuracy(confusions),
        headline=True,
        compared=True,
    )
    monkeypatch.setitem(METRICS, metric.name, metric)
    return metric


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_is_on_the_terminal_in_the_files_and_in_the_report(added, tmp_path, monkeypatch):
    monkeypatch.chdir(trained(tmp_path / "home"))
    terminal = shown("evaluate", "runs/cv", "--out", "there")
    metrics = json.loads((tmp_path / "home/there/metrics.json").read_text())
    value = metrics["measures"]["error_rate"]["value"]
    assert value == metrics["error_rate"] == pytest.approx(1 - metrics["accuracy"])
    low, high = (f"{100 * metrics['measures']['error_rate'][side]:.1f}" for side in ("low", "high"))
    assert any(line.startswith("error rate ") and f"[{low}, {high}]" in line for line in terminal.splitlines())
    assert "error rate" in terminal.partition("over 3 folds")[2].partition("accuracy by fold")[0]
    assert set(metrics["over_folds"]) == {"accuracy", "unweighted_average_recall", "macro_f1", "error_rate"}
    assert [fold["error_rate"] for fold in metrics["folds"]] == pytest.approx(
        [1 - fold["accuracy"] for fold in metrics["folds"]]
    )
    report = (tmp_path / "home/there/report.html").read_text()
    assert f"<dt>{added.title}</dt>" in report
    assert report.count(f">{added.title}</th>") == 2  # of every metric, and by fold
    assert f"{100 * value:.1f}%" in report


def test_it_is_compared(added, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = random_table(0, subjects=20)
    evaluated(tmp_path / "a", rows)
    evaluated(tmp_path / "b", better(rows))
    assert any(line.startswith("error rate ") for line in shown("compare", "a", "b", "--out", "there").splitlines())
    table = pd.read_csv(tmp_path / "there/comparison.csv").set_index("measure")
    assert table.loc["error_rate", "difference"] == pytest.approx(-table.loc["accuracy", "difference"], abs=1e-6)
    assert table.loc["error_rate", "p_holm"] == table.loc["accuracy", "p_holm"]


def test_a_comparison_cannot_have_a_metric_of_probabilities():
    with pytest.raises(ValueError, match="no probabilities"):
        Metric("a", "a", "a", accuracy, compared=True, of_probabilities=True)
