from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from fer_cli.evaluation.metrics import LabelledPredictions, accuracy, compared_metrics, confusion_metrics
from fer_cli.evaluation.significance import (
    compare_pair,
    corrected_t_test,
    crossed_t_test,
    exchange_test,
    holm,
    least_p,
    mcnemar,
)
from tests.evaluation.predictions import CLASSES, random_table


def confusions(generator, *, subjects: int, classes: int = 3, frames: int = 3, skill: float = 1.0) -> np.ndarray:
    """U×C×C: a model whose answers resemble each other within a sequence, and sequences within a person."""
    easy = generator.normal(0, 1, (subjects, 1, 1)) + generator.normal(0, 1, (subjects, classes, 1))
    right = easy + generator.normal(0, 0.5, (subjects, classes, frames)) + skill > 0
    truth = np.arange(classes)[None, :, None]
    said = np.where(right, truth, (truth + generator.integers(1, classes, right.shape)) % classes)
    place = (np.arange(subjects)[:, None, None] * classes + truth) * classes + said
    return np.bincount(place.ravel(), minlength=subjects * classes**2).reshape(subjects, classes, classes)


@pytest.mark.parametrize("subjects", [8, 24])
def test_two_runs_of_equal_skill_are_said_to_differ_as_seldom_as_the_level_says(subjects):
    generator = np.random.default_rng(0)
    found = []
    for repetition in range(200):
        one, other = (confusions(generator, subjects=subjects) for _ in range(2))
        found.append(exchange_test(one, other, seed=repetition))
    for measure in (metric.name for metric in compared_metrics()):
        assert np.mean([p[measure] <= 0.05 for p in found]) <= 0.075


def test_mcnemars_test_would_say_so_far_too_often():
    generator = np.random.default_rng(0)
    cried = 0
    for _ in range(200):
        # All frames of one class, so that being right is being in the first column.
        one, other = (confusions(generator, subjects=30, classes=2)[:, 0] for _ in range(2))
        only = np.maximum(one[:, 0] - other[:, 0], 0).sum(), np.maximum(other[:, 0] - one[:, 0], 0).sum()
        cried += mcnemar(*map(int, only)) <= 0.05
    assert cried / 200 > 0.15


def test_two_runs_that_differ_are_found():
    generator = np.random.default_rng(0)
    one, other = confusions(generator, subjects=30, skill=0.2), confusions(generator, subjects=30, skill=2)
    assert all(p < 0.01 for p in exchange_test(one, other).values())


def test_with_few_subjects_every_exchange_is_tried():
    generator = np.random.default_rng(1)
    one, other = confusions(generator, subjects=6), confusions(generator, subjects=6, skill=2)
    for measure, p in exchange_test(one, other).items():
        sizes = []
        for swapped in product([False, True], repeat=6):
            choice = np.array(swapped)[:, None, None]
            before, after = np.where(choice, other, one).sum(axis=0), np.where(choice, one, other).sum(axis=0)
            sizes.append(abs(confusion_metrics(after)[measure] - confusion_metrics(before)[measure]))
        assert p == pytest.approx(np.mean(np.array(sizes) >= sizes[0] - 1e-9))


def test_many_exchanges_come_near_the_exact_p(monkeypatch):
    generator = np.random.default_rng(2)
    one, other = confusions(generator, subjects=12), confusions(generator, subjects=12, skill=1.5)
    exact = exchange_test(one, other)
    monkeypatch.setattr("fer_cli.evaluation.significance.EXACT", 0)
    assert exchange_test(one, other) == pytest.approx(exact, abs=0.02)


def test_the_same_answers_differ_in_nothing():
    answers = LabelledPredictions.of(random_table(0), CLASSES)
    pair = compare_pair(answers, answers)
    assert pair.metrics["difference"].tolist() == [0, 0, 0]
    assert pair.metrics["p"].tolist() == [1, 1, 1]
    assert pair.mcnemar == 1


def test_differences_are_the_seconds_less_the_firsts_with_paired_intervals():
    # The same people, mostly answered alike: the difference is known better than either.
    first = random_table(0, subjects=30)
    second = first.copy()
    better = second.index[second["label"] != second["predicted"]][::3]
    second.loc[better, "predicted"] = second.loc[better, "label"]
    one, other = (LabelledPredictions.of(rows, CLASSES, with_probabilities=False) for rows in (first, second))
    pair = compare_pair(one, other)
    row = pair.metrics.loc["accuracy"]
    assert row["difference"] == pytest.approx(len(better) / len(first))
    assert row["second"] - row["first"] == pytest.approx(row["difference"])
    assert 0 < row["low"] < row["difference"] < row["high"]
    apart = np.ptp(_interval(one)) + np.ptp(_interval(other))
    assert row["high"] - row["low"] < apart / 2
    assert (pair.only_first, pair.only_second) == (0, len(better))
    assert pair.mcnemar == pytest.approx(2 * 0.5 ** len(better))
    for name, recall in pair.recalls.iterrows():
        mine = first["label"] == name
        expected = (second["predicted"][mine] == name).mean() - (first["predicted"][mine] == name).mean()
        assert recall["difference"] == pytest.approx(expected)


def test_mcnemars_exact_p_by_hand():
    # 1 head in 6 throws, or fewer, or as few tails: 2 × (1 + 6) / 64.
    assert mcnemar(1, 5) == pytest.approx(14 / 64)
    assert mcnemar(3, 3) == 1


def test_the_smallest_p_there_can_be():
    assert least_p(1) == 1
    assert least_p(5) == 1 / 16
    assert least_p(500) == pytest.approx(1 / 5000)


def test_holms_correction_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.5])).tolist() == [1, 1]


def test_the_corrected_t_by_hand():
    # Two repeats of three folds: 1/6 + 1/2 in the place of 1/6.
    differences = np.array([[0.02, 0.04, 0.03], [0.01, 0.05, 0.03]])
    found = corrected_t_test(differences, test_n=50, train_n=100)
    variance = ((differences - 0.03) ** 2).sum() / 5
    error = (variance * (1 / 6 + 1 / 2)) ** 0.5
    assert found.standard_error == pytest.approx(error)
    assert found.t == pytest.approx(0.03 / error)
    assert found.p == pytest.approx(2 * t.sf(0.03 / error, 5))
    assert (found.low, found.high) == pytest.approx((0.03 - 2.5706 * error, 0.03 + 2.5706 * error), abs=1e-5)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30), st.floats(0.01, 2))
def test_the_corrected_t_without_correction_is_scipys_and_else_more_careful(differences, ratio):
    assume(np.std(differences) > 1e-3)
    plain = ttest_1samp(differences, 0)
    limit = corrected_t_test(np.array(differences), test_n=1e-12, train_n=1)
    assert (limit.t, limit.p) == pytest.approx((plain.statistic, plain.pvalue), rel=1e-6, abs=1e-9)
    assert (limit.low, limit.high) == pytest.approx(tuple(plain.confidence_interval()), rel=1e-6, abs=1e-9)
    corrected = corrected_t_test(np.array(differences), test_n=ratio, train_n=1)
    assert corrected.p >= limit.p - 1e-12
    assert corrected.t == pytest.approx(limit.t / (1 + len(differences) * ratio) ** 0.5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("apart", [False, True])
def test_equal_recipes_on_repeated_folds_are_told_apart_as_seldom_as_the_level_says(apart):
    # Nearest centroids on random halves of the features: of the same 12, or each recipe of 6 of its own.
    generator = np.random.default_rng(5)
    p, naive = [], []
    for _ in range(200):
        people = np.repeat(np.arange(30), 4)
        truth = np.tile([0, 0, 1, 1], 30)
        features = 0.25 * truth[:, None] + generator.normal(0, 0.6, (30, 12))[people] + generator.normal(size=(120, 12))
        own = [np.arange(6), np.arange(6, 12)] if apart else [np.arange(12)] * 2
        differences = []
        for _ in range(3):
            folds = generator.permutation(30)[people] % 5
            for fold in range(5):
                test = folds == fold
                scores = []
                for available in own:
                    seen = features[:, generator.permutation(available)[: len(available) // 2 + apart]]
                    centroids = np.stack([seen[~test & (truth == label)].mean(axis=0) for label in (0, 1)])
                    nearest = np.square(seen[test, None] - centroids).sum(axis=2).argmin(axis=1)
                    scores.append((nearest == truth[test]).mean())
                differences.append(scores[1] - scores[0])
        p.append(corrected_t_test(np.array(differences), test_n=1, train_n=4).p)
        naive.append(ttest_1samp(differences, 0).pvalue)
    assert np.mean(np.array(p) <= 0.05) <= 0.075
    if apart:
        # The same people are tested again in every repeat: without the correction their luck counts three times.
        assert np.mean(np.array(naive) <= 0.05) > 0.1


def test_differences_without_spread():
    assert corrected_t_test(np.zeros(6), test_n=1, train_n=4)[:4] == (0, 1, 0, 0)
    assert corrected_t_test(np.full(6, 0.25), test_n=1, train_n=4)[:4] == (np.inf, 0, 0.25, 0.25)


def test_what_the_corrected_t_cannot_take():
    with pytest.raises(ValueError, match="two differences"):
        corrected_t_test(np.array([0.1]), test_n=1, train_n=4)
    with pytest.raises(ValueError, match="not positive"):
        corrected_t_test(np.array([0.1, 0.2]), test_n=1, train_n=0)


def test_the_crossed_t_adds_the_variances_of_people_and_of_trainings():
    generator = np.random.default_rng(3)
    first = np.stack([confusions(generator, subjects=20) for _ in range(3)])
    second = np.stack([confusions(generator, subjects=20, skill=1.5) for _ in range(3)])
    found = crossed_t_test(first, second, accuracy)
    differences = accuracy(second.sum(axis=1)) - accuracy(first.sum(axis=1))
    trainings = sum(accuracy(each.sum(axis=1)).var(ddof=1) / 3 for each in (first, second))
    # Everybody has as many samples, so the bootstrap's variance is that of the people's mean differences.
    people = (accuracy(second) - accuracy(first)).mean(axis=0)
    error = (people.var(ddof=0) / 20 + trainings) ** 0.5
    assert found.standard_error == pytest.approx(error, rel=0.05)
    assert found.t == pytest.approx(differences.mean() / found.standard_error)
    assert found.low < differences.mean() < found.high
    with pytest.raises(ValueError, match="two or more"):
        crossed_t_test(first[:1], second[:1], accuracy)


@pytest.mark.parametrize("trainings", [2, 3])
def test_recipes_that_differ_from_training_to_training_alone_are_told_apart_as_seldom_as_the_level_says(trainings):
    generator = np.random.default_rng(0)
    crossed, exchanged = [], []
    for repetition in range(200):
        # Every training has a skill of its own: all people feel it.
        first, second = (
            np.stack([confusions(generator, subjects=24, skill=generator.normal(1, 0.4)) for _ in range(trainings)])
            for _ in range(2)
        )
        crossed.append(crossed_t_test(first, second, accuracy, seed=repetition).p)
        exchanged.append(exchange_test(first[0], second[0], exchanges=199)["accuracy"])
    assert np.mean(np.array(crossed) <= 0.05) <= 0.075
    # One training each: the models do differ, the recipes do not.
    assert np.mean(np.array(exchanged) <= 0.05) > 0.1


def test_holms_correction_is_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(0, 0.1, 30)
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_more_exchanges_can_give_a_smaller_p():
    generator = np.random.default_rng(0)
    one, other = confusions(generator, subjects=30, skill=-1), confusions(generator, subjects=30, skill=3)
    assert exchange_test(one, other, exchanges=9999)["accuracy"] == pytest.approx(1 / 10000)


def _interval(answers):
    from fer_cli.evaluation.metrics import compute_metrics

    return compute_metrics(answers)[0].loc["accuracy", ["low", "high"]].to_numpy()
