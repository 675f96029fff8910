"""Measures of agreement, from stacks of confusion matrices at once."""

import numpy as np

#: The measures that a confusion matrix gives, in the order in which they are shown.
COUNTED = ("accuracy", "unweighted_average_recall", "macro_f1", "weighted_f1", "kappa")
#: Those of :data:`COUNTED`, then the ones for which the probabilities are needed too.
MEASURES = (*COUNTED, "roc_auc", "ece")
#: By class.
BY_CLASS = ("precision", "recall", "f1")


def by_class(confusions: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1, each …×C, of …×C×C counts (rows true, columns predicted).

    NaN where there is nothing to tell by: no prediction of the class, no example of it, or neither.
    """
    right = np.diagonal(confusions, axis1=-2, axis2=-1)
    shown, said = confusions.sum(axis=-1), confusions.sum(axis=-2)
    return {
        "precision": _ratio(right, said),
        "recall": _ratio(right, shown),
        "f1": _ratio(2 * right, shown + said),
    }


def counted(confusions: np.ndarray) -> dict[str, np.ndarray]:
    """The measures :data:`COUNTED`, each of shape …, of …×C×C counts (rows true, columns predicted).

    All as scikit-learn defines them: the average recall is over the classes that the truth holds (there,
    ``balanced_accuracy_score``), macro-F1 over those that truth or predictions hold, weighted F1 weighs by support,
    kappa is Cohen's (1960), unweighted; NaN where chance alone would agree on everything.
    """
    total = confusions.sum(axis=(-2, -1))
    shown, said = confusions.sum(axis=-1), confusions.sum(axis=-2)
    each = by_class(confusions)
    accuracy = _ratio(np.diagonal(confusions, axis1=-2, axis2=-1).sum(axis=-1), total)
    chance = _ratio((shown * said).sum(axis=-1), total * total)
    return {
        "accuracy": accuracy,
        "unweighted_average_recall": _mean(each["recall"]),
        "macro_f1": _mean(each["f1"]),
        "weighted_f1": _ratio((shown * np.nan_to_num(each["f1"])).sum(axis=-1), total),
        "kappa": _ratio(accuracy - chance, 1 - chance),
    }


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=np.abs(below) > 1e-12)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))
