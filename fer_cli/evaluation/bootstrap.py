"""Bootstrap confidence intervals over subjects.

A bootstrap over frames takes a person's three apex frames for three independent witnesses, and its intervals are too
narrow. Here subjects are drawn with replacement, and all rows of a subject come along (the cluster bootstrap; Field and
Welsh 2007).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

REPETITIONS = 2000
SEED = 0
LEVEL = 0.95

#: At most this many numbers are in memory at once for one array of the repetitions.
_ROOM = 4_000_000

#: From R×U draws (how often each of the U units was drawn) to values whose first axis is R, by name.
Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Bootstrap:
    """Values by name, as they are (first axis 1), and resampled (first axis R; empty where there is one unit only)."""

    values: Mapping[str, np.ndarray]
    draws: Mapping[str, np.ndarray]

    def __sub__(self, other: "Bootstrap") -> "Bootstrap":
        """The differences of what both have, of independent draws."""
        return Bootstrap(
            {name: self.values[name] - other.values[name] for name in self.values.keys() & other.values.keys()},
            {name: self.draws[name] - other.draws[name] for name in self.draws.keys() & other.draws.keys()},
        )

    def interval(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Low and high of the value called ``name``, of its shape; NaN without draws."""
        if name not in self.draws:
            return (np.full(self.values[name].shape[1:], np.nan),) * 2
        return interval(self.draws[name])

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """A row each of the scalar values called ``names``: ``value, low, high``."""
        rows = {name: [float(self.values[name][0]), *map(float, self.interval(name))] for name in names}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])


def bootstrap(
    statistic: Statistic,
    count: int,
    *,
    rows: int = 0,
    seed: int | tuple[int, ...] = SEED,
    biased: Collection[str] = (),
) -> Bootstrap:
    """The values of ``statistic`` for ``count`` units, and resampled as :func:`resample` does.

    Those called ``biased`` are from 0 to 1 and on average too large in a resample: their draws are moved back by that.
    """
    values = statistic(np.ones((1, count)))
    draws = resample(statistic, count, rows=rows, seed=seed) if count > 1 else {}
    for name in draws.keys() & set(biased):
        draws[name] = np.clip(draws[name] - (draws[name].mean() - values[name][0]), 0, 1)
    return Bootstrap(values, draws)


def units(subjects: pd.Series) -> np.ndarray:
    """For N rows the index of the unit that each is drawn with: its subject, or where that is not known the row itself.

    >>> units(pd.Series(["P1", "P2", "P1", None])).tolist()
    [0, 1, 0, 2]
    """
    codes, names = pd.factorize(subjects)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def resample(
    statistic: Statistic, count: int, *, rows: int = 0, seed: int | tuple[int, ...] = SEED
) -> dict[str, np.ndarray]:
    """The values of ``statistic`` in :data:`REPETITIONS` samples of ``count`` units, drawn with replacement.

    ``rows`` is the size of what the statistic spreads each draw over, so that memory stays within bounds.
    """
    generator = np.random.default_rng(seed)
    step = max(1, _ROOM // max(count, rows))
    parts = []
    for start in range(0, REPETITIONS, step):
        size = min(step, REPETITIONS - start)
        parts.append(statistic(generator.multinomial(count, np.full(count, 1 / count), size=size)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the middle :data:`LEVEL` of the draws lies, over the first axis: low and high (percentile interval).

    Draws in which a value is not defined (NaN) are ignored; where none is defined, low and high are NaN.
    """
    edges = np.full((2, *draws.shape[1:]), np.nan)
    flat, low_high = draws.reshape(len(draws), -1), edges.reshape(2, -1)
    outside = (1 - LEVEL) / 2
    for column, values in enumerate(flat.T):
        values = values[~np.isnan(values)]
        if len(values):
            low_high[:, column] = np.quantile(values, [outside, 1 - outside])
    return edges[0], edges[1]
