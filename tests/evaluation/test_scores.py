import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from fer_cli.evaluation.scores import score

CLASSES = ("anger", "fear", "surprise")
names = st.sampled_from(CLASSES)


def test_scores_of_a_worked_example():
    # anger 3 of 4 right, fear 1 of 2, surprise never shown and predicted once.
    truth = ["anger"] * 4 + ["fear"] * 2
    predicted = ["anger"] * 3 + ["fear", "fear", "surprise"]
    scores = score(truth, predicted, CLASSES)
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.recall == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores.confusion.tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert scores.per_class.loc["anger", "f1"] == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert scores.macro_f1 == pytest.approx((6 / 7 + 1 / 2 + 0) / 3)
    assert scores.per_class["support"].tolist() == [4, 2, 0]


def test_a_class_that_is_nowhere_has_no_scores_and_json_can_hold_them():
    stored = score(["anger", "fear"], ["anger", "fear"], CLASSES).to_dict()
    assert stored["per_class"]["surprise"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert stored["accuracy"] == stored["unweighted_average_recall"] == stored["macro_f1"] == 1
    assert stored["n"] == 2
    assert stored["classes"] == list(CLASSES)
    assert stored["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert set(stored) == {
        *("n", "accuracy", "unweighted_average_recall", "macro_f1"),
        *("per_class", "classes", "confusion"),
    }


@given(st.lists(st.tuples(names, names), min_size=1))
def test_they_agree_with_the_confusion_matrix(pairs):
    truth, predicted = zip(*pairs, strict=True)
    scores = score(truth, predicted, CLASSES)
    assert scores.confusion.sum() == len(pairs)
    assert scores.accuracy == pytest.approx(np.trace(scores.confusion) / len(pairs))
    held = scores.confusion.sum(axis=1) > 0
    recalls = np.diag(scores.confusion)[held] / scores.confusion.sum(axis=1)[held]
    assert scores.recall == pytest.approx(recalls.mean())


@given(st.lists(names, min_size=3), st.randoms())
def test_average_recall_is_scikit_learns_balanced_accuracy(truth, random):
    held = sorted(set(truth))
    predicted = [random.choice(held) for _ in truth]
    assert score(truth, predicted, CLASSES).recall == pytest.approx(balanced_accuracy_score(truth, predicted))


@pytest.mark.parametrize(("truth", "predicted"), [([], []), (["fear"], []), (["fear"], ["joy"]), (["joy"], ["fear"])])
def test_what_cannot_be_compared_is_refused(truth, predicted):
    with pytest.raises(ValueError, match=r"compared|not among"):
        score(truth, predicted, CLASSES)
