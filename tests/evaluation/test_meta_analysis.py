from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm, t

from fer_cli.evaluation.meta_analysis import combine, combine_pairs, paule_mandel

# 13 trials of BCG vaccine (Colditz et al. 1994): vaccinated with and without tuberculosis, and controls.
BCG = np.array(
    [
        *([4, 119, 11, 128], [6, 300, 29, 274], [3, 228, 11, 209], [62, 13536, 248, 12619], [33, 5036, 47, 5761]),
        *([180, 1361, 372, 1079], [8, 2537, 10, 619], [505, 87886, 499, 87892], [29, 7470, 45, 7232]),
        *([17, 1699, 65, 1600], [186, 50448, 141, 27197], [5, 2493, 3, 2338], [27, 16886, 29, 17825]),
    ],
    dtype=float,
).T
EFFECTS = np.log(BCG[0] / (BCG[0] + BCG[1])) - np.log(BCG[2] / (BCG[2] + BCG[3]))
VARIANCES = 1 / BCG[0] - 1 / (BCG[0] + BCG[1]) + 1 / BCG[2] - 1 / (BCG[2] + BCG[3])

effects = st.lists(st.floats(-1, 1), min_size=2, max_size=8)
variances = st.lists(st.floats(1e-4, 1), min_size=8, max_size=8)


def test_the_published_example():
    # Log risk ratios; Viechtbauer 2010 (Journal of Statistical Software 36): Q = 152.23, of 12 degrees of freedom.
    found = combine(EFFECTS, VARIANCES)
    assert found.q == pytest.approx(152.23, abs=0.01)
    assert found.i2 == pytest.approx(0.9212, abs=1e-4)
    assert found.tau2 == pytest.approx(0.318, abs=1e-3)
    assert found.effect == pytest.approx(-0.715, abs=1e-3)
    assert found.q_p < 1e-4
    assert found.low < found.effect < found.high < 0
    assert found.prediction_low < found.low
    assert found.prediction_high > 0


def test_it_equals_statsmodels():
    meta = pytest.importorskip("statsmodels.stats.meta_analysis")
    theirs = meta.combine_effects(EFFECTS, VARIANCES, method_re="iterated", use_t=True)
    found = combine(EFFECTS, VARIANCES)
    assert found.tau2 == pytest.approx(theirs.tau2, rel=1e-5)
    assert found.effect == pytest.approx(theirs.mean_effect_re, rel=1e-6)
    assert found.q == pytest.approx(theirs.q)
    assert found.i2 == pytest.approx(theirs.i2)
    assert found.weights == pytest.approx(theirs.weights_rel_re, rel=1e-5)
    # At Paule and Mandel's variance the scale of Hartung and Knapp is 1.
    assert found.standard_error == pytest.approx(theirs.sd_eff_w_re_hksj, rel=1e-5)
    assert found.standard_error == pytest.approx(theirs.sd_eff_w_re, rel=1e-5)


def test_hartung_and_knapps_interval_by_hand():
    # Equal variances: the mean, its standard error from the effects' own spread, and t of two degrees of freedom.
    given_effects = np.array([0.1, 0.5, 0.6])
    found = combine(given_effects, [0.01] * 3)
    error = given_effects.std(ddof=1) / 3**0.5
    assert found.effect == pytest.approx(0.4)
    assert found.tau2 == pytest.approx(given_effects.var(ddof=1) - 0.01)
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx(tuple(t.interval(0.95, 2, 0.4, error)))
    assert found.p == pytest.approx(2 * t.sf(0.4 / error, 2))
    across = t.ppf(0.975, 1) * (found.tau2 + error**2) ** 0.5
    assert (found.prediction_low, found.prediction_high) == pytest.approx((0.4 - across, 0.4 + across))


def test_effects_that_agree_too_well_are_as_sure_as_their_variances_let_them():
    found = combine([0.3, 0.3, 0.3, 0.3], [0.04] * 4)
    assert (found.tau2, found.i2, found.q) == pytest.approx((0, 0, 0))
    assert found.standard_error == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx(tuple(norm.interval(0.95, 0.3, 0.1)))
    assert found.p == pytest.approx(2 * norm.sf(3))
    assert combine([0, 0, 0], [0.04] * 3).p == 1


@given(effects, variances)
def test_the_interval_is_the_wider_of_two_and_agrees_with_p(values, their_variances):
    found = combine(values, their_variances[: len(values)])
    classical = (1 / (1 / (np.array(their_variances[: len(values)]) + found.tau2)).sum()) ** 0.5
    assert found.high - found.effect >= 1.9599 * classical * (1 - 1e-9)
    assume(abs(found.p - 0.05) > 1e-6)
    assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)


def test_of_one_corpus_it_is_that_corpuss_effect():
    found = combine([0.2], [0.01])
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, *norm.interval(0.95, 0.2, 0.1)))
    assert found.p == pytest.approx(2 * norm.sf(2))
    assert found.weights == (1,)
    assert np.isnan([found.tau2, found.i2, found.q, found.q_p, found.prediction_low]).all()


def test_of_two_corpora_there_is_no_prediction():
    found = combine([0.2, 0.25], [0.0001, 0.0001])
    assert np.isnan([found.prediction_low, found.prediction_high]).all()
    # One degree of freedom: t is 12.7.
    assert found.high - found.effect == pytest.approx(12.706 * found.standard_error, rel=1e-4)


def test_what_cannot_be_combined_is_refused():
    for values, their_variances in (([], []), ([1], [1, 2]), ([0.1], [0]), ([0.1, np.nan], [1, 1]), ([0.1], [np.inf])):
        with pytest.raises(ValueError, match="effects"):
            combine(values, their_variances)


@given(effects, variances)
def test_the_generalised_q_is_its_expectation_at_the_variance_between_corpora(values, their_variances):
    values, their_variances = np.array(values), np.array(their_variances[: len(values)])
    tau2 = paule_mandel(values, their_variances)
    weights = 1 / (their_variances + tau2)
    mean = (weights * values).sum() / weights.sum()
    q = (weights * (values - mean) ** 2).sum()
    assert tau2 >= 0
    assert q <= (len(values) - 1) * (1 + 1e-6)
    assert tau2 == 0 or q == pytest.approx(len(values) - 1, rel=1e-6)


@given(effects, variances, st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_it_scales_with_the_effects_and_knows_no_order(values, their_variances, scale, random):
    their_variances = their_variances[: len(values)]
    assume(np.ptp(values) > 1e-3)
    found = combine(values, their_variances)
    order = random.sample(range(len(values)), len(values))
    other = combine([scale * values[at] for at in order], [scale**2 * their_variances[at] for at in order])
    assert other.effect == pytest.approx(scale * found.effect, rel=1e-6, abs=1e-9)
    assert other.high - other.low == pytest.approx(scale * (found.high - found.low), rel=1e-6)
    assert other.p == pytest.approx(found.p, rel=1e-5, abs=1e-9)
    assert other.i2 == pytest.approx(found.i2, abs=1e-6)
    assert sum(found.weights) == pytest.approx(1)
    assert min(values) - 1e-9 <= found.effect <= max(values) + 1e-9


@pytest.mark.parametrize("corpora", [2, 3, 5, 8])
@pytest.mark.parametrize("tau", [0.0, 0.02, 0.1])
def test_no_effect_on_average_is_reported_as_seldom_as_the_level_says_and_a_true_one_is_found(corpora, tau):
    generator = np.random.default_rng([corpora, round(100 * tau)])
    alarms, hits = [], []
    for _ in range(400):
        # Corpora of different sizes, whose variances are estimated from as many people.
        people = generator.integers(10, 100, corpora)
        truth = 0.3**2 / people
        estimated = truth * generator.chisquare(people - 1) / (people - 1)
        effects = generator.normal(0, tau, corpora) + generator.normal(0, truth**0.5)
        alarms.append(combine(effects, estimated).p)
        hits.append(combine(effects + 0.4, estimated).p)
    assert np.mean(np.array(alarms) <= 0.05) <= 0.075
    if corpora > 3:
        assert np.mean(np.array(hits) <= 0.05) > 0.9


def test_pairs_of_corpora_by_hand():
    pairs = list(permutations("abc", 2))
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.2, 0.6])
    found = combine_pairs(values, [1e-6] * 6, pairs)
    # Without a: bc and cb; without b: ac and ca; without c: ab and ba.
    means = np.array([(0.4 + 0.6) / 2, (0.2 + 0.2) / 2, (0.1 + 0.3) / 2])
    error = (2 / 3 * ((means - means.mean()) ** 2).sum()) ** 0.5
    assert found.effect == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx(tuple(t.interval(0.95, 2, 0.3, error)))
    assert found.p == pytest.approx(2 * t.sf(0.3 / error, 2))
    # Two effects a test corpus, which may err alike.
    agree = combine_pairs([0.3] * 6, [0.01] * 6, pairs)
    assert agree.standard_error == pytest.approx((3 * 0.2**2) ** 0.5 / 6)


def test_pairs_that_all_have_one_corpus_have_no_test():
    for pairs in ([("a", "b"), ("b", "a")], [("a", "b"), ("a", "c"), ("a", "d")]):
        found = combine_pairs(np.linspace(0.2, 0.3, len(pairs)), [0.01] * len(pairs), pairs)
        assert found.effect == pytest.approx(0.25)
        assert np.isnan([found.p, found.low, found.high, found.standard_error]).all()


@pytest.mark.parametrize("corpora", [3, 5])
@pytest.mark.parametrize("both", [-1, 0, 1])
def test_what_is_particular_to_a_corpus_in_training_and_test_is_no_effect(corpora, both):
    generator = np.random.default_rng([corpora, both + 1])
    pairs = list(permutations(range(corpora), 2))
    names = [(str(one), str(other)) for one, other in pairs]
    alarms = []
    for _ in range(400):
        trained, tested = generator.normal(0, 0.1, (2, corpora))
        tested = both * trained if both else tested
        effects = [trained[one] + tested[other] + generator.normal(0, 0.03) for one, other in pairs]
        alarms.append(combine_pairs(effects, [0.03**2] * len(pairs), names).p)
    assert np.mean(np.array(alarms) <= 0.05) <= 0.075
