import json

import numpy as np
import pandas as pd
import pytest

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation import inference
from fer_cli.evaluation.calibration import fit_temperature
from fer_cli.evaluation.inference import run_inference
from fer_cli.options import Session
from fer_cli.runs.run import Run
from tests.made import CLASSES, made_dataset, made_model, unnamed


def relabelled(made: PreparedDataset, names: dict[str, str]) -> PreparedDataset:
    """The dataset with other words for its classes."""
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    rows["label"] = rows["label"].replace(names)
    rows.to_csv(made.path / "metadata.csv", index=False)
    card = json.loads((made.path / "dataset.json").read_text())
    card["protocol"]["classes"] = [names.get(name, name) for name in card["protocol"]["classes"]]
    (made.path / "dataset.json").write_text(json.dumps(card))
    return PreparedDataset.open(made.path)


@pytest.fixture
def other(tmp_path):
    """Another corpus of the same squares."""
    return made_dataset(tmp_path / "data" / "other", corpus="other", subjects=3)


def test_the_held_out_subjects_are_asked_and_no_others(run, made):
    found = run_inference(run, session=Session("cpu"))
    assert set(found.predictions["subject"]) == set(run.card["subjects"]["test"])
    assert set(found.predictions["fold"]) == {0}
    assert len(found.predictions) == len(made.split(0, paired=True)["test"])
    assert found.predictions["predicted"].nunique() > 1


def test_a_line_says_protocol_epoch_rule_and_split(run, made):
    about = run_inference(run, session=Session("cpu")).about
    assert about == f"{made.protocol.name}; epoch by lowest loss on the validation fold; test fold 0; neutral given"


def test_the_temperature_is_fitted_on_the_validation_fold(run):
    found = run_inference(run, session=Session("cpu"))
    validation = run_inference(run, split="val", session=Session("cpu", allow_seen=True))
    assert set(validation.predictions["subject"]) == set(run.card["subjects"]["val"])
    truth = pd.Index(CLASSES).get_indexer(validation.predictions["label"])
    assert found.temperature == pytest.approx(fit_temperature(validation.probabilities, truth))
    assert found.fitted_on == len(validation.predictions)
    # On the validation fold itself it would be fitted on what it is tested on.
    assert validation.temperature is None
    assert any("No temperature" in note for note in validation.notes)


def test_a_validation_fold_without_a_mistake_says_nothing_of_the_temperature(run, monkeypatch):
    def faultless(inputs, dataset, rows):
        classes = inputs.classifier.classes
        return np.eye(len(classes))[[classes.index(label) for label in rows["label"]]]

    monkeypatch.setattr(inference._Inputs, "probabilities", faultless)
    found = run_inference(run, session=Session("cpu"))
    assert found.temperature == 1
    assert any("temperature stays 1" in note for note in found.notes)


def test_another_corpus_is_asked_whole_and_has_the_temperature_of_the_runs_own_validation_fold(run, other):
    found = run_inference(run, other.path, session=Session("cpu"))
    assert len(found.predictions) == 9
    assert "every fold" in found.about
    assert found.temperature == pytest.approx(run_inference(run, session=Session("cpu")).temperature)


def test_without_the_training_data_there_is_no_temperature(run, made, other, tmp_path):
    made.path.rename(tmp_path / "moved")
    found = run_inference(run, other.path, session=Session("cpu"))
    assert found.temperature is None
    assert any("no longer at" in note for note in found.notes)


@pytest.mark.parametrize(("split", "people", "faces"), [("val", 3, 9), ("all", 6, 27)])
def test_other_splits_are_of_people_it_knows_and_refused_by_name(run, split, people, faces):
    with pytest.raises(RunError, match=rf"trained on {people} of the made subjects in this test .*P0"):
        run_inference(run, split=split, session=Session("cpu"))
    found = run_inference(run, split=split, session=Session("cpu", allow_seen=True))
    assert len(found.predictions) == faces
    assert found.about.endswith(f"TESTED ON {people} SUBJECTS THAT THE MODEL WAS TRAINED ON")
    assert "P02" in found.notes[0]


def test_subjects_it_was_trained_on_are_refused_in_other_data_too(run, made):
    with pytest.raises(RunError, match=r"trained on 6 of the made subjects in this test .*P02"):
        run_inference(run, made.path, session=Session("cpu"))
    assert len(run_inference(run, made.path, split="test", session=Session("cpu")).predictions) == 9


def test_pictures_of_unnamed_people_that_it_was_trained_on_are_refused(run, made):
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    card = json.loads((run.path / "run.json").read_text())
    card["recipe"]["features"], card["seen"] = "target", {"made": []}
    (run.path / "run.json").write_text(json.dumps(card))
    made_model(features="target").save_pretrained(run.path)
    run = Run.open(run.path)
    found = run_inference(run, session=Session("cpu"))
    assert found.about.endswith("the owners' split; neutral none")
    known = len(dataset.samples(paired=False)) - len(found.predictions)
    with pytest.raises(RunError, match=f"trained on {known} of the made pictures"):
        run_inference(run, split="all", session=Session("cpu"))
    insisted = run_inference(run, dataset.path, session=Session("cpu", allow_seen=True))
    assert insisted.about.endswith(f"TESTED ON {known} PICTURES THAT THE MODEL WAS TRAINED ON")


def test_other_crops_and_another_protocol_are_noted(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other", margin=0.4, folds=4)
    notes = run_inference(run, other.path, session=Session("cpu")).notes
    assert any("margin of 0.4" in note for note in notes)
    assert any("Another protocol" in note and run.protocol.name in note for note in notes)


def test_a_dataset_that_is_gone_or_changed_is_told(run, made, tmp_path):
    metadata = made.path / "metadata.csv"
    metadata.write_text(metadata.read_text() + "\n")
    assert any("has changed" in note for note in run_inference(run, session=Session("cpu")).notes)
    made.path.rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="no longer at") as refused:
        run_inference(run, session=Session("cpu"))
    assert "--split test" in refused.value.hint


def test_a_fold_that_the_dataset_does_not_have_is_told(home):
    card = json.loads((home / "runs" / "cv" / "fold2" / "run.json").read_text())
    (home / "runs" / "cv" / "fold2" / "run.json").write_text(json.dumps({**card, "fold": 7}))
    with pytest.raises(DatasetError, match="no fold 7") as refused:
        run_inference(Run.open(home / "runs" / "cv" / "fold2"), session=Session("cpu"))
    assert "folds are 0 to 2" in refused.value.hint


def test_a_fold_that_shows_nothing_is_told(run, made):
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    rows[rows["fold"] != "0"].to_csv(made.path / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="nothing for test"):
        run_inference(run, session=Session("cpu"))


def test_classes_that_one_side_lacks_are_left_out_and_told(run, other):
    before = run_inference(run, other.path, session=Session("cpu")).predictions
    found = run_inference(run, relabelled(other, {"anger": "disgust"}).path, session=Session("cpu"))
    assert found.classes == ("happiness", "surprise")
    assert set(found.predictions["label"]) == {"happiness", "surprise"}
    assert any("3 samples of disgust" in note for note in found.notes)
    assert any("the model's anger" in note for note in found.notes)
    shares = before.loc[before["label"] != "anger", ["p_happiness", "p_surprise"]].to_numpy()
    assert found.probabilities == pytest.approx(shares / shares.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"anger": "disgust", "happiness": "fear", "surprise": "sadness"}, "no class in common"),
        ({"anger": "disgust", "happiness": "fear"}, "only surprise in common"),
    ],
)
def test_without_two_classes_in_common_both_sides_are_listed(run, other, names, said):
    with pytest.raises(DatasetError, match=said) as refused:
        run_inference(run, relabelled(other, names).path, session=Session("cpu"))
    assert "knows anger, happiness, surprise; the dataset has disgust, fear, s" in refused.value.message
