"""Calibration: whether a probability of 0.8 is right eight times in ten, and a temperature that makes it more so.

Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.evaluation.bootstrap import bootstrap
from fer_cli.evaluation.metrics import BINS, LabelledPredictions, bin_of, calibration_error
from fer_cli.models.inference import COLDEST, HOTTEST, fit_temperature, is_faultless, log_losses, tempered

#: The temperature itself belongs to the classifier, for a training may fit one too.
__all__ = (
    "COLDEST",
    "HOTTEST",
    "Calibration",
    "calibration",
    "fit_temperature",
    "is_faultless",
    "log_losses",
    "reliability",
    "tempered",
)


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy agree.

    ``bins`` has a row a bin of confidence: ``low, high, count, confidence, accuracy`` (the last two are means, NaN in
    an empty bin). ``values`` has the rows ``ece``, ``nll``, ``ece_after`` and ``nll_after`` and the columns ``value``,
    ``low`` and ``high``: expected calibration error and mean negative log-likelihood in nats, before and after the
    probabilities are brought to ``temperature``, which was fitted on ``fitted_on`` validation faces and never on those
    tested; NaN and None where there are none. Of a cross-validation each fold has a temperature of its own, fitted on
    its own validation fold, and ``temperature`` is their geometric mean. Of predictions without probabilities the bins
    are empty and the values NaN.
    """

    bins: pd.DataFrame
    values: pd.DataFrame
    temperature: float | None = None
    fitted_on: int = 0

    @property
    def defined(self) -> bool:
        """Whether there were probabilities."""
        return bool(self.bins["count"].sum())

    def _value(self, name: str) -> float:
        return float(self.values["value"].loc[name])

    @property
    def ece(self) -> float:
        """The expected calibration error."""
        return self._value("ece")

    @property
    def nll(self) -> float:
        """The mean negative log-likelihood, in nats."""
        return self._value("nll")

    @property
    def ece_after(self) -> float | None:
        """The expected calibration error at the temperature."""
        return None if self.temperature is None else self._value("ece_after")

    @property
    def nll_after(self) -> float | None:
        """The mean negative log-likelihood at the temperature, in nats."""
        return None if self.temperature is None else self._value("nll_after")

    def to_dict(self) -> dict[str, Any]:
        """The calibration as JSON holds it."""
        return {
            "bins": self.bins.to_dict(orient="records"),
            **{str(name): each for name, each in self.values.to_dict(orient="index").items()},
            "temperature": self.temperature,
            "fitted_on": self.fitted_on,
        }


def calibration(
    predictions: LabelledPredictions,
    after: np.ndarray | None = None,
    *,
    temperature: float | None = None,
    fitted_on: int = 0,
) -> Calibration:
    """The calibration of ``predictions``; ``after`` are their probabilities, N×C, brought to ``temperature``."""
    versions = {"": predictions, "_after": replace(predictions, probabilities=after)}

    def values(draws: np.ndarray) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        rows = draws @ np.bincount(predictions.units)
        for suffix, version in versions.items():
            ece = nll = np.full(len(draws), np.nan)
            if version.probabilities is not None:
                ece = calibration_error(version, draws)
                losses = log_losses(version.probabilities, version.truth)
                nll = draws @ np.bincount(version.units, weights=losses) / rows
            values |= {f"ece{suffix}": ece, f"nll{suffix}": nll}
        return values

    found = bootstrap(values, predictions.count, biased=("ece", "ece_after"))
    scored = predictions.where(np.full(len(predictions), predictions.probabilities is not None))
    return Calibration(
        reliability(scored.confidences, scored.right),
        found.table(("ece", "nll", "ece_after", "nll_after")),
        temperature,
        fitted_on,
    )


def reliability(confidences: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """A row a bin: ``low, high, count, confidence, accuracy``."""
    place = bin_of(confidences)
    count = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights=values, minlength=BINS) for values in (confidences, right)]
    means = [np.divide(total, count, out=np.full(BINS, np.nan), where=count > 0) for total in sums]
    edges = np.arange(BINS + 1) / BINS
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "count": count, "confidence": means[0], "accuracy": means[1]}
    )
