"""Predictions of other programs give scikit-learn's numbers, and are joined with the pictures that they are of."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation import external
from fer_cli.evaluation.compare import compare
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.evaluation.results import StoredEvaluation, write
from tests.evaluation import tables
from tests.made import CLASSES, made_dataset, unnamed

#: The matrices as PNG and SVG take longer than all else, and are tested where they are drawn.
evaluate_predictions = partial(external.evaluate_predictions, pictures=False)


def pictures(made: PreparedDataset) -> list[str]:
    return list(made.samples(paired=False)["file_name"])


def restricted(shares: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """N×3 probabilities of the dataset's classes."""
    kept = shares[:, [tables.named(classes).index(name) for name in CLASSES]]
    return kept / kept.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("write", tables.WRITERS, ids=lambda write: write.__name__)
def test_each_program_s_table_gives_scikit_learn_s_numbers(made, tmp_path, write):
    program, classes = tables.WRITERS[write]
    files = pictures(made)
    shares = tables.scores(files, classes)
    found = evaluate_predictions(write(tmp_path / "table", [f"/else/where/{name}" for name in files], shares), made)
    truth, kept = made.samples(paired=False)["label"].to_numpy(), restricted(shares, classes)
    predicted = np.array(CLASSES)[kept.argmax(axis=1)]
    assert found.value() == pytest.approx(sklearn.accuracy_score(truth, predicted))
    assert found.value("unweighted_average_recall") == pytest.approx(sklearn.balanced_accuracy_score(truth, predicted))
    assert found.value("macro_f1") == pytest.approx(sklearn.f1_score(truth, predicted, average="macro"))
    assert found.value("weighted_f1") == pytest.approx(sklearn.f1_score(truth, predicted, average="weighted"))
    assert found.value("kappa") == pytest.approx(sklearn.cohen_kappa_score(truth, predicted))
    area = sklearn.roc_auc_score(truth, kept, multi_class="ovr", labels=list(CLASSES))
    assert found.value("roc_auc") == pytest.approx(area, abs=1e-6)
    assert (found.provenance.title, found.missing) == (program, None)
    assert found.provenance.about.endswith(f"predictions of {program}; every picture; neutral access none")
    assert 0 <= found.metrics.loc["accuracy", "low"] < found.metrics.loc["accuracy", "high"] <= 1
    assert found.path == tmp_path / "table-made"


def test_expressions_without_probabilities_leave_the_metrics_that_need_them_out(made, tmp_path):
    files = pictures(made)
    shares = tables.scores(files, tables.LIBREFACE)
    found = evaluate_predictions(tables.libreface(tmp_path / "table", files, shares), made)
    truth = made.samples(paired=False)["label"]
    said = np.array(tables.named(tables.LIBREFACE))[shares.argmax(axis=1)]
    assert found.value() == pytest.approx(sklearn.accuracy_score(truth, said))
    with pytest.warns(UserWarning, match="not in y_true"):
        assert found.value("unweighted_average_recall") == pytest.approx(sklearn.balanced_accuracy_score(truth, said))
    assert found.value("macro_f1") == pytest.approx(sklearn.f1_score(truth, said, average="macro"))
    assert found.metrics.loc[["roc_auc", "ece"]].isna().all(axis=None)
    assert any("no probabilities" in note for note in found.notes)
    assert any("Predictions of neutral" in note and "count as wrong" in note for note in found.notes)
    page = (found.path / "report.html").read_text()
    assert "no calibration" in page
    assert f"fer evaluate --predictions {tmp_path / 'table.csv'} --data {made.path}" in page
    assert json.loads((found.path / "metrics.json").read_text())["measures"]["roc_auc"]["value"] is None
    # In the same place once more, the figure of an earlier evaluation with probabilities is no longer true.
    (found.path / "reliability.png").touch()
    write(evaluate_predictions(tmp_path / "table.csv", made))
    assert not (found.path / "reliability.png").exists()
    assert (found.path / "confusion.png").exists()


def test_sequences_without_probabilities_are_merged_by_vote_alone(made, tmp_path):
    table = pd.read_csv(made.path / "metadata.csv", dtype="string")
    table["sequence"] = table["sequence"].where(table["role"] == "neutral", "one")
    table.loc[table["role"] != "neutral", "label"] = table["subject"].map(lambda name: CLASSES[int(name[1:]) % 3])
    table.to_csv(made.path / "metadata.csv", index=False)
    made = PreparedDataset.open(made.path)
    files = pictures(made)
    said = ["surprise", "anger", "anger"] * 9
    pd.DataFrame({"file": files, "label": said}).to_csv(tmp_path / "table.csv", index=False)
    found = evaluate_predictions(tmp_path / "table.csv", made)
    assert list(found.by_sequence) == ["vote"]
    truth = made.samples(paired=False).drop_duplicates("subject")["label"]
    assert found.by_sequence["vote"].loc["accuracy", "value"] == pytest.approx((truth == "anger").mean())


def test_missing_faces_are_counted_both_ways(made, tmp_path):
    files = pictures(made)
    shares = tables.scores(files, tables.PYFEAT)
    gone = [1, 5, 6, 20]
    kept = [place for place in range(len(files)) if place not in gone]
    path = tables.pyfeat(tmp_path / "table", [files[place] for place in kept], shares[kept])
    # Of two the table says itself that it has no face.
    none = pd.DataFrame([{"input": files[5]}, {"input": files[6]}])
    pd.concat([pd.read_csv(path), none]).to_csv(path, index=False)
    found = evaluate_predictions(path, made)
    truth = made.samples(paired=False)["label"].to_numpy()
    said = np.array(CLASSES)[restricted(shares, tables.PYFEAT).argmax(axis=1)].astype(object)
    assert found.value() == pytest.approx(sklearn.accuracy_score(truth[kept], said[kept]))
    assert found.missing.pictures == tuple(files[place] for place in gone)
    assert found.missing.total == len(files)
    said[gone] = "missing"
    wrong = found.missing.metrics["value"]
    assert wrong["accuracy"] == pytest.approx(sklearn.accuracy_score(truth, said))
    each = {"labels": list(CLASSES), "average": "macro"}
    assert wrong["unweighted_average_recall"] == pytest.approx(sklearn.recall_score(truth, said, **each))
    assert wrong["macro_f1"] == pytest.approx(sklearn.f1_score(truth, said, **each))
    assert wrong["kappa"] == pytest.approx(sklearn.cohen_kappa_score(truth, said))
    assert (found.missing.metrics["low"] <= wrong).all()
    card = json.loads((found.path / "metrics.json").read_text())
    assert card["missing"]["of"] == 27
    assert card["missing"]["measures"]["accuracy"]["value"] == pytest.approx(wrong["accuracy"])
    assert (card["neutral_access"], card["run"], card["epoch_rule"]) == ("none", "py-feat", None)
    page = (found.path / "report.html").read_text()
    assert f"counted as wrong, they make accuracy {wrong['accuracy']:.1%}" in page


def test_of_several_faces_the_largest_is_taken_then_the_most_certain_then_the_first(made, tmp_path):
    files = pictures(made)
    rows = [{"input": name, "FaceRectWidth": 10, "FaceRectHeight": 10, "FaceScore": 0.5} for name in files]
    right = [{**row, **_sure(label)} for row, label in zip(rows, made.samples(paired=False)["label"], strict=True)]
    wrong = [{**row, **_sure("disgust")} for row in rows]
    smaller = {**wrong[0], "FaceRectWidth": 9, "FaceScore": 0.9}
    fainter = {**wrong[1], "FaceScore": 0.4}
    later = wrong[2]
    path = tmp_path / "table.csv"
    pd.DataFrame([smaller, fainter, *right, later]).to_csv(path, index=False)
    found = evaluate_predictions(path, made)
    assert found.value() == 1
    assert any("In 3 pictures the table has several faces" in note for note in found.notes)


def _sure(label: str) -> dict[str, float]:
    return {name: 0.94 if name == label else 0.01 for name in tables.PYFEAT}


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: name.removeprefix("images/"),
        lambda name: f"C:\\corpus\\{name}".replace("/", "\\"),
        lambda name: f"./x/{name}".replace(".png", ".JPEG").upper(),
        lambda name: name.removesuffix(".png"),
    ],
    ids=["as it is", "within images", "Windows", "case and ending", "no ending"],
)
def test_pictures_are_joined_by_the_end_of_their_path(made, tmp_path, rename):
    files = pictures(made)
    table = pd.DataFrame({"file": map(rename, files), "label": made.samples(paired=False)["label"]})
    table.to_csv(tmp_path / "table.csv", index=False)
    found = evaluate_predictions(tmp_path / "table.csv", made)
    assert (found.value(), found.missing) == (1, None)


def test_pictures_are_joined_by_the_names_that_they_had_before_they_were_cropped(made, tmp_path):
    faces = [json.loads(line) for line in (made.path / "faces.jsonl").read_text().splitlines()]
    for number, face in enumerate(faces):
        face["source"] = f"take {number}/photo_{number:03d}.jpg"
    (made.path / "faces.jsonl").write_text("".join(json.dumps(face) + "\n" for face in faces))
    source = {face["file_name"]: face["source"] for face in faces}
    rows = made.samples(paired=False)
    table = pd.DataFrame({"file": rows["file_name"].map(source), "label": rows["label"]})
    # In one flat folder the names are unique, and so are enough.
    for files, note in ((table["file"], False), ("flat/" + table["file"].str.split("/").str[1], True)):
        table.assign(file=files).to_csv(tmp_path / "table.csv", index=False)
        found = evaluate_predictions(tmp_path / "table.csv", made)
        assert (found.value(), found.missing) == (1, None)
        assert any("by their file names alone" in each for each in found.notes) == note


def test_a_name_that_several_pictures_have_is_not_enough(made, tmp_path):
    table = pd.DataFrame({"file": ["anger.png", "P02/anger.png", "P03/happiness.png"], "label": ["fear"] * 3})
    table.to_csv(tmp_path / "table.csv", index=False)
    found = evaluate_predictions(tmp_path / "table.csv", made)
    assert len(found.predictions) == 2
    assert any("1 pictures of the table could be several" in note for note in found.notes)


def test_two_pictures_of_the_table_that_could_be_one_of_the_dataset_are_refused(made, tmp_path):
    table = pd.DataFrame({"file": ["a/P01/anger.png", "b/P01/anger.png"], "label": ["fear", "anger"]})
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DatasetError, match=r"two pictures that could be images/P01/anger.png .*a/p01/anger and b/p01"):
        evaluate_predictions(tmp_path / "table.csv", made)


def test_a_table_of_other_pictures_is_refused_with_names_of_both(made, tmp_path):
    table = pd.DataFrame({"file": ["cats/1.jpg", "cats/2.jpg"], "label": ["fear", "anger"]})
    table.to_csv(tmp_path / "cats.csv", index=False)
    with pytest.raises(
        DatasetError, match=r"Looked for: images/P01/anger.png.*Found: cats/1.jpg, cats/2.jpg"
    ) as raised:
        evaluate_predictions(tmp_path / "cats.csv", made)
    assert str(made.path) in raised.value.hint
    assert not (tmp_path / "cats-made").exists()


def test_classes_of_one_side_alone_are_left_out_and_said(made, tmp_path):
    files = pictures(made)
    table = pd.DataFrame({"file": files, "p_anger": 0.5, "p_happy": 0.3, "p_sad": 0.2})
    table.to_csv(tmp_path / "table.csv", index=False)
    found = evaluate_predictions(tmp_path / "table.csv", made)
    assert found.classes == ("anger", "happiness")
    assert len(found.predictions) == 18
    np.testing.assert_allclose(found.predictions["p_anger"], 0.5 / 0.8)
    assert any("9 samples of surprise" in note for note in found.notes)
    table = pd.DataFrame({"file": files, "p_sad": 0.5, "p_fear": 0.5})
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DatasetError, match="no class in common"):
        evaluate_predictions(tmp_path / "table.csv", made)


def test_predictions_of_one_class_alone_are_nothing_to_tell_apart(made, tmp_path):
    rows = made.samples(paired=False).query("label == 'anger'")
    pd.DataFrame({"file": rows["file_name"], "label": "anger"}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DatasetError, match="nothing to tell apart"):
        evaluate_predictions(tmp_path / "table.csv", made)


def test_a_split_is_the_owners_and_folds_are_a_run_s(made, tmp_path):
    files = pictures(made)
    pd.DataFrame({"file": files, "label": "anger"}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(UsageError, match="--split test"):
        evaluate_predictions(tmp_path / "table.csv", made, EvaluateOptions(split="test"))
    of_nobody = unnamed(made, {"a": "train", "b": "train", "c": "train", "d": "val", "e": "test"})
    found = evaluate_predictions(tmp_path / "table.csv", of_nobody, EvaluateOptions(split="test"))
    tested = of_nobody.split(0, paired=False)["test"]
    assert set(found.predictions["file_name"]) == set(tested["file_name"])
    assert "the owners' split" in found.provenance.about


def test_what_is_somebody_else_s_is_not_overwritten(made, tmp_path):
    pd.DataFrame({"file": pictures(made), "label": "anger"}).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "table-made").mkdir()
    (tmp_path / "table-made" / "predictions.csv").write_text("file_name,mine\n")
    with pytest.raises(UsageError, match="not an evaluation's"):
        evaluate_predictions(tmp_path / "table.csv", made)


def test_it_is_compared_with_a_run_on_the_same_pictures(home, made, run, tmp_path):
    evaluate(run, EvaluateOptions(out=tmp_path / "ours"))
    files = pictures(made)
    path = tables.emotiefflib(tmp_path / "theirs", files, tables.scores(files, tables.EMOTIEFF))
    theirs = evaluate_predictions(path, made)
    compared = compare([tmp_path / "ours", theirs.path])
    assert compared.runs == (run.name, "EmotiEffLib")
    assert compared.samples == len(StoredEvaluation.open(tmp_path / "ours").predictions)
    assert any("missing: " in note for note in compared.notes)


def test_a_group_and_votes_are_computed_as_for_a_run(tmp_path):
    made = made_dataset(tmp_path / "made", subjects=12)
    files = pictures(made)
    path = tables.libreface(tmp_path / "table", files, tables.scores(files, tables.LIBREFACE))
    gender = pd.DataFrame({"gender": ["f", "m"] * 6}, index=[f"P{number:02d}" for number in range(1, 13)])
    found = evaluate_predictions(path, made, EvaluateOptions(attributes=gender))
    assert set(found.groups["group"]) == {"f", "m"}
    with pytest.raises(DatasetError, match="no votes"):
        evaluate_predictions(path, made, EvaluateOptions(sample_weight="agreement"))
