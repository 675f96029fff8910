"""What a model answered, as arrays, and what it comes to: every measure with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fer_cli.evaluation.bootstrap import SEED, Statistic, drawn_again, interval, units
from fer_cli.evaluation.calibration import (
    Calibration,
    gaps_by_unit,
    log_losses,
    reliability,
)
from fer_cli.evaluation.measures import BY_CLASS, MEASURES, by_class, counted
from fer_cli.evaluation.ranking import mean_auc, one_versus_rest_auc

#: Figures by name: as they are (first axis 1), and as drawn again (first axis R; empty where there is nothing to draw).
Resampled = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Answers:
    """N answers: true and predicted class indices, N×C ``probabilities`` or None, and the unit that each belongs to.

    Units, numbered from 0 without a gap, are what the bootstrap draws: subjects, where they are known.
    """

    classes: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    units: np.ndarray

    @classmethod
    def of(cls, predictions: pd.DataFrame, classes: Sequence[str], *, probable: bool = True) -> "Answers":
        """The answers of a table of predictions; ``probable`` takes their probabilities, ``p_<class>``, too.

        Raises ``ValueError`` if a label is not among ``classes``.
        """
        index = pd.Index(classes)
        truth, predicted = index.get_indexer(predictions["label"]), index.get_indexer(predictions["predicted"])
        if (truth < 0).any() or (predicted < 0).any():
            raise ValueError("there are labels that are not among the classes")
        probabilities = predictions[[f"p_{name}" for name in classes]].to_numpy(float) if probable else None
        return cls(tuple(classes), truth, predicted, probabilities, units(predictions["subject"]))

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def count(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1 if len(self) else 0

    def where(self, mask: np.ndarray) -> "Answers":
        """Those of the answers for which ``mask`` (N) is true."""
        return replace(
            self,
            truth=self.truth[mask],
            predicted=self.predicted[mask],
            probabilities=None if self.probabilities is None else self.probabilities[mask],
            units=pd.factorize(self.units[mask])[0],
        )

    def confusions(self) -> np.ndarray:
        """U×C×C: the confusion matrix of each unit, rows true, columns predicted."""
        size = len(self.classes)
        place = (self.units * size + self.truth) * size + self.predicted
        return np.bincount(place, minlength=self.count * size * size).reshape(self.count, size, size)

    def figures(self, draws: np.ndarray) -> dict[str, np.ndarray]:
        """Under each of R draws (R×U): every measure (R) and, by class, precision, recall and F1 (R×C)."""
        size = len(self.classes)
        flat = self.confusions().reshape(self.count, -1).astype(float)
        confusions = (draws @ flat).reshape(len(draws), size, size)
        figures = {**counted(confusions), **by_class(confusions)}
        if self.probabilities is None:
            nothing = np.full(len(draws), np.nan)
            return {**figures, "roc_auc": nothing, "ece": nothing}
        areas = one_versus_rest_auc(self.truth, self.probabilities, draws[:, self.units].astype(float))
        gaps = gaps_by_unit(self.confidences, self.right, self.units, self.count)
        rows = draws @ np.bincount(self.units)
        return {**figures, "roc_auc": mean_auc(areas), "ece": np.abs(draws @ gaps).sum(axis=1) / rows}

    @property
    def confidences(self) -> np.ndarray:
        """The highest probability of each row."""
        return self.probabilities.max(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Which answers are right."""
        return self.predicted == self.truth

    def resampled(self, seed: int | tuple[int, ...] = SEED) -> Resampled:
        """The figures as they are (first axis 1), and as drawn again (first axis R)."""
        rows = len(self) if self.probabilities is not None else len(self.classes) ** 2
        return _resampled(self.figures, self.count, rows, seed)


def measured(answers: Answers) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every measure with its 95 % interval, and precision, recall and F1 of every class with theirs.

    The first table has a row a measure (:data:`~fer_cli.evaluation.measures.MEASURES`) and the columns ``value, low,
    high``; the second a row a class and ``precision, precision_low, precision_high`` and so on. Low and high are
    percentiles of a bootstrap over subjects, NaN where there is only one to draw from; those of the calibration error
    are moved by the mean of what drawing again adds to it, for that of a resample is too large on the average.
    """
    value, draws = answers.resampled()
    whole = with_intervals(value, draws, MEASURES)
    columns = {}
    for name in BY_CLASS:
        low, high = interval(draws[name]) if answers.count > 1 else (np.nan, np.nan)
        columns |= {name: value[name][0], f"{name}_low": low, f"{name}_high": high}
    return whole, pd.DataFrame(columns, index=pd.Index(answers.classes, name="class"))


def calibrated(
    answers: Answers, after: np.ndarray | None = None, *, temperature: float | None = None, fitted_on: int = 0
) -> Calibration:
    """How well the answers' probabilities are calibrated; ``after`` are the same, N×C, brought to ``temperature``."""
    versions = {"": answers.probabilities, "_after": after}

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        rows = draws @ np.bincount(answers.units)
        figures = {}
        for name, probabilities in versions.items():
            if probabilities is None:
                figures |= dict.fromkeys((f"ece{name}", f"nll{name}"), np.full(len(draws), np.nan))
                continue
            gaps = gaps_by_unit(probabilities.max(axis=1), answers.right, answers.units, answers.count)
            losses = np.bincount(answers.units, weights=log_losses(probabilities, answers.truth))
            figures |= {
                f"ece{name}": np.abs(draws @ gaps).sum(axis=1) / rows,
                f"nll{name}": draws @ losses / rows,
            }
        return figures

    value, draws = _resampled(figures, answers.count, 0, SEED)
    return Calibration(
        bins=reliability(answers.confidences, answers.right),
        figures=with_intervals(value, draws, ("ece", "nll", "ece_after", "nll_after")),
        temperature=temperature,
        fitted_on=fitted_on,
    )


def with_intervals(
    value: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray], names: Sequence[str]
) -> pd.DataFrame:
    """A table of the figures called ``names``: ``value, low, high``; no interval where nothing was drawn."""
    rows = {}
    for name in names:
        low, high = interval(draws[name]) if len(draws.get(name, ())) else (np.nan, np.nan)
        rows[name] = {"value": float(value[name][0]), "low": float(low), "high": float(high)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])


def _resampled(statistic: Statistic, count: int, rows: int, seed: int | tuple[int, ...]) -> Resampled:
    value = dict(statistic(np.ones((1, count))))
    if count < 2:
        return value, {}
    draws = drawn_again(statistic, count, rows=rows, seed=seed)
    for name in [name for name in draws if name.startswith("ece")]:
        excess = draws[name].mean() - value[name][0]
        draws[name] = np.clip(draws[name] - excess, 0, 1)
    return value, draws
