import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from fer_cli.evaluation import chance
from fer_cli.evaluation.chance import adjusted_chance

RECALL = "unweighted_average_recall"


def labels(*counts: int) -> list[str]:
    return [f"class{place}" for place, count in enumerate(counts) for _ in range(count)]


def enumerated(counts: tuple[int, ...], level: float) -> float:
    """The quantile from every combination of hits, one class after the other."""
    outcomes = {}
    for hits in product(*(range(count + 1) for count in counts)):
        recall = np.mean([hit / count for hit, count in zip(hits, counts, strict=True)])
        p = np.prod([binom.pmf(hit, count, 1 / len(counts)) for hit, count in zip(hits, counts, strict=True)])
        outcomes[round(recall, 12)] = outcomes.get(round(recall, 12), 0) + p
    reached = 0.0
    for value in sorted(outcomes):
        reached += outcomes[value]
        if reached >= level - 1e-12:
            return value
    raise AssertionError("probabilities do not sum to 1")


def test_accuracy_is_the_binomial_quantile_of_the_papers_table():
    # Combrisson and Jerbi 2015: two balanced classes, p < 0.05: 58 % for 100 samples, 70 % for 20.
    assert adjusted_chance(labels(50, 50)) == 0.58
    assert adjusted_chance(labels(10, 10)) == 0.7
    assert adjusted_chance(labels(50, 50)) == binom.ppf(0.95, 100, 0.5) / 100


def test_unbalanced_classes_are_guessed_by_the_largest():
    assert adjusted_chance(labels(90, 10)) == binom.ppf(0.95, 100, 0.9) / 100
    assert adjusted_chance(labels(90, 10), RECALL) < 0.75


@pytest.mark.parametrize("counts", [(3, 3), (2, 5), (4, 1, 6), (3, 3, 3, 2), (7,)])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_average_recall_is_that_of_all_outcomes(counts, level):
    assert adjusted_chance(labels(*counts), RECALL, level=level) == pytest.approx(enumerated(counts, level))


def test_a_coarser_grid_is_never_too_low_and_hardly_too_high(monkeypatch):
    counts = (9, 10, 11, 13)
    exact = adjusted_chance(labels(*counts), RECALL)
    monkeypatch.setattr(chance, "_POINTS", 4000)
    assert 0 <= adjusted_chance(labels(*counts), RECALL) - exact <= 4 / 4000


def test_average_recall_of_equal_classes_is_their_accuracys():
    assert adjusted_chance(labels(30, 30, 30), RECALL) == pytest.approx(adjusted_chance(labels(30, 30, 30)))


def test_a_small_class_makes_chance_recall_higher():
    assert adjusted_chance(labels(100, 100, 4), RECALL) > adjusted_chance(labels(68, 68, 68), RECALL) + 0.05


def test_with_many_samples_chance_is_that_of_the_guesser():
    assert adjusted_chance(labels(60_000, 40_000)) == pytest.approx(0.6, abs=0.003)
    assert adjusted_chance(labels(60_000, 39_991, 20_011), RECALL) == pytest.approx(1 / 3, abs=0.003)


def test_there_is_no_chance_of_nothing_and_of_other_metrics():
    assert math.isnan(adjusted_chance([]))
    assert math.isnan(adjusted_chance(labels(3, 3), "macro_f1"))
    with pytest.raises(ValueError, match="level is 1"):
        adjusted_chance(labels(3, 3), level=1)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from(["accuracy", RECALL]))
def test_chance_is_at_least_a_fair_guess_and_grows_with_the_level(counts, metric):
    levels = [adjusted_chance(labels(*counts), metric, level=level) for level in (0.8, 0.95, 0.99)]
    assert levels == sorted(levels)
    assert levels[0] > 0
    assert levels[-1] <= 1
    assert levels[-1] >= 1 / len(counts) - 1e-9
