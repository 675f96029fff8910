import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fer_cli.evaluation.metrics import LabelledPredictions, one_versus_rest_auc, roc_auc


def test_a_worked_example():
    # Of the 2 × 2 pairs of a first and a second class, the first is likelier in two, and equal in one.
    truth = np.array([0, 0, 1, 1])
    shares = np.array([0.9, 0.4, 0.4, 0.5])
    areas = one_versus_rest_auc(truth, np.column_stack([shares, 1 - shares]), np.ones((1, 4)))
    assert areas.tolist() == [[2.5 / 4, 2.5 / 4]]


@given(st.integers(0, 10_000))
def test_under_any_weights_it_is_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    truth = np.r_[0, 1, 2, generator.integers(0, 3, 20)]
    # Few values, so that many are tied.
    shares = generator.integers(0, 4, (23, 3)) / 4
    weights = np.r_[1, 1, 1, generator.integers(0, 3, 20)]
    (areas,) = one_versus_rest_auc(truth, shares, weights[None].astype(float))
    for place in range(3):
        expected = roc_auc_score(truth == place, shares[:, place], sample_weight=weights)
        assert areas[place] == pytest.approx(expected)


def test_a_class_without_both_sides_has_none_and_is_not_in_the_mean():
    truth, shares = np.array([0, 0, 1]), np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.7, 0.3, 0]])
    weights = np.array([[1.0, 1, 1], [1, 1, 0]])
    areas = one_versus_rest_auc(truth, shares, weights)
    assert areas[0, :2].tolist() == [0.5, 0.5]
    assert np.isnan(areas[0, 2])
    assert np.isnan(areas[1]).all()
    predictions = LabelledPredictions(("a", "b", "c"), truth, shares.argmax(axis=1), shares, np.arange(3))
    means = roc_auc(predictions, weights)
    assert means[0] == 0.5
    assert np.isnan(means[1])
