import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.training.difference import DifferenceRecipe
from fer_cli.training.fit import fit
from tests.made import CLASSES, made_dataset


@pytest.fixture
def run(made, tmp_path):
    recipe = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", epochs=1, batch_size=9)
    return fit(recipe, made, tmp_path / "run", device="cpu")


def test_it_judges_the_held_out_subjects_and_no_others(run, made):
    evaluation = evaluate(run, device="cpu")
    assert set(evaluation.predictions["subject"]) == set(run.card["subjects"]["test"])
    assert set(evaluation.predictions["fold"]) == {0}
    assert len(evaluation.predictions) == len(made.split(0, paired=True)["test"])


def test_what_it_writes_agrees(run):
    evaluation = evaluate(run, device="cpu")
    assert evaluation.path == run.path / "evaluation"
    metrics = json.loads((evaluation.path / "metrics.json").read_text())
    predictions = pd.read_csv(evaluation.path / "predictions.csv")
    confusion = pd.read_csv(evaluation.path / "confusion.csv", index_col=0)
    assert metrics["accuracy"] == pytest.approx((predictions["label"] == predictions["predicted"]).mean())
    assert metrics["protocol"]["name"] in metrics["about"]
    assert "test fold 0" in metrics["about"]
    assert confusion.to_numpy().tolist() == metrics["confusion"]
    assert list(confusion.columns) == list(confusion.index) == metrics["classes"] == list(CLASSES)
    shares = predictions[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-4)
    assert [CLASSES[place] for place in shares.argmax(axis=1)] == predictions["predicted"].tolist()
    with Image.open(evaluation.path / "confusion.png") as picture:
        assert min(picture.size) > 400


def test_subjects_it_was_trained_on_are_refused_by_name(run, made):
    with pytest.raises(RunError, match=r"trained on 6 of the made subjects in this test .*P02"):
        evaluate(run, made.path, device="cpu")
    assert len(evaluate(run, made.path, device="cpu", allow_seen=True).predictions) == 27


def test_another_corpus_is_judged_whole(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    evaluation = evaluate(run, other.path, device="cpu")
    assert len(evaluation.predictions) == 27
    assert evaluation.path == run.path / "evaluation" / "other"
    assert "every fold" in evaluation.about


def test_other_crops_are_noted(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other", margin=0.4)
    assert any("margin of 0.4" in note for note in evaluate(run, other.path, device="cpu").notes)


def test_a_dataset_that_is_gone_or_changed_is_told(run, made, tmp_path):
    metadata = made.path / "metadata.csv"
    metadata.write_text(metadata.read_text() + "\n")
    assert any("has changed" in note for note in evaluate(run, device="cpu").notes)
    made.path.rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="no longer at"):
        evaluate(run, device="cpu")
