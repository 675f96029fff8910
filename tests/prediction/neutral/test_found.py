"""The neutral pictures that are found for the people of a prepared dataset."""

import numpy as np
import pandas as pd
import pytest

from fer_cli.dataset.draws import redraw
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.options import Session
from fer_cli.prediction.neutral import scoring
from fer_cli.prediction.neutral.scoring import ClassifierScorer, DistanceScorer, Neutrality, find_neutrals
from tests.made import CLASSES, made_dataset
from tests.prediction.runs import write_run
from tests.pretrained.made import packaged_stand_in

PEOPLE = ("P01", "P02", "P03")


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "runs" / "paired", features="both")


@pytest.fixture
def made(tmp_path):
    return made_dataset(tmp_path / "data" / "made")


class Dark:
    """Scores a face by how dark it is: the neutral squares of a person have no bright bar."""

    def __init__(self, certain: float = np.inf):
        self.certain = certain

    def __call__(self, crops, embeddings) -> Neutrality:
        assert len(crops) == len(embeddings)
        light = crops.float().mean(dim=(1, 2, 3)).numpy()
        return Neutrality(-light, light < self.certain)


def found(run, dataset, monkeypatch, scorer, people=PEOPLE) -> dict[str, str]:
    monkeypatch.setattr(scoring, "choose_scorer", lambda *_, **__: scorer)
    return find_neutrals(run, dataset, people, Session("cpu"))


def test_everybody_is_compared_with_the_highest_score_and_that_with_the_next(run, made, monkeypatch):
    pictures = found(run, made, monkeypatch, Dark())
    subject = made.metadata.set_index("file_name")["subject"]
    assert set(pictures) == set(subject.index[subject.isin(PEOPLE)])
    assert all(name != other and subject[name] == subject[other] for name, other in pictures.items())
    for name, other in pictures.items():
        assert other.endswith("/neutral.png") == (not name.endswith("/neutral.png"))


def test_labels_have_no_part_in_it(run, made, monkeypatch):
    before = found(run, made, monkeypatch, Dark())
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    rows["label"] = rows.groupby("subject")["label"].transform(lambda labels: labels.to_numpy()[::-1])
    rows[["role", "neutral_file_name"]] = ["apex", None]
    rows.to_csv(made.path / "metadata.csv", index=False)
    assert found(run, PreparedDataset.open(made.path), monkeypatch, Dark()) == before


def test_nobody_is_compared_with_a_face_that_is_not_surely_neutral(run, made, monkeypatch):
    pictures = found(run, made, monkeypatch, Dark(certain=-1))
    assert pictures == {}
    # The neutral square of the first person alone is so dark, and has no second one to be compared with.
    sure = found(run, made, monkeypatch, Dark(certain=50))
    own = [f"images/P01/{label}.png" for label in CLASSES]
    assert sure == dict.fromkeys(own, "images/P01/neutral.png")


def test_nobody_is_nothing(run, made, monkeypatch):
    assert found(run, made, monkeypatch, Dark(), people=()) == {}


def test_other_runs_next_to_it_do_not_score(run, made, monkeypatch):
    """They may be other folds of the same training, which know the people who are tested."""
    write_run(run.path.parent / "fit", features="target", classes=("neutral", "anger", "happiness", "surprise"))
    monkeypatch.setattr(scoring, "packaged_model", lambda: None)
    monkeypatch.setattr(DistanceScorer, "__call__", lambda self, crops, own: Dark()(crops, own))
    pictures = find_neutrals(run, made, PEOPLE, Session("cpu"))
    assert all(other.endswith("/neutral.png") for name, other in pictures.items() if not name.endswith("neutral.png"))


@pytest.mark.parametrize(("people", "scores"), [(("P01", "P09"), False), (("P08", "P09"), True)])
def test_the_packaged_classifier_scores_nobody_whom_it_was_trained_on(run, made, tmp_path, monkeypatch, people, scores):
    folder = packaged_stand_in(tmp_path / "packaged" / "faces")
    monkeypatch.setattr(scoring, "packaged_model", lambda: folder)
    asked = []

    def distance(self, crops, own) -> Neutrality:
        asked.append(len(crops))
        return Dark()(crops, own)

    monkeypatch.setattr(DistanceScorer, "__call__", distance)
    find_neutrals(run, made, people, Session("cpu"))
    assert bool(asked) != scores


def test_what_the_packaged_classifier_scored_is_scored_once_also_for_other_folds(run, made, tmp_path, monkeypatch):
    folder = packaged_stand_in(tmp_path / "packaged" / "faces")
    monkeypatch.setattr(scoring, "packaged_model", lambda: folder)
    first = find_neutrals(run, made, ("P07", "P08"), Session("cpu"))

    def refuse(*_):
        raise AssertionError("it was scored before")

    monkeypatch.setattr(ClassifierScorer, "__call__", refuse)
    assert find_neutrals(run, made, ("P07", "P08"), Session("cpu")) == first
    drawn = redraw(made, tmp_path / "drawn", draw=1)
    assert find_neutrals(run, drawn, ("P07", "P08"), Session("cpu")) == first
