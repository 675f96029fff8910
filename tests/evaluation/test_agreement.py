"""Metrics weighted by the share of the raters that agree with a sample's label, and by level of it."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import VOTE_COLUMNS
from fer_cli.errors import DatasetError
from fer_cli.evaluation.bootstrap import REPETITIONS, SEED
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.evaluation.metrics import METRICS, LabelledPredictions, compute_metrics
from fer_cli.evaluation.subgroups import LEVELS, by_agreement, with_agreement
from fer_cli.options import Session
from tests.evaluation.predictions import CLASSES, random_table, table
from tests.made import CLASSES as MADE

SHARES = [f"p_{name}" for name in CLASSES]
WEIGHTED = EvaluateOptions(sample_weight="agreement")


def voted(dataset: PreparedDataset) -> PreparedDataset:
    """The dataset stored with ten votes a row: four for surprise, six for the label, or five and one for no face."""
    rows = pd.read_csv(dataset.path / "metadata.csv", dtype="string")
    for name in VOTE_COLUMNS:
        rows[name] = "0"
    rows["votes_surprise"] = "4"
    for place, label in enumerate(rows["label"]):
        without = place % 2
        rows.loc[place, "votes_no_face"] = str(without)
        rows.loc[place, f"votes_{label}"] = str(int(rows.loc[place, f"votes_{label}"]) + 6 - without)
    rows.to_csv(dataset.path / "metadata.csv", index=False)
    return PreparedDataset.open(dataset.path)


def test_a_worked_example():
    # Right with agreement 0.8, wrong with 0.6; of fear both right, with 1.0 and 0.4.
    sure = {"anger": (0.9, 0.1, 0.0), "fear": (0.1, 0.9, 0.0)}
    rows = table(
        [
            ("A", None, "anger", sure["anger"]),
            ("B", None, "anger", sure["fear"]),
            ("C", None, "fear", sure["fear"]),
            ("C", None, "fear", sure["fear"]),
        ]
    )
    agreement, expected = np.array([0.8, 0.6, 1.0, 0.4]), np.array([0.8, 0.3, 1.0, 0.4])
    found = by_agreement(LabelledPredictions.of(rows, CLASSES), agreement, expected)
    assert found.metrics.loc["accuracy", "value"] == pytest.approx(2.2 / 2.8)
    assert found.metrics.loc["unweighted_average_recall", "value"] == pytest.approx((0.8 / 1.4 + 1) / 2)
    assert found.metrics.loc["macro_f1", "value"] == pytest.approx((1.6 / 2.2 + 2.8 / 3.4) / 2)
    assert found.per_class.loc["anger", ["precision", "recall"]].tolist() == pytest.approx([1, 0.8 / 1.4])
    assert found.per_class["support"].tolist() == [2, 2, 0]
    assert found.expected.loc["expected_accuracy", "value"] == pytest.approx(2.5 / 4)
    assert found.expected.loc["mean_agreement", "value"] == pytest.approx(2.8 / 4)
    # Two faces of one person are drawn together.
    draws = np.random.default_rng(SEED).multinomial(3, np.full(3, 1 / 3), size=REPETITIONS)
    means = draws @ [0.8, 0.3, 1.4] / (draws @ [1, 1, 2])
    assert found.expected.loc["expected_accuracy", ["low", "high"]].tolist() == pytest.approx(
        np.quantile(means, [0.025, 0.975]).tolist()
    )
    levels = found.levels[found.levels["measure"] == "accuracy"].set_index("group")
    assert levels["value"].to_dict() == pytest.approx({"0.8 and more": 1, "0.5 to 0.8": 0, "below 0.5": 1})
    assert levels["n"].tolist() == [2, 1, 1]
    assert any("below 0.5" in note and "too few" in note for note in found.notes)


def test_every_weighted_metric_is_scikit_learns_with_sample_weight():
    rows = random_table(4)
    weight = np.random.default_rng(0).uniform(0, 1, len(rows))
    weight[:5] = 0
    labelled = dataclasses.replace(LabelledPredictions.of(rows, CLASSES), sample_weight=weight)
    draws = np.random.default_rng(SEED).multinomial(12, np.full(12, 1 / 12), size=10)
    figures = labelled.values(np.vstack([np.ones((1, 12)), draws]))
    for place, draw in enumerate([np.ones(12), *draws]):
        weights = weight * draw[labelled.units]
        truth, predicted = rows["label"], rows["predicted"]
        given = {"sample_weight": weights}
        right, confidence = (truth == predicted).to_numpy(), rows["confidence"].to_numpy()
        bins = np.digitize(confidence, np.arange(1, 15) / 15, right=True)
        gaps = [abs((weights * (right - confidence))[bins == each].sum()) for each in range(15)]
        expected = {
            "accuracy": metrics.accuracy_score(truth, predicted, **given),
            "unweighted_average_recall": metrics.balanced_accuracy_score(truth, predicted, **given),
            "macro_f1": metrics.f1_score(truth, predicted, average="macro", **given),
            "weighted_f1": metrics.f1_score(truth, predicted, average="weighted", **given),
            "kappa": metrics.cohen_kappa_score(truth, predicted, **given),
            "roc_auc": np.mean(
                [
                    metrics.roc_auc_score(truth == name, rows[share], **given)
                    for name, share in zip(CLASSES, SHARES, strict=True)
                ]
            ),
            "ece": sum(gaps) / weights.sum(),
        }
        assert {name: figures[name][place] for name in METRICS} == pytest.approx(expected)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), weight=st.floats(0.01, 100))
def test_equal_weights_are_no_weights(seed, weight):
    labelled = LabelledPredictions.of(random_table(seed, subjects=5, frames=1), CLASSES)
    found = by_agreement(labelled, np.full(len(labelled), weight), np.ones(len(labelled)))
    for weighted, usual in zip((found.metrics, found.per_class), compute_metrics(labelled), strict=True):
        assert weighted.to_numpy() == pytest.approx(usual.to_numpy(), nan_ok=True)


def test_agreement_is_the_share_of_all_votes(made):
    dataset = voted(made)
    rows = dataset.samples(paired=False)
    predictions = rows[["file_name", "label"]].assign(predicted="surprise").reset_index(drop=True)
    found = with_agreement(predictions.sample(frac=1, random_state=0), dataset).set_index("file_name")
    for place, (name, label) in enumerate(zip(dataset.metadata["file_name"], dataset.metadata["label"], strict=True)):
        if label == "neutral":
            continue
        own = 0.6 if place % 2 == 0 else 0.5
        assert found.loc[name, "agreement"] == pytest.approx(own + 0.4 * (label == "surprise"))
        assert found.loc[name, "votes_predicted"] == pytest.approx(0.4 + own * (label == "surprise"))


def test_samples_without_votes_are_refused_by_name(made):
    dataset = voted(made)
    table = dataset.metadata.copy()
    table.loc[5, list(VOTE_COLUMNS)] = pd.NA
    dataset = dataclasses.replace(dataset, metadata=table)
    predictions = dataset.samples(paired=False)[["file_name", "label"]].assign(predicted="anger")
    with pytest.raises(DatasetError, match=f"1 samples of .* have no votes .*{table['file_name'][5]}"):
        with_agreement(predictions, dataset)


def test_a_dataset_without_votes_is_refused_before_anything_is_computed(run, monkeypatch):
    monkeypatch.setattr("fer_cli.evaluation.evaluate.run_inference", None)
    with pytest.raises(DatasetError, match=r"metadata\.csv has no votes") as caught:
        evaluate(run, WEIGHTED, Session("cpu"))
    assert "Leave --sample-weight out" in caught.value.hint
    assert not (run.path / "evaluation").exists()


def test_the_weighted_metrics_stand_next_to_the_usual_ones_which_stay_as_they_are(run, made):
    voted(made)
    usual = evaluate(run, session=Session("cpu"))
    before = {path.name: path.read_bytes() for path in usual.path.iterdir()}
    weighted = evaluate(run, WEIGHTED, Session("cpu"))
    card, plain = (json.loads(text) for text in ((weighted.path / "metrics.json").read_text(), before["metrics.json"]))
    added = card.pop("weighted")
    groups = card.pop("groups")
    assert card.pop("gaps") == []
    assert {name: value for name, value in card.items() if name != "notes"} == {
        name: value for name, value in plain.items() if name != "notes"
    }
    rows = pd.read_csv(weighted.path / "predictions.csv")
    right = rows["label"] == rows["predicted"]
    assert added["sample_weight"] == "agreement"
    assert added["measures"]["accuracy"]["value"] == pytest.approx(np.average(right, weights=rows["agreement"]))
    assert added["expected_accuracy"]["value"] == pytest.approx(rows["votes_predicted"].mean())
    assert added["per_class"].keys() == set(MADE)
    assert {row["group"] for row in groups} == {"0.8 and more", "0.5 to 0.8"} < set(LEVELS)
    # The usual evaluation again leaves nothing of the weighted one.
    evaluate(run, session=Session("cpu"))
    after = {path.name: path.read_bytes() for path in usual.path.iterdir()}
    for name in before:
        if name.endswith((".csv", ".json", ".html")):
            assert after[name] == before[name], name
    assert after.keys() == before.keys()


def test_every_fold_of_a_cross_validation_is_weighted_and_all_together(home, made):
    from fer_cli.runs.run import CrossValidation

    voted(made)
    attributes = pd.DataFrame({"kind": {f"P{number:02d}": "all" for number in range(1, 10)}}, dtype="string")
    options = dataclasses.replace(WEIGHTED, attributes=attributes)
    evaluation = evaluate(CrossValidation.open(home / "runs" / "cv"), options, Session("cpu"))
    assert evaluation.predictions["agreement"].notna().all()
    assert set(evaluation.groups["attribute"]) == {"kind", "agreement"}
    for fold in range(3):
        card = json.loads((home / f"runs/cv/fold{fold}/evaluation/metrics.json").read_text())
        assert 0 <= card["weighted"]["measures"]["accuracy"]["value"] <= 1
