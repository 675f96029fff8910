"""Significance tests of the difference between two models on the subjects that both were tested on.

A paired randomisation test (Fisher 1935, Noreen 1989): if the two models are equally good, it is chance whose
predictions of a person are whose. So the predictions are exchanged for a random half of the subjects, all frames of a
subject together, and the observed difference is compared with those that result. With few subjects every exchange is
tried, and the test is exact. It allows for frames of a person that resemble each other, and unlike the percentiles of a
bootstrap keeps its level with few people. The interval of a difference is from a bootstrap over subjects, both models'
predictions drawn together, and can be too narrow where subjects are few: the test decides.

McNemar's exact test is given too since papers report it. It takes frames for independent, and reports differences too
often where a person has several.

These compare two trained models. Whether two recipes differ, of which each training is one draw, is what repeated
trainings tell: on repeated folds by :func:`corrected_t_test`, on one test set by :func:`crossed_t_test`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, t

from fer_cli.evaluation.bootstrap import LEVEL, SEED, bootstrap
from fer_cli.evaluation.metrics import LabelledPredictions, class_metrics, compared_metrics

#: What a row of a comparison begins with that is of one class: ``recall of anger``.
RECALL = "recall of "
EXCHANGES = 4999
#: With so many subjects whose predictions differ, or fewer, every exchange is tried: at most 2 to this power, less one.
EXACT = 14

_ROOM = 4_000_000


@dataclass(frozen=True)
class Pair:
    """Two models on the same N samples, the difference being the second less the first.

    ``metrics`` has a row a metric that is compared: ``first, second, difference, low, high, p, standard_error``, the
    last the deviation of the difference's bootstrap. ``recalls`` has a
    row a class that has samples: ``first, second, difference, low, high``. ``only_first`` and ``only_second`` count
    the samples that one alone predicted rightly, of which ``mcnemar`` is the two-sided p. ``least_p`` is the smallest p
    that so many subjects can give.
    """

    metrics: pd.DataFrame
    recalls: pd.DataFrame
    only_first: int
    only_second: int
    mcnemar: float
    least_p: float


def compare_pair(first: LabelledPredictions, second: LabelledPredictions, *, exchanges: int = EXCHANGES) -> Pair:
    """Compare two models on the same rows: equal classes, truth and units, in the same order."""
    one, other = first.confusions(), second.confusions()
    both = np.stack([one, other]).astype(float)
    compared = compared_metrics()

    def values(draws: np.ndarray) -> dict[str, np.ndarray]:
        confusions = np.einsum("ru,muij->mrij", draws, both, optimize=True)
        recall = class_metrics(confusions)["recall"]
        return {metric.name: metric.function(confusions) for metric in compared} | {"recall": recall}

    def differences(draws: np.ndarray) -> dict[str, np.ndarray]:
        return {name: after - before for name, (before, after) in values(draws).items()}

    value, found = values(np.ones((1, first.count))), bootstrap(differences, first.count)
    names = [metric.name for metric in compared]
    metrics = found.table(names).rename(columns={"value": "difference"})
    metrics.insert(0, "first", [float(value[name][0, 0]) for name in names])
    metrics.insert(1, "second", [float(value[name][1, 0]) for name in names])
    metrics["p"] = pd.Series(exchange_test(one, other, exchanges=exchanges))
    metrics["standard_error"] = [float(np.nanstd(found.draws[name])) if found.draws else np.nan for name in names]
    before, after = value["recall"][:, 0]
    low, high = found.interval("recall")
    columns = {"first": before, "second": after, "difference": after - before, "low": low, "high": high}
    recalls = pd.DataFrame(columns, index=pd.Index(first.classes, name="class"))
    only_first, only_second = int((first.right & ~second.right).sum()), int((second.right & ~first.right).sum())
    return Pair(
        metrics,
        recalls[recalls["first"].notna()],
        only_first,
        only_second,
        mcnemar(only_first, only_second),
        least_p(int((one != other).any(axis=(1, 2)).sum())),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p of McNemar's exact test (1947): as many heads among so many throws of a fair coin."""
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def exchange_test(
    first: np.ndarray, second: np.ndarray, *, exchanges: int = EXCHANGES, seed: int = SEED
) -> dict[str, float]:
    """The two-sided p of each metric that is compared, from the U×C×C confusion matrices of two models by subject.

    Exact where at most :data:`EXACT` subjects' predictions differ; else from so many seeded ``exchanges``, the
    observed one among them (Phipson and Smyth 2010).
    """
    change = (second - first).reshape(len(first), -1).astype(float)
    change = change[change.any(axis=1)]
    shape = first.shape[1:]
    # Half the change of every subject, in one direction or the other, about the middle of the two.
    middle = (first.sum(axis=0) + second.sum(axis=0)).ravel() / 2

    compared = compared_metrics()

    def sizes(directions: np.ndarray) -> dict[str, np.ndarray]:
        half = directions @ change / 2
        before, after = ((middle + way * half).reshape(-1, *shape) for way in (-1, 1))
        return {metric.name: np.abs(metric.function(after) - metric.function(before)) for metric in compared}

    observed = sizes(np.ones((1, len(change))))
    as_large = dict.fromkeys(observed, 0)
    for directions in _directions(len(change), exchanges, seed):
        for name, values in sizes(directions).items():
            as_large[name] += int((values >= observed[name] - 1e-9).sum())
    if len(change) <= EXACT:
        return {name: count / 2 ** max(len(change) - 1, 0) for name, count in as_large.items()}
    return {name: (count + 1) / (exchanges + 1) for name, count in as_large.items()}


def least_p(subjects: int) -> float:
    """The smallest p that the test can give where so many subjects' predictions differ."""
    return 2.0 ** -max(subjects - 1, 0) if subjects <= EXACT else 1 / (EXCHANGES + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) correction of N p-values: the chance of any false cry among all of them stays below the level."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected


class TTest(NamedTuple):
    """A two-sided t test of a mean difference, with the :data:`~fer_cli.evaluation.bootstrap.LEVEL` interval."""

    t: float
    p: float
    low: float
    high: float
    standard_error: float


def corrected_t_test(differences: np.ndarray, *, test_n: float, train_n: float) -> TTest:
    """The corrected resampled t test of R×K differences between two recipes, one of each of R repeated K folds.

    The folds' training sets overlap, so the differences are not independent, and the usual variance of their mean is
    far too small. Nadeau and Bengio (2003, Machine Learning 52, 239-281) replace its factor 1/(RK) by 1/(RK) +
    ``test_n`` / ``train_n``, the numbers of samples (or subjects) tested and trained on in a fold; with RK - 1 degrees
    of freedom (Bouckaert and Frank 2004). Differences that are all 0 have p = 1.

    Raises ``ValueError`` if there are fewer than two differences, or a number of samples is not positive.
    """
    differences = np.ravel(np.asarray(differences, dtype=float))
    count = len(differences)
    if count < 2:
        raise ValueError("a t test needs two differences or more")
    if not (test_n > 0 and train_n > 0):
        raise ValueError(f"test_n is {test_n} and train_n {train_n}, not positive")
    variance = float(differences.var(ddof=1)) * (1 / count + test_n / train_n)
    return _t_test(float(differences.mean()), variance, count - 1)


def crossed_t_test(
    first: np.ndarray, second: np.ndarray, metric: Callable[[np.ndarray], np.ndarray], *, seed: int = SEED
) -> TTest:
    """The t test of the mean difference in ``metric`` between two recipes, each trained R times, on the same subjects.

    ``first`` and ``second`` are R×U×C×C confusion matrices by training and subject; ``metric`` takes …×C×C to ….
    Subjects and trainings are crossed random effects, as cases and readers are in radiology (Obuchowski and Rockette
    1995): the variance of the mean is that over subjects, from a bootstrap in which all trainings are drawn together,
    and those of the two recipes over trainings, divided by R. What trainings of equal number share, such as a draw of
    training subjects, makes it rather too large. Degrees of freedom by Satterthwaite (1946).

    Raises ``ValueError`` if there are fewer than two trainings or subjects.
    """
    both = np.stack([first, second]).astype(float)
    trainings, subjects = both.shape[1:3]
    if trainings < 2 or subjects < 2:
        raise ValueError("trainings and subjects must be two or more")

    def values(draws: np.ndarray) -> dict[str, np.ndarray]:
        before, after = metric(np.einsum("du,mruij->mdrij", draws, both, optimize=True))
        return {"first": before, "second": after, "mean": (after - before).mean(axis=1)}

    found = bootstrap(values, subjects, rows=2 * trainings * both.shape[-1] ** 2, seed=seed)
    variances = [float(np.nanvar(found.draws["mean"]))]
    variances += [float(found.values[name][0].var(ddof=1)) / trainings for name in ("first", "second")]
    freedoms = (subjects - 1, trainings - 1, trainings - 1)
    parts = sum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    variance = sum(variances)
    return _t_test(float(found.values["mean"][0]), variance, variance**2 / parts if parts > 0 else trainings - 1)


def _t_test(mean: float, variance: float, freedom: float) -> TTest:
    error = variance**0.5
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    if error == 0:
        return TTest(float(np.copysign(np.inf, mean)) if mean else 0.0, 0.0 if mean else 1.0, mean, mean, 0.0)
    statistic = mean / error
    return TTest(statistic, float(2 * t.sf(abs(statistic), freedom)), mean - half, mean + half, error)


def _directions(count: int, exchanges: int, seed: int) -> Iterator[np.ndarray]:
    """R×count of 1 and -1: every way up to a change of all signs, which changes nothing, or a seeded choice of ways."""
    if count <= EXACT:
        ways = np.arange(2 ** max(count - 1, 0))[:, None] >> np.arange(count)
        yield 1.0 - 2.0 * (ways & 1)
        return
    generator = np.random.default_rng(seed)
    step = max(1, _ROOM // count)
    for start in range(0, exchanges, step):
        size = min(step, exchanges - start)
        yield 1.0 - 2.0 * generator.integers(0, 2, (size, count), dtype=np.int8)
