"""Significance tests of the difference between two models on the subjects that both were tested on.

A paired randomisation test (Fisher 1935, Noreen 1989): if the two models are equally good, it is chance whose
predictions of a person are whose. So the predictions are exchanged for a random half of the subjects, all frames of a
subject together, and the observed difference is compared with those that result. With few subjects every exchange is
tried, and the test is exact. It allows for frames of a person that resemble each other, and unlike the percentiles of a
bootstrap keeps its level with few people. The interval of a difference is from a bootstrap over subjects, both models'
predictions drawn together, and can be too narrow where subjects are few: the test decides.

McNemar's exact test is given too since papers report it. It takes frames for independent, and reports differences too
often where a person has several.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from fer_cli.evaluation.bootstrap import SEED, bootstrap
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

    ``metrics`` has a row a metric that is compared: ``first, second, difference, low, high, p``. ``recalls`` has a
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


def compare_pair(first: LabelledPredictions, second: LabelledPredictions) -> Pair:
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
    metrics["p"] = pd.Series(exchange_test(one, other))
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


def exchange_test(first: np.ndarray, second: np.ndarray, *, seed: int = SEED) -> dict[str, float]:
    """The two-sided p of each metric that is compared, from the U×C×C confusion matrices of two models by subject.

    Exact where at most :data:`EXACT` subjects' predictions differ; else from :data:`EXCHANGES` seeded exchanges, the
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
    for directions in _directions(len(change), seed):
        for name, values in sizes(directions).items():
            as_large[name] += int((values >= observed[name] - 1e-9).sum())
    if len(change) <= EXACT:
        return {name: count / 2 ** max(len(change) - 1, 0) for name, count in as_large.items()}
    return {name: (count + 1) / (EXCHANGES + 1) for name, count in as_large.items()}


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


def _directions(count: int, seed: int) -> Iterator[np.ndarray]:
    """R×count of 1 and -1: every way up to a change of all signs, which changes nothing, or a seeded choice of ways."""
    if count <= EXACT:
        ways = np.arange(2 ** max(count - 1, 0))[:, None] >> np.arange(count)
        yield 1.0 - 2.0 * (ways & 1)
        return
    generator = np.random.default_rng(seed)
    step = max(1, _ROOM // count)
    for start in range(0, EXCHANGES, step):
        size = min(step, EXCHANGES - start)
        yield 1.0 - 2.0 * generator.integers(0, 2, (size, count), dtype=np.int8)
