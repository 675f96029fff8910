import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from fer_cli.evaluation.metrics import LabelledPredictions, compute_metrics
from fer_cli.evaluation.results import _storable

CLASSES = ("anger", "fear", "surprise")
names = st.sampled_from(CLASSES)


def predictions(truth, predicted) -> LabelledPredictions:
    table = pd.DataFrame({"subject": None, "label": truth, "predicted": predicted}, dtype="string")
    return LabelledPredictions.of(table, CLASSES, with_probabilities=False)


def value(truth, predicted, name: str) -> float:
    return float(predictions(truth, predicted).values()[name][0])


def test_metrics_of_a_worked_example():
    # anger 3 of 4 right, fear 1 of 2, surprise without a sample and predicted once.
    truth = ["anger"] * 4 + ["fear"] * 2
    predicted = ["anger"] * 3 + ["fear", "fear", "surprise"]
    metrics, per_class = compute_metrics(predictions(truth, predicted))
    assert metrics.loc["accuracy", "value"] == pytest.approx(4 / 6)
    assert metrics.loc["unweighted_average_recall", "value"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert predictions(truth, predicted).confusions().sum(axis=0).tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert per_class.loc["anger", "f1"] == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert metrics.loc["macro_f1", "value"] == pytest.approx((6 / 7 + 1 / 2 + 0) / 3)
    assert per_class["support"].tolist() == [4, 2, 0]


def test_a_class_that_is_nowhere_has_no_metrics_and_json_can_hold_them():
    metrics, per_class = compute_metrics(predictions(["anger", "fear"], ["anger", "fear"]))
    columns = ["precision", "recall", "f1", "support"]
    stored = json.loads(json.dumps(_storable(per_class[columns].to_dict(orient="index"))))
    assert stored["surprise"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert metrics.loc[["accuracy", "unweighted_average_recall", "macro_f1"], "value"].tolist() == [1, 1, 1]


@given(st.lists(st.tuples(names, names), min_size=1))
def test_they_agree_with_the_confusion_matrix(pairs):
    truth, predicted = zip(*pairs, strict=True)
    confusion = predictions(truth, predicted).confusions().sum(axis=0)
    assert confusion.sum() == len(pairs)
    assert value(truth, predicted, "accuracy") == pytest.approx(np.trace(confusion) / len(pairs))
    present = confusion.sum(axis=1) > 0
    recalls = np.diag(confusion)[present] / confusion.sum(axis=1)[present]
    assert value(truth, predicted, "unweighted_average_recall") == pytest.approx(recalls.mean())


@given(st.lists(names, min_size=3), st.randoms())
def test_average_recall_is_scikit_learns_balanced_accuracy(truth, random):
    present = sorted(set(truth))
    predicted = [random.choice(present) for _ in truth]
    expected = balanced_accuracy_score(truth, predicted)
    assert value(truth, predicted, "unweighted_average_recall") == pytest.approx(expected)


@pytest.mark.parametrize(("truth", "predicted"), [(["fear"], []), (["fear"], ["joy"]), (["joy"], ["fear"])])
def test_what_cannot_be_compared_is_refused(truth, predicted):
    with pytest.raises(ValueError, match=r"length|not among"):
        predictions(truth, predicted)
