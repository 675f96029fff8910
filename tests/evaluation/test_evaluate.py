import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation.calibration import fit_temperature
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.runs.run import Run
from tests.made import CLASSES, made_dataset, unnamed

SHARES = [f"p_{name}" for name in CLASSES]


def relabelled(made: PreparedDataset, **names: str) -> PreparedDataset:
    """The dataset with other words for its classes."""
    for name in ("metadata.csv", "dataset.json"):
        path = made.path / name
        text = path.read_text()
        for old, new in names.items():
            text = text.replace(old, new)
        path.write_text(text)
    return PreparedDataset.open(made.path)


def only(made: PreparedDataset, keep) -> PreparedDataset:
    """The dataset with those of its rows for which ``keep`` is true."""
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    rows[keep(rows)].to_csv(made.path / "metadata.csv", index=False)
    return PreparedDataset.open(made.path)


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
    assert metrics["measures"]["accuracy"]["value"] == metrics["accuracy"]
    assert metrics["measures"]["accuracy"]["low"] == evaluation.measures.loc["accuracy", "low"]
    assert set(metrics["per_class"]["anger"]) >= {"precision", "recall_low", "f1_high", "support"}
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
    evaluation = evaluate(run, device="cpu")
    shares = pd.read_csv(evaluation.path / "confusion-normalised.csv", index_col=0).to_numpy()
    assert shares.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-4)
    for stem in ("confusion", "confusion-normalised", "reliability"):
        with Image.open(evaluation.path / f"{stem}.png") as picture:
            assert min(picture.size) > 400
        drawing = (evaluation.path / f"{stem}.svg").read_text()
        assert "test fold 0" in drawing
        assert str(run.path) not in drawing


def test_the_temperature_is_fitted_on_the_validation_fold(run):
    evaluation = evaluate(run, device="cpu")
    validation = evaluate(run, split="val", device="cpu", allow_seen=True)
    truth = pd.Index(CLASSES).get_indexer(validation.predictions["label"])
    expected = fit_temperature(validation.predictions[SHARES].to_numpy(), truth)
    assert evaluation.calibration.temperature == pytest.approx(expected)
    assert evaluation.calibration.fitted_on == len(validation.predictions)
    assert evaluation.calibration.ece_after is not None
    # On the validation fold itself it would be fitted on what it is tested on.
    assert validation.calibration.temperature is None
    assert any("No temperature" in note for note in validation.notes)


def test_without_the_training_data_another_corpus_is_judged_and_has_no_temperature(run, made, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other", subjects=3)
    assert evaluate(run, other.path, device="cpu").calibration.temperature is not None
    made.path.rename(tmp_path / "moved")
    evaluation = evaluate(run, other.path, device="cpu")
    assert evaluation.calibration.temperature is None
    assert any("no longer at" in note for note in evaluation.notes)


@pytest.mark.parametrize(("split", "people"), [("val", 3), ("all", 6)])
def test_other_splits_are_of_people_it_knows_and_refused_by_name(run, split, people):
    with pytest.raises(RunError, match=rf"trained on {people} of the made subjects in this test .*P0"):
        evaluate(run, split=split, device="cpu")
    evaluation = evaluate(run, split=split, device="cpu", allow_seen=True)
    assert len(evaluation.predictions) == {"val": 9, "all": 27}[split]
    assert evaluation.path == run.path / "evaluation" / split
    stamp = f"TESTED ON {people} SUBJECTS THAT THE MODEL WAS TRAINED ON"
    assert evaluation.about.endswith(stamp)
    metrics = json.loads((evaluation.path / "metrics.json").read_text())
    assert stamp in metrics["about"]
    assert len(metrics["insisted_on"]) == people
    for drawing in evaluation.path.glob("*.svg"):
        assert "WAS TRAINED ON" in drawing.read_text()


def test_subjects_it_was_trained_on_are_refused_by_name_in_other_data_too(run, made):
    with pytest.raises(RunError, match=r"trained on 6 of the made subjects in this test .*P02"):
        evaluate(run, made.path, device="cpu")
    assert len(evaluate(run, made.path, split="test", device="cpu").predictions) == 9


def test_pictures_of_unnamed_people_that_it_was_trained_on_are_refused(run, made):
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    card = json.loads((run.path / "run.json").read_text())
    card["recipe"]["features"], card["seen"] = "target", {"made": []}
    (run.path / "run.json").write_text(json.dumps(card))
    from tests.made import made_model

    made_model(features="target").save_pretrained(run.path)
    run = Run.open(run.path)
    evaluation = evaluate(run, device="cpu")
    held_out = len(evaluation.predictions)
    assert evaluation.about.endswith("the owners' split")
    assert any(f"Of {held_out} samples the subject is not known" in note for note in evaluation.notes)
    whole = len(dataset.samples(paired=False))
    with pytest.raises(RunError, match=f"trained on {whole - held_out} of the made pictures"):
        evaluate(run, split="all", device="cpu")
    insisted = evaluate(run, dataset.path, device="cpu", allow_seen=True)
    assert insisted.about.endswith(f"TESTED ON {whole - held_out} PICTURES THAT THE MODEL WAS TRAINED ON")


def test_another_corpus_is_judged_whole(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    evaluation = evaluate(run, other.path, device="cpu")
    assert len(evaluation.predictions) == 27
    assert evaluation.path == run.path / "evaluation" / "other"
    assert "every fold" in evaluation.about


def test_other_crops_and_another_protocol_are_noted(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other", margin=0.4, folds=4)
    notes = evaluate(run, other.path, device="cpu").notes
    assert any("margin of 0.4" in note for note in notes)
    assert any("Another protocol" in note and run.protocol.name in note for note in notes)


def test_a_dataset_that_is_gone_or_changed_is_told(run, made, tmp_path):
    metadata = made.path / "metadata.csv"
    metadata.write_text(metadata.read_text() + "\n")
    assert any("has changed" in note for note in evaluate(run, device="cpu").notes)
    made.path.rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="no longer at") as refused:
        evaluate(run, device="cpu")
    assert "--split test" in refused.value.mend


def test_a_fold_that_the_dataset_no_longer_has_is_told(home):
    card = json.loads((home / "cv" / "fold2" / "run.json").read_text())
    (home / "cv" / "fold2" / "run.json").write_text(json.dumps({**card, "fold": 7}))
    with pytest.raises(DatasetError, match="no fold 7") as refused:
        evaluate(Run.open(home / "cv" / "fold2"), device="cpu")
    assert "folds are 0 to 2" in refused.value.mend


def test_classes_that_one_side_lacks_are_left_out_and_told(run, tmp_path):
    other = relabelled(made_dataset(tmp_path / "data" / "other", corpus="other"), anger="disgust")
    before = evaluate(run, made_dataset(tmp_path / "same", corpus="other").path, device="cpu").predictions
    evaluation = evaluate(run, other.path, device="cpu")
    assert evaluation.scores.classes == ("happiness", "surprise")
    assert set(evaluation.predictions["label"]) == {"happiness", "surprise"}
    assert any("9 samples of disgust" in note for note in evaluation.notes)
    assert any("the model's anger" in note for note in evaluation.notes)
    shares = before.loc[before["label"] != "anger", ["p_happiness", "p_surprise"]].to_numpy()
    expected = shares / shares.sum(axis=1, keepdims=True)
    assert evaluation.predictions[["p_happiness", "p_surprise"]].to_numpy() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"anger": "disgust", "happiness": "fear", "surprise": "sadness"}, "no class in common"),
        ({"anger": "disgust", "happiness": "fear"}, "only surprise in common"),
    ],
)
def test_without_two_classes_in_common_both_sides_are_listed(run, tmp_path, names, said):
    other = relabelled(made_dataset(tmp_path / "data" / "other", corpus="other"), **names)
    with pytest.raises(DatasetError, match=said) as refused:
        evaluate(run, other.path, device="cpu")
    assert "knows anger, happiness, surprise; the dataset shows disgust, fear, s" in refused.value.message


def test_a_fold_that_shows_one_class_has_nothing_to_judge(run, made):
    only(made, lambda rows: (rows["fold"] != "0") | rows["label"].isin(["neutral", "anger"]))
    with pytest.raises(DatasetError, match="all 3 samples show anger"):
        evaluate(run, device="cpu")
    assert not (run.path / "evaluation").exists()


def test_a_fold_that_shows_nothing_is_told(run, made):
    only(made, lambda rows: rows["fold"] != "0")
    with pytest.raises(DatasetError, match="nothing for test"):
        evaluate(run, device="cpu")


def test_by_group_by_sequence_and_their_files(run):
    attributes = pd.DataFrame({"gender": dict.fromkeys(run.card["subjects"]["test"], "female")}, dtype="string")
    evaluation = evaluate(run, device="cpu", attributes=attributes)
    assert evaluation.groups["value"].iloc[0] == pytest.approx(evaluation.scores.accuracy)
    assert any("3 subjects and 9 samples" in note for note in evaluation.notes)
    # One frame a sequence: nothing to merge.
    assert evaluation.by_sequence == {}
    stored = pd.read_csv(evaluation.path / "groups.csv")
    assert stored["measure"].tolist() == list(evaluation.measures.index)
    assert json.loads((evaluation.path / "metrics.json").read_text())["gaps"] == []
