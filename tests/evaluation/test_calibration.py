import numpy as np
import pytest
from sklearn.metrics import log_loss

from fer_cli.evaluation.calibration import (
    COLDEST,
    fit_temperature,
    log_losses,
    reliability,
    tempered,
)
from fer_cli.evaluation.metrics import BINS, bin_of, gaps_by_unit


def made(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Honest probabilities made too bold by ``temperature``, and what then happens."""
    generator = np.random.default_rng(0)
    honest = generator.dirichlet(np.ones(3), count)
    truth = (generator.random((count, 1)) > honest.cumsum(axis=1)).sum(axis=1)
    return tempered(honest, 1 / temperature), truth


def test_a_bin_holds_its_upper_edge():
    assert bin_of([0, 0.01, 1 / 15, 0.0667, 1]).tolist() == [0, 0, 0, 1, 14]


def test_the_reliability_of_a_worked_example():
    bins = reliability(np.array([0.52, 0.53, 0.98]), np.array([True, False, True]))
    assert len(bins) == BINS
    shown = bins[bins["count"] > 0]
    assert shown["count"].tolist() == [2, 1]
    assert shown["confidence"].tolist() == pytest.approx([0.525, 0.98])
    assert shown["accuracy"].tolist() == [0.5, 1]
    # 2/3 of |0.5 - 0.525| and 1/3 of |1 - 0.98|.
    gaps = gaps_by_unit(np.array([0.52, 0.53, 0.98]), np.array([True, False, True]), np.array([0, 0, 1]), 2)
    assert np.abs(gaps.sum(axis=0)).sum() / 3 == pytest.approx(2 / 3 * 0.025 + 1 / 3 * 0.02)


def test_the_log_loss_is_scikit_learns():
    probabilities, truth = made(2, 50)
    assert log_losses(probabilities, truth).mean() == pytest.approx(log_loss(truth, probabilities, labels=range(3)))


def test_a_temperature_is_that_of_the_logits_and_changes_no_answer():
    logits = np.random.default_rng(0).normal(0, 2, (50, 4))
    powers = np.exp(logits)
    softmax = powers / powers.sum(axis=1, keepdims=True)
    expected = np.exp(logits / 3)
    assert np.allclose(tempered(softmax, 3), expected / expected.sum(axis=1, keepdims=True))
    assert (tempered(softmax, 3).argmax(axis=1) == softmax.argmax(axis=1)).all()
    assert np.allclose(tempered(softmax, 1), softmax)


@pytest.mark.parametrize("temperature", [0.5, 1, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature):
    assert fit_temperature(*made(temperature)) == pytest.approx(temperature, rel=0.08)


def test_without_a_mistake_the_temperature_stays_what_it_was():
    assert fit_temperature(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 1])) == 1


def test_with_one_mistake_the_temperature_is_within_the_bounds():
    shares = np.array([[0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55]])
    found = fit_temperature(shares, np.array([0, 1, 1, 0]))
    assert 2 * COLDEST < found < 1
