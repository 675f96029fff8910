import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from fer_cli.evaluation.metrics import class_metrics, confusion_metrics

SIZE = 4
pairs = st.lists(st.tuples(*[st.integers(0, SIZE - 1)] * 2), min_size=2, max_size=30)


def test_a_worked_example():
    # Of 4 of the first class 3 are right, of 2 of the second 1, and the third is said once and never shown.
    confusions = np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]])
    found = confusion_metrics(confusions)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["unweighted_average_recall"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1 / 2 + 0) / 3)
    assert found["weighted_f1"] == pytest.approx((4 * 6 / 7 + 2 * 1 / 2) / 6)
    by_chance = (4 * 3 + 2 * 2) / 36
    assert found["kappa"] == pytest.approx((4 / 6 - by_chance) / (1 - by_chance))
    each = class_metrics(confusions)
    assert each["precision"].tolist() == [1, 0.5, 0]
    assert each["recall"][:2].tolist() == [0.75, 0.5]
    assert np.isnan(each["recall"][2])


@given(pairs)
def test_they_are_scikit_learns(pairs):
    truth, predicted = map(list, zip(*pairs, strict=True))
    found = confusion_metrics(confusion_matrix(truth, predicted, labels=range(SIZE)))
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    assert found["weighted_f1"] == pytest.approx(f1_score(truth, predicted, average="weighted", zero_division=0))
    if len(set(truth + predicted)) > 1:
        assert found["unweighted_average_recall"] == pytest.approx(_balanced(truth, predicted))
        assert found["kappa"] == pytest.approx(cohen_kappa_score(truth, predicted))
    else:
        assert np.isnan(found["kappa"])


@given(st.lists(pairs, min_size=2, max_size=4))
def test_many_matrices_at_once_are_each_by_itself(stack):
    confusions = np.stack([confusion_matrix(*zip(*pairs, strict=True), labels=range(SIZE)) for pairs in stack])
    together = confusion_metrics(confusions) | class_metrics(confusions)
    for place, one in enumerate(confusions):
        alone = confusion_metrics(one) | class_metrics(one)
        for name, values in together.items():
            assert np.allclose(values[place], alone[name], equal_nan=True)


@given(pairs)
def test_classes_have_scikit_learns_precision_recall_and_f1(pairs):
    truth, predicted = map(list, zip(*pairs, strict=True))
    found = class_metrics(confusion_matrix(truth, predicted, labels=range(SIZE)))
    expected = precision_recall_fscore_support(truth, predicted, labels=range(SIZE), zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert np.allclose(found[name], values, equal_nan=True)


def _balanced(truth, predicted):
    import warnings

    with warnings.catch_warnings():
        # A class that is said and never shown is what it warns of.
        warnings.simplefilter("ignore")
        return balanced_accuracy_score(truth, predicted)
