"""``fer push`` as it is typed, and the cards that training and evaluation write."""

import pytest

from tests.cli.test_path import fer
from tests.export.test_publish import vit_se
from tests.hub import running_hub
from tests.made import made_dataset

NAME = "anna/smiles"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub-cache") as hub:
        yield hub


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return vit_se(tmp_path / "runs" / "one").path


def test_a_dry_run_shows_the_files_the_card_the_licence_and_what_is_missing_and_sends_nothing(hub, run):
    shown = fer("push", run, NAME, "--dry-run")
    for part in ("model.safetensors\t", "run.json\t", "# anna/smiles", "license: other", "all rights are reserved"):
        assert part in shown
    assert "permitted made: missing" in shown
    assert "nothing was sent" in shown
    assert hub.requests == []


def test_it_is_sent_and_predicted_with_by_its_name(hub, run, tmp_path):
    refused = fer("push", run, NAME, code=2)
    assert "--permission" in refused
    sent = fer("push", run, NAME, "--licence", "cc-by-4.0", "--permission", "the owners, by letter")
    assert f"{hub.url}/{NAME}" in sent
    assert f"fer predict PICTURES --model {NAME}" in sent
    again = fer("push", run, NAME, "--licence", "cc-by-4.0", "--permission", "the owners, by letter", "--public")
    assert "nothing has changed" in again
    assert "stays so" in again
    pictures = made_dataset(tmp_path / "made").path / "images" / "P01"
    rows = []
    for source in (("--run", run), ("--model", NAME)):
        said = fer("predict", pictures, *source, "--detector", "none", "--out", "p.csv", "--overwrite")
        rows.append((tmp_path / "p.csv").read_text())
    assert "model     anna/smiles: accuracy 80.0%" in said
    assert rows[0] == rows[1]
    assert rows[0].count("\n") == 5


def test_a_person_reads_why_nothing_was_sent(hub, run):
    said = fer("push", run, "berta/smiles", "--permission", "mine", code=1)
    assert "somebody else's" in said
    (run / "evaluation" / "metrics.json").unlink()
    assert "fer evaluate" in fer("push", run, NAME, "--permission", "mine", code=1)


def test_a_run_that_is_not_there_is_answered_with_those_that_are(hub, run, tmp_path, monkeypatch):
    said = fer("push", "nowhere", NAME, "--dry-run", code=1)
    assert "no folder nowhere" in said
    assert "runs/one" in said
    monkeypatch.chdir(tmp_path / "runs")
    assert "fer train makes one" in fer("compare", "nowhere", "nor-here", code=1)


def test_training_writes_a_card_and_evaluation_writes_it_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_dataset(tmp_path / "data" / "made")
    settings = ("--backbone", "tiny", "--no-pretrained", "--epochs", "1", "--size", "32", "--logger", "none")
    assert "README.md" in fer("train", "vit-se", *settings, "--out", "runs/one")
    card = tmp_path / "runs" / "one" / "README.md"
    text = card.read_text()
    assert "P01" not in text
    assert str(tmp_path) not in text
    card.unlink()
    fer("evaluate", "runs/one")
    assert card.read_text() == text
    card.write_text("# Mine\n")
    assert "is kept" in fer("evaluate", "runs/one")
    assert card.read_text() == "# Mine\n"
