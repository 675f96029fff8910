import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.chance import adjusted_chance
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.options import Session
from tests.made import CLASSES, made_dataset

SHARES = [f"p_{name}" for name in CLASSES]


def test_what_it_writes_agrees(run):
    evaluation = evaluate(run, session=Session("cpu"))
    assert evaluation.path == run.path / "evaluation"
    metrics = json.loads((evaluation.path / "metrics.json").read_text())
    predictions = pd.read_csv(evaluation.path / "predictions.csv")
    confusion = pd.read_csv(evaluation.path / "confusion.csv", index_col=0)
    assert metrics["accuracy"] == pytest.approx((predictions["label"] == predictions["predicted"]).mean())
    assert metrics["measures"]["accuracy"]["value"] == metrics["accuracy"]
    assert metrics["measures"]["accuracy"]["low"] == evaluation.metrics.loc["accuracy", "low"]
    assert set(metrics["per_class"]["anger"]) >= {"precision", "recall_low", "f1_high", "support"}
    assert metrics["chance"] == {"level": 0.95, **evaluation.chance}
    assert metrics["chance"]["accuracy"] == adjusted_chance(predictions["label"])
    assert metrics["protocol"]["name"] in metrics["about"]
    assert "test fold 0" in metrics["about"]
    assert "epoch by lowest loss on the validation fold" in metrics["about"]
    assert confusion.to_numpy().tolist() == metrics["confusion"]
    assert list(confusion.columns) == list(confusion.index) == metrics["classes"] == list(CLASSES)
    shares = predictions[SHARES].to_numpy()
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-4)
    assert [CLASSES[place] for place in shares.argmax(axis=1)] == predictions["predicted"].tolist()
    assert len(metrics["calibration"]["bins"]) == metrics["calibration"]["ece_bins"] == 15


def test_the_matrices_are_pictures_and_tables_of_counts_and_shares(run):
    evaluation = evaluate(run, session=Session("cpu"))
    shares = pd.read_csv(evaluation.path / "confusion-normalised.csv", index_col=0).to_numpy()
    assert shares.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-4)
    for stem in ("confusion", "confusion-normalised", "reliability"):
        with Image.open(evaluation.path / f"{stem}.png") as picture:
            assert min(picture.size) > 400
        assert "test fold 0" in " ".join(_words(evaluation.path / f"{stem}.svg"))


def test_a_fold_that_shows_one_class_has_nothing_to_evaluate(run, made):
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    shown = (rows["fold"] != "0") | rows["label"].isin(["neutral", "anger"])
    rows[shown].to_csv(made.path / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="all 3 samples show anger"):
        evaluate(run, session=Session("cpu"))
    assert not (run.path / "evaluation").exists()


def test_by_group_by_sequence_and_their_files(run):
    attributes = pd.DataFrame({"gender": dict.fromkeys(run.card["subjects"]["test"], "female")}, dtype="string")
    evaluation = evaluate(run, EvaluateOptions(attributes=attributes), Session("cpu"))
    assert evaluation.groups["value"].iloc[0] == pytest.approx(evaluation.value())
    assert any("3 subjects and 9 samples" in note for note in evaluation.notes)
    # One frame a sequence: nothing to merge.
    assert evaluation.by_sequence == {}
    stored = pd.read_csv(evaluation.path / "groups.csv")
    assert stored["measure"].tolist() == list(evaluation.metrics.index)
    assert json.loads((evaluation.path / "metrics.json").read_text())["gaps"] == []


def test_insisting_on_people_it_knows_is_stamped_on_all_that_is_written(run):
    evaluation = evaluate(run, EvaluateOptions(split="val"), Session("cpu", allow_seen=True))
    assert evaluation.path == run.path / "evaluation" / "val"
    stamp = "TESTED ON 3 SUBJECTS THAT THE MODEL WAS TRAINED ON"
    assert evaluation.provenance.about.endswith(stamp)
    metrics = json.loads((evaluation.path / "metrics.json").read_text())
    assert stamp in metrics["about"]
    assert len(metrics["insisted_on"]) == 3
    for stem in ("confusion", "confusion-normalised", "reliability"):
        assert "WAS TRAINED ON" in " ".join(_words(evaluation.path / f"{stem}.svg"))


def test_files_that_no_evaluation_wrote_are_not_overwritten(run, tmp_path):
    out = tmp_path / "mine"
    evaluate(run, EvaluateOptions(out=out), Session("cpu"))
    # An earlier evaluation is replaced.
    evaluate(run, EvaluateOptions(out=out), Session("cpu"))
    (out / "metrics.json").write_text("{}")
    (out / "predictions.csv").write_text("precious")
    with pytest.raises(UsageError, match="not an evaluation's"):
        evaluate(run, EvaluateOptions(out=out), Session("cpu"))
    assert (out / "predictions.csv").read_text() == "precious"


def test_groups_of_an_earlier_evaluation_do_not_stay(run):
    attributes = pd.DataFrame({"gender": dict.fromkeys(run.card["subjects"]["test"], "female")}, dtype="string")
    assert (evaluate(run, EvaluateOptions(attributes=attributes), Session("cpu")).path / "groups.csv").is_file()
    assert not (evaluate(run, session=Session("cpu")).path / "groups.csv").exists()


def test_another_corpus_has_a_folder_of_its_own(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other", subjects=3)
    assert evaluate(run, EvaluateOptions(other.path), Session("cpu")).path == run.path / "evaluation" / "other"


def _words(drawing) -> list[str]:
    return re.findall(r">([^<]+)</text>", drawing.read_text())
