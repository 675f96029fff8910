"""Metrics of labelled predictions, in one table from which terminal, files, report and comparison follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from fer_cli.evaluation.bootstrap import SEED, Bootstrap, bootstrap, units

#: Bins of equal width of the confidence, for the calibration error (Guo et al. 2017, arXiv 1706.04599).
BINS = 15
#: The metrics of a class by name, with their titles.
CLASS_METRICS = {"precision": "precision", "recall": "recall", "f1": "F1"}


@dataclass(frozen=True)
class LabelledPredictions:
    """N predictions: true and predicted class indices, N×C ``probabilities`` or None, and the unit of each.

    Units, numbered from 0 without a gap, are what the bootstrap draws: subjects, where they are known.
    ``sample_weight`` (N, or None: all alike) is how much each counts in every metric, as in scikit-learn.
    """

    classes: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    units: np.ndarray
    sample_weight: np.ndarray | None = None

    @classmethod
    def of(
        cls, predictions: pd.DataFrame, classes: Sequence[str], *, with_probabilities: bool = True
    ) -> "LabelledPredictions":
        """Those of a table: ``subject, label, predicted`` and, ``with_probabilities``, ``p_<class>``.

        Raises ``ValueError`` if a label is not among ``classes``.
        """
        index = pd.Index(classes)
        truth, predicted = (
            index.get_indexer(pd.Index(predictions["label"])),
            index.get_indexer(pd.Index(predictions["predicted"])),
        )
        if (truth < 0).any() or (predicted < 0).any():
            raise ValueError("there are labels that are not among the classes")
        shares = predictions[[f"p_{name}" for name in classes]].to_numpy(float) if with_probabilities else None
        return cls(tuple(classes), truth, predicted, shares, units(predictions["subject"]))

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def count(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1 if len(self) else 0

    @property
    def confidences(self) -> np.ndarray:
        """The highest probability of each row; NaN where there are none."""
        return np.full(len(self), np.nan) if self.probabilities is None else self.probabilities.max(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Which predictions are right."""
        right: np.ndarray = self.predicted == self.truth
        return right

    def where(self, mask: np.ndarray) -> "LabelledPredictions":
        """The predictions for which ``mask`` (N) is true."""
        return replace(
            self,
            truth=self.truth[mask],
            predicted=self.predicted[mask],
            probabilities=None if self.probabilities is None else self.probabilities[mask],
            units=pd.factorize(self.units[mask])[0],
            sample_weight=None if self.sample_weight is None else self.sample_weight[mask],
        )

    def confusions(self) -> np.ndarray:
        """U×C×C: the confusion matrix of each unit, rows true, columns predicted; counts, or sums of weights."""
        size = len(self.classes)
        place = (self.units * size + self.truth) * size + self.predicted
        sums = np.bincount(place, weights=self.sample_weight, minlength=self.count * size * size)
        return sums.reshape(self.count, size, size)

    def values(self, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Under each of R draws (R×U; None: all as they are) every metric (R), and those of the classes (R×C).

        A metric that needs probabilities is NaN where there are none.
        """
        draws = np.ones((1, self.count)) if draws is None else draws
        size = len(self.classes)
        confusions = (draws @ self.confusions().reshape(self.count, -1).astype(float)).reshape(-1, size, size)
        values = {**confusion_metrics(confusions), **class_metrics(confusions)}
        for metric in METRICS.values():
            if metric.of_probabilities:
                none = self.probabilities is None
                values[metric.name] = np.full(len(draws), np.nan) if none else metric.function(self, draws)
        return values

    def bootstrap(self, seed: int | tuple[int, ...] = SEED) -> Bootstrap:
        """The :meth:`values` and their resamples over the units."""
        rows = len(self) if self.probabilities is not None else len(self.classes) ** 2
        biased = {metric.name for metric in METRICS.values() if metric.biased}
        return bootstrap(self.values, self.count, rows=rows, seed=seed, biased=biased)


def compute_metrics(predictions: LabelledPredictions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metric with its 95 % interval, and precision, recall and F1 of every class with theirs.

    The first table has a row a metric of :data:`METRICS` and the columns ``value, low, high``; the second a row a class
    and ``precision, precision_low, precision_high`` and so on, and its ``support``. Low and high are percentiles of a
    bootstrap over subjects, NaN where there is only one to draw from.
    """
    found = predictions.bootstrap()
    columns: dict[str, np.ndarray] = {}
    for name in CLASS_METRICS:
        low, high = found.interval(name)
        columns |= {name: found.values[name][0], f"{name}_low": low, f"{name}_high": high}
    columns["support"] = np.bincount(predictions.truth, minlength=len(predictions.classes))
    return found.table(list(METRICS)), pd.DataFrame(columns, index=pd.Index(predictions.classes, name="class"))


def missing_as_wrong(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The metrics of confusion matrices where rows whose ``predicted`` is NA count as wrong: ``value, low, high``.

    They are those of scikit-learn with one more word for a prediction, which is of none of the ``classes`` over which
    recall and F1 are averaged. ``predictions`` are as :meth:`LabelledPredictions.of` takes them.
    """
    missing = "missing"
    table = predictions.assign(predicted=predictions["predicted"].astype("string").fillna(missing))
    labelled = LabelledPredictions.of(table, (*classes, missing), with_probabilities=False)
    size = len(labelled.classes)
    each = labelled.confusions().reshape(labelled.count, -1).astype(float)

    def values(draws: np.ndarray) -> dict[str, np.ndarray]:
        confusions = (draws @ each).reshape(-1, size, size)
        return {**confusion_metrics(confusions), "macro_f1": _mean(class_metrics(confusions)["f1"][..., :-1])}

    found = bootstrap(values, labelled.count, rows=size * size)
    return found.table([name for name, metric in METRICS.items() if not metric.of_probabilities])


def confusion_metrics(confusions: np.ndarray) -> dict[str, np.ndarray]:
    """Those of :data:`METRICS` that …×C×C counts (rows true, columns predicted) are enough for, each of shape …."""
    return {name: metric.function(confusions) for name, metric in METRICS.items() if not metric.of_probabilities}


def class_metrics(confusions: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1, each …×C, of …×C×C counts (rows true, columns predicted).

    NaN where nothing defines it: no prediction of the class, no example of it, or neither.
    """
    right = np.diagonal(confusions, axis1=-2, axis2=-1)
    true, predicted = confusions.sum(axis=-1), confusions.sum(axis=-2)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, true),
        "f1": _ratio(2 * right, true + predicted),
    }


def normalize(confusion: np.ndarray) -> np.ndarray:
    """C×C counts as shares of each true class; NaN where there is no sample of it."""
    return _ratio(confusion, confusion.sum(axis=1, keepdims=True))


def accuracy(confusions: np.ndarray) -> np.ndarray:
    """The share of right predictions."""
    return _ratio(np.diagonal(confusions, axis1=-2, axis2=-1).sum(axis=-1), confusions.sum(axis=(-2, -1)))


def average_recall(confusions: np.ndarray) -> np.ndarray:
    """The mean recall of the classes that have samples (scikit-learn's ``balanced_accuracy_score``)."""
    return _mean(class_metrics(confusions)["recall"])


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    """The mean F1 of the classes that have samples or predictions."""
    return _mean(class_metrics(confusions)["f1"])


def weighted_f1(confusions: np.ndarray) -> np.ndarray:
    """The mean F1, weighted by support."""
    each = np.nan_to_num(class_metrics(confusions)["f1"])
    return _ratio((confusions.sum(axis=-1) * each).sum(axis=-1), confusions.sum(axis=(-2, -1)))


def kappa(confusions: np.ndarray) -> np.ndarray:
    """Cohen's kappa (1960), unweighted; NaN where chance alone would agree on everything."""
    total = confusions.sum(axis=(-2, -1))
    chance = _ratio((confusions.sum(axis=-1) * confusions.sum(axis=-2)).sum(axis=-1), total * total)
    return _ratio(accuracy(confusions) - chance, 1 - chance)


def roc_auc(predictions: LabelledPredictions, draws: np.ndarray) -> np.ndarray:
    """The mean (R) of :func:`one_versus_rest_auc` over the classes that have one, under R×U draws."""
    weights = draws[:, predictions.units].astype(float)
    if predictions.probabilities is None:
        return np.full(len(draws), np.nan)
    if predictions.sample_weight is not None:
        weights *= predictions.sample_weight
    return _mean(one_versus_rest_auc(predictions.truth, predictions.probabilities, weights))


def one_versus_rest_auc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The areas under the ROC curves, R×C, of N rows under each of R weightings (R×N), a class against the rest.

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
        areas[:, place] = _ratio((own * below).sum(axis=1), own.sum(axis=1) * others.sum(axis=1))
    return areas


def calibration_error(predictions: LabelledPredictions, draws: np.ndarray) -> np.ndarray:
    """The expected calibration error (R) under R×U draws, in :data:`BINS` bins of the confidence."""
    weights = predictions.sample_weight
    gaps = gaps_by_unit(predictions.confidences, predictions.right, predictions.units, predictions.count, weights)
    return _ratio(np.abs(draws @ gaps).sum(axis=1), draws @ np.bincount(predictions.units, weights=weights))


def bin_of(confidences: np.ndarray) -> np.ndarray:
    """The bin, from 0, of each confidence; a bin includes its upper edge."""
    bins: np.ndarray = np.clip(np.ceil(np.asarray(confidences, dtype=float) * BINS).astype(int) - 1, 0, BINS - 1)
    return bins


def gaps_by_unit(
    confidences: np.ndarray,
    right: np.ndarray,
    units: np.ndarray,
    count: int,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """For each of ``count`` units, U×:data:`BINS`, the weighted sum of (right - confidence) of its rows in each bin.

    The expected calibration error of any weighting of the units is the sum over bins of the absolute weighted sums,
    over the sum of the rows' weights.
    """
    place = units * BINS + bin_of(confidences)
    gaps = np.asarray(right, dtype=float) - confidences
    gaps = gaps if sample_weight is None else gaps * sample_weight
    return np.bincount(place, weights=gaps, minlength=count * BINS).reshape(count, BINS)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    ratio = np.full(above.shape, np.nan)
    np.divide(above, below, out=ratio, where=np.abs(below) > 1e-12)
    return ratio


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


@dataclass(frozen=True)
class Metric:
    """A metric, and where it is shown.

    ``name`` is its key in files, ``title`` what the report calls it, ``short`` what a terminal of 80 columns does.
    ``function`` takes …×C×C confusion matrices (rows true, columns predicted) to values of shape …; one
    ``of_probabilities`` takes :class:`LabelledPredictions` and R×U draws of their units to R values. ``unit`` is
    ``percent`` for shares, else ``fraction``. ``headline`` metrics stand first and by fold, ``compared`` ones have a
    difference and a p in ``fer compare``; the first of these decides whether two runs differ. ``biased`` ones are too
    large on average in a resample, which their interval is corrected for.
    """

    name: str
    title: str
    short: str
    function: Callable[..., np.ndarray]
    unit: Literal["percent", "fraction"] = "percent"
    headline: bool = False
    compared: bool = False
    of_probabilities: bool = False
    biased: bool = False

    def __post_init__(self) -> None:
        if self.compared and self.of_probabilities:
            raise ValueError(f"{self.name}: a comparison exchanges confusion matrices and has no probabilities")

    @property
    def percent(self) -> bool:
        """Whether it is shown in percent."""
        return self.unit == "percent"


#: Every metric, in the order in which they are shown. All but the last as scikit-learn defines them.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "accuracy", accuracy, headline=True, compared=True),
        Metric(
            "unweighted_average_recall",
            "unweighted average recall",
            "average recall",
            average_recall,
            headline=True,
            compared=True,
        ),
        Metric("macro_f1", "macro-F1", "macro-F1", macro_f1, headline=True, compared=True),
        Metric("weighted_f1", "weighted F1", "weighted F1", weighted_f1),
        Metric("kappa", "Cohen’s kappa", "kappa", kappa, unit="fraction"),
        Metric("roc_auc", "ROC-AUC, one vs rest", "AUC, 1 vs rest", roc_auc, unit="fraction", of_probabilities=True),
        Metric("ece", "expected calibration error", "ECE", calibration_error, of_probabilities=True, biased=True),
    )
}


def headline_metrics() -> list[Metric]:
    """The metrics that stand first: what a paper reports in its abstract."""
    return [metric for metric in METRICS.values() if metric.headline]


def compared_metrics() -> list[Metric]:
    """The metrics of a comparison; the first decides."""
    return [metric for metric in METRICS.values() if metric.compared]
