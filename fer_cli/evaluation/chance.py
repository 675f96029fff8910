"""Chance level of a metric, adjusted for the number of samples and for the balance of the classes.

A guesser among C classes is right once in C times on average, and on few samples often more than that. What a model
must exceed is what a guesser reaches at most with 95 % probability (Combrisson and Jerbi 2015, Journal of Neuroscience
Methods 250, 126-136: the binomial quantile). Where the classes are not balanced, the guesser of accuracy is the one
that is right most often, as often as the largest class is frequent. The guesser of the average recall says every class
equally often: no guesser has an expected average recall other than 1/C, whatever the balance, and a small class, in
which few hits are a high recall, widens what chance can reach.

Guesses are independent from sample to sample, so the level holds for guessing, not for a model that errs alike on all
frames of a person: that is what the intervals over subjects are for.
"""

import math
from collections import Counter
from collections.abc import Collection

import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import binom

from fer_cli.evaluation.bootstrap import LEVEL

#: The metrics that a guesser's value is known of.
OF_A_GUESSER = ("accuracy", "unweighted_average_recall")
#: The average recall of N samples is computed on a grid: one that holds all its values if that has so many points or
#: fewer, else one of so many points, on which it is at most a class's spacing too high.
_POINTS = 2**18


def adjusted_chance(labels: Collection[str], metric: str = "accuracy", *, level: float = LEVEL) -> float:
    """The accuracy or average recall that a guesser reaches at most with probability ``level``, from 0 to 1.

    ``labels`` are the N true classes. NaN for another metric, whose chance depends on how the guesser guesses, and
    where there is no sample. Raises ``ValueError`` if ``level`` is not between 0 and 1.

    >>> adjusted_chance(["anger", "fear"] * 10)
    0.7
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, not between 0 and 1")
    counts = list(Counter(labels).values())
    if not counts or metric not in OF_A_GUESSER:
        return math.nan
    if metric == "accuracy":
        total = sum(counts)
        return float(binom.ppf(level, total, max(counts) / total) / total)
    return _average_recall_quantile(counts, level)


def _average_recall_quantile(counts: list[int], level: float) -> float:
    """The smallest average recall that a guesser among as many classes as ``counts`` exceeds in no more than 1 - level.

    The hits in each class are binomial and independent, so the distribution of the sum of their shares is the
    convolution of theirs.
    """
    classes = len(counts)
    steps = math.lcm(*counts)
    if classes * steps > _POINTS:
        steps = _POINTS // classes
    distribution = np.ones(1)
    for count in counts:
        hits = np.arange(count + 1)
        # Rounded up where the grid is coarser than the shares: rather too high a chance than too low a one.
        place = -(-hits * steps // count)
        recall = np.bincount(place, weights=binom.pmf(hits, count, 1 / classes), minlength=steps + 1)
        distribution = fftconvolve(distribution, recall)
    reached = np.cumsum(distribution)
    return min(int(np.argmax(reached >= level - 1e-12)), classes * steps) / (classes * steps)
