"""The area under the ROC curve, one class against the rest, for many weightings of the rows at once."""

import numpy as np


def one_versus_rest_auc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The areas, R×C, of N rows under each of R weightings (R×N).

    ``truth`` holds N class indices, ``probabilities`` is N×C. An area is the weighted share of pairs of a row of the
    class and a row of another in which the first has the higher probability, ties counting half (Hanley and McNeil
    1982); NaN where a weighting leaves one side empty.
    """
    areas = np.full((len(weights), probabilities.shape[1]), np.nan)
    for place, scores in enumerate(probabilities.T):
        mine = truth == place
        if not mine.any() or mine.all():
            continue
        order = np.argsort(scores, kind="stable")
        ordered, sorted_scores = weights[:, order], scores[order]
        starts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
        own = np.add.reduceat(ordered * mine[order], starts, axis=1)
        others = np.add.reduceat(ordered * ~mine[order], starts, axis=1)
        below = np.cumsum(others, axis=1) - others / 2
        pairs = own.sum(axis=1) * others.sum(axis=1)
        np.divide((own * below).sum(axis=1), pairs, out=areas[:, place], where=pairs > 0)
    return areas


def mean_auc(areas: np.ndarray) -> np.ndarray:
    """The mean (R) of R×C areas over the classes that have one; NaN where none has."""
    known = ~np.isnan(areas)
    count = known.sum(axis=1)
    total = np.where(known, areas, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(areas), np.nan), where=count > 0)
