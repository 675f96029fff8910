"""Combined effect over corpora: a random-effects meta-analysis.

A difference between two models is not the same on every corpus, so the mean is that of a population of corpora, of
which those tested are a sample (DerSimonian and Laird 1986). The variance between corpora is Paule and Mandel's (1982),
which Veroniki et al. (2016) recommend; interval and p are those of Hartung and Knapp (2001) and Sidik and Jonkman
(2002), from a t distribution, which keep their level with few corpora (IntHout, Ioannidis and Borm 2014). Where the
effects agree by luck, that interval can be narrower than the classical normal one; the wider of the two is taken
(Wiksten, Rücker and Schwarzer 2016; Jackson et al. 2017). With two corpora the t distribution has one degree of freedom
and the interval is very wide: two corpora say little about a third.

Effects of models trained on one corpus and tested on another are not independent where pairs have a corpus in common;
:func:`combine_pairs` allows for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import chi2, norm, t

from fer_cli.evaluation.bootstrap import LEVEL


@dataclass(frozen=True)
class CombinedEffect:
    """The mean effect over K corpora, and how much the corpora differ.

    ``low`` and ``high`` are its interval and ``p`` is two-sided, of no effect on average; ``standard_error`` is the
    larger of Hartung and Knapp's and the classical one. ``tau2`` is the variance between corpora, ``q`` Cochran's
    statistic and ``q_p`` its p, of equal effects, and ``i2`` the share of the variation that is not from the effects'
    own variances (Higgins and Thompson 2002), from 0 to 1. Where the effect in another such corpus would lie is between
    ``prediction_low`` and ``prediction_high`` (Higgins, Thompson and Spiegelhalter 2009): NaN for fewer than three
    corpora. Of one corpus all that is between corpora is NaN. ``weights`` are the corpora's (K), and sum to 1.
    """

    effect: float
    standard_error: float
    low: float
    high: float
    p: float
    tau2: float
    q: float
    q_p: float
    i2: float
    prediction_low: float
    prediction_high: float
    weights: tuple[float, ...]


def combine(effects: ArrayLike, variances: ArrayLike) -> CombinedEffect:
    """Combine the K ``effects`` with their sampling ``variances``; of one, its own normal interval.

    Raises ``ValueError`` if there is none, the two are not of one length, or a variance is not positive and finite.
    """
    effects, variances = _checked(effects, variances)
    count, nan = len(effects), float("nan")
    if count == 1:
        effect, error = float(effects[0]), float(np.sqrt(variances[0]))
        half = float(norm.ppf((1 + LEVEL) / 2)) * error
        p = float(2 * norm.sf(abs(effect) / error))
        return CombinedEffect(effect, error, effect - half, effect + half, p, nan, nan, nan, nan, nan, nan, (1.0,))
    tau2 = paule_mandel(effects, variances)
    weights = 1 / (variances + tau2)
    effect, generalized = _mean_and_q(effects, variances, tau2)
    classical = float(np.sqrt(1 / weights.sum()))
    error = classical * float(np.sqrt(generalized / (count - 1)))
    half, p = _wider(effect, error, classical, count - 1)
    _, q = _mean_and_q(effects, variances, 0.0)
    across = nan
    if count > 2:
        across = float(t.ppf((1 + LEVEL) / 2, count - 2) * np.sqrt(tau2 + max(error, classical) ** 2))
    return CombinedEffect(
        effect=effect,
        standard_error=max(error, classical),
        low=effect - half,
        high=effect + half,
        p=p,
        tau2=tau2,
        q=q,
        q_p=float(chi2.sf(q, count - 1)),
        i2=max(0.0, 1 - (count - 1) / q) if q > 0 else 0.0,
        prediction_low=effect - across,
        prediction_high=effect + across,
        weights=tuple(float(weight) for weight in weights / weights.sum()),
    )


def combine_pairs(effects: ArrayLike, variances: ArrayLike, pairs: Sequence[tuple[str, str]]) -> CombinedEffect:
    """Combine N effects of ``pairs`` of a training and a test corpus, with their sampling ``variances``: their mean.

    A corpus is in several pairs, as the one trained on and as the one tested on, and what is particular to it is in all
    of their effects. So the standard error is that of a jackknife which deletes one corpus at a time with all its pairs
    (Arvesen 1969), with t of as many degrees of freedom as corpora, less one. As in :func:`combine` the wider interval
    is taken; the other one is that of the sampling variances, in which effects on one test corpus may err alike.
    Heterogeneity is that of the pairs. Interval and p are NaN where a corpus is in every pair, as with two corpora.

    Raises ``ValueError`` as :func:`combine` does.
    """
    effects, variances = _checked(effects, variances)
    corpora = sorted({name for pair in pairs for name in pair})
    without = [np.array([name not in pair for pair in pairs]) for name in corpora]
    same_test = [np.array([test == name for _, test in pairs]) for name in {test for _, test in pairs}]
    effect, count, nan = float(effects.mean()), len(corpora), float("nan")
    classical = float(np.sqrt(sum(np.sqrt(variances[mask]).sum() ** 2 for mask in same_test))) / len(effects)
    error = half = p = nan
    if all(mask.any() for mask in without):
        means = np.array([effects[mask].mean() for mask in without])
        error = float(np.sqrt((count - 1) / count * ((means - means.mean()) ** 2).sum()))
        half, p = _wider(effect, error, classical, count - 1)
    between = combine(effects, variances)
    return replace(
        between,
        effect=effect,
        standard_error=max(error, classical) if p == p else nan,
        low=effect - half,
        high=effect + half,
        p=p,
        prediction_low=nan,
        prediction_high=nan,
        weights=(1 / len(effects),) * len(effects),
    )


def _checked(effects: ArrayLike, variances: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    effects, variances = np.asarray(effects, dtype=float), np.asarray(variances, dtype=float)
    if effects.shape != variances.shape or effects.ndim != 1 or not len(effects):
        raise ValueError(f"effects and variances are of shapes {effects.shape} and {variances.shape}, not K each")
    if not (np.isfinite(effects).all() and np.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError("effects must be finite, and variances positive and finite")
    return effects, variances


def _wider(effect: float, error: float, classical: float, freedom: int) -> tuple[float, float]:
    """Half the wider interval, and the larger p, of t with ``error`` and of the normal one with ``classical``."""
    half = max(float(t.ppf((1 + LEVEL) / 2, freedom)) * error, float(norm.ppf((1 + LEVEL) / 2)) * classical)
    # Of effects that are equal the first p is 0, or 1 if they are all 0: the classical one is larger.
    adjusted = float(2 * t.sf(abs(effect) / error, freedom)) if error > 0 else 0.0
    return half, max(adjusted, float(2 * norm.sf(abs(effect) / classical)))


def paule_mandel(effects: np.ndarray, variances: np.ndarray) -> float:
    """The variance between K corpora at which the generalised Q equals its expectation, K - 1; 0 if it never does."""
    expected = len(effects) - 1

    def excess(tau2: float) -> float:
        return _mean_and_q(effects, variances, tau2)[1] - expected

    if excess(0.0) <= 0:
        return 0.0
    # Q falls as tau² grows, and at this tau² is at most K - 1.
    most = float(((effects - effects.mean()) ** 2).sum() / expected)
    return float(brentq(excess, 0.0, most, xtol=1e-14, rtol=1e-12)) if excess(most) < 0 else most


def _mean_and_q(effects: np.ndarray, variances: np.ndarray, tau2: float) -> tuple[float, float]:
    """The weighted mean, and the weighted sum of squares about it."""
    weights = 1 / (variances + tau2)
    mean = float((weights * effects).sum() / weights.sum())
    return mean, float((weights * (effects - mean) ** 2).sum())
