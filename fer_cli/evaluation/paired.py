"""Whether two models differ, asked of the people that both were tested on.

A difference is tested by exchange: if the two are equally good, then of each person it is chance which answers are
whose. So the answers of both are exchanged for a random half of the subjects, all frames of a subject together, and the
difference that was found is held against those that come of it (a paired randomisation test; Fisher 1935, Noreen 1989).
With few subjects every exchange is tried, and the test is exact. That frames of a person resemble each other does it no
harm, and unlike the percentiles of a bootstrap it keeps its level with few people. The interval of a difference is from
a bootstrap over subjects, both models' answers drawn together, and can be too narrow where subjects are few: the test
decides.

McNemar's exact test stands beside it since papers report it. It takes frames for independent, and cries difference too
often where a person has several.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from fer_cli.evaluation.answers import Answers
from fer_cli.evaluation.bootstrap import SEED, drawn_again, interval
from fer_cli.evaluation.measures import by_class, counted

#: The measures compared; the first decides whether two runs are said to differ.
COMPARED = ("accuracy", "unweighted_average_recall", "macro_f1")
EXCHANGES = 4999
#: With so many subjects whose answers differ, or fewer, every exchange is tried: at most 2 to this power, less one.
EXACT = 14

_ROOM = 4_000_000


@dataclass(frozen=True)
class Pair:
    """What two models come to on the same N answers, the difference being the second less the first.

    ``measures`` has a row a measure of :data:`COMPARED`: ``first, second, difference, low, high, p``. ``recalls`` has a
    row a class that the truth holds: ``first, second, difference, low, high``. ``only_first`` and ``only_second`` count
    the answers that one alone gave right, of which ``mcnemar`` is the two-sided p. ``least_p`` is the smallest p that
    so many subjects can give.
    """

    measures: pd.DataFrame
    recalls: pd.DataFrame
    only_first: int
    only_second: int
    mcnemar: float
    least_p: float


def compare_pair(first: Answers, second: Answers) -> Pair:
    """Compare two models on the same rows: equal classes, truth and units, in the same order."""
    one, other = first.confusions(), second.confusions()
    every = np.stack([one, other]).astype(float)

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        drawn = np.einsum("ru,muij->mrij", draws, every, optimize=True)
        whole = counted(drawn)
        return {name: whole[name] for name in COMPARED} | {"recall": by_class(drawn)["recall"]}

    value = figures(np.ones((1, first.count)))

    def differences(draws: np.ndarray) -> dict[str, np.ndarray]:
        return {name: both[1] - both[0] for name, both in figures(draws).items()}

    draws = drawn_again(differences, first.count, seed=SEED) if first.count > 1 else {}
    p = exchange_test(one, other)
    measures = {}
    for name in COMPARED:
        (before,), (after,) = value[name]
        low, high = interval(draws[name]) if draws else (np.nan, np.nan)
        measures[name] = [before, after, after - before, float(low), float(high), p[name]]
    before, after = value["recall"][:, 0]
    low, high = interval(draws["recall"]) if draws else np.full((2, len(before)), np.nan)
    columns = {"first": before, "second": after, "difference": after - before, "low": low, "high": high}
    recalls = pd.DataFrame(columns, index=pd.Index(first.classes, name="class"))
    only_first, only_second = int((first.right & ~second.right).sum()), int((second.right & ~first.right).sum())
    return Pair(
        pd.DataFrame.from_dict(measures, orient="index", columns=["first", "second", "difference", "low", "high", "p"]),
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
    """The two-sided p of each measure of :data:`COMPARED`, from the U×C×C confusion matrices of two models by subject.

    Exact where at most :data:`EXACT` subjects' answers differ; else from :data:`EXCHANGES` seeded exchanges, the one
    that was found counted among them (Phipson and Smyth 2010).
    """
    change = (second - first).reshape(len(first), -1).astype(float)
    change = change[change.any(axis=1)]
    shape = first.shape[1:]
    # Half the change of every subject, in one direction or the other, about the middle of the two.
    middle = (first.sum(axis=0) + second.sum(axis=0)).ravel() / 2

    def sizes(directions: np.ndarray) -> dict[str, np.ndarray]:
        half = directions @ change / 2
        before, after = (counted((middle + way * half).reshape(-1, *shape)) for way in (-1, 1))
        return {name: np.abs(after[name] - before[name]) for name in COMPARED}

    found = sizes(np.ones((1, len(change))))
    as_large = dict.fromkeys(COMPARED, 0)
    for directions in _directions(len(change), seed):
        for name, values in sizes(directions).items():
            as_large[name] += int((values >= found[name] - 1e-9).sum())
    if len(change) <= EXACT:
        return {name: count / 2 ** max(len(change) - 1, 0) for name, count in as_large.items()}
    return {name: (count + 1) / (EXCHANGES + 1) for name, count in as_large.items()}


def least_p(subjects: int) -> float:
    """The smallest p that the test can give where so many subjects' answers differ."""
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
