"""Uncertainty: what is drawn again is the person, for the frames of one person resemble each other.

A bootstrap over frames takes a person's three apex frames for three independent witnesses, and its intervals are too
narrow. Here subjects are drawn with replacement, and all rows of a subject come along (the cluster bootstrap; Field and
Welsh 2007).
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

REPETITIONS = 2000
SEED = 0
LEVEL = 0.95

#: At most this many numbers are held at once for one array of the repetitions.
_ROOM = 4_000_000

#: From R×U draws (how often each of the U units was drawn) to figures whose first axis is R, by name.
Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def units(subjects: pd.Series) -> np.ndarray:
    """For N rows the index of the unit that each is drawn with: its subject, or where that is not known the row itself.

    >>> units(pd.Series(["P1", "P2", "P1", None])).tolist()
    [0, 1, 0, 2]
    """
    codes, names = pd.factorize(subjects)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def drawn_again(
    statistic: Statistic, count: int, *, rows: int = 0, seed: int | tuple[int, ...] = SEED
) -> dict[str, np.ndarray]:
    """The figures of ``statistic`` in :data:`REPETITIONS` samples of ``count`` units, drawn with replacement.

    ``rows`` is the size of what the statistic spreads each draw over, so that memory is kept within bounds.
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

    Draws in which a figure is not defined (NaN) are left out; where none is defined, so are low and high.
    """
    edges = np.full((2, *draws.shape[1:]), np.nan)
    flat, low_high = draws.reshape(len(draws), -1), edges.reshape(2, -1)
    outside = (1 - LEVEL) / 2
    for column, values in enumerate(flat.T):
        values = values[~np.isnan(values)]
        if len(values):
            low_high[:, column] = np.quantile(values, [outside, 1 - outside])
    return edges[0], edges[1]
