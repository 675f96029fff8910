"""Whether a probability of 0.8 is right eight times in ten, and one number that makes it more so.

Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

#: Bins of equal width for the confidence, as in the paper.
BINS = 15

#: Temperatures outside are not looked for: a validation fold without a mistake has no best one.
COLDEST, HOTTEST = 0.05, 20.0

_LEAST = 1e-12


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy agree.

    ``bins`` has a row a bin of confidence: ``low, high, count, confidence, accuracy`` (the last two are means, NaN in
    an empty bin). ``figures`` has the rows ``ece``, ``nll``, ``ece_after`` and ``nll_after`` and the columns ``value``,
    ``low`` and ``high``: expected calibration error and mean negative log-likelihood, before and after the
    probabilities are brought to ``temperature``, which was fitted on ``fitted_on`` validation faces and never on those
    tested; NaN and None where there are none. Of a cross-validation each fold has a temperature of its own, fitted on
    its own validation fold, and ``temperature`` is their geometric mean.
    """

    bins: pd.DataFrame
    figures: pd.DataFrame
    temperature: float | None = None
    fitted_on: int = 0

    @property
    def ece(self) -> float:
        """The expected calibration error."""
        return float(self.figures.loc["ece", "value"])

    @property
    def nll(self) -> float:
        """The mean negative log-likelihood, in nats."""
        return float(self.figures.loc["nll", "value"])

    @property
    def ece_after(self) -> float | None:
        """The expected calibration error at the temperature."""
        return None if self.temperature is None else float(self.figures.loc["ece_after", "value"])

    @property
    def nll_after(self) -> float | None:
        """The mean negative log-likelihood at the temperature, in nats."""
        return None if self.temperature is None else float(self.figures.loc["nll_after", "value"])

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {
            "bins": self.bins.to_dict(orient="records"),
            **self.figures.to_dict(orient="index"),
            "temperature": self.temperature,
            "fitted_on": self.fitted_on,
        }


def bin_of(confidences: np.ndarray) -> np.ndarray:
    """The bin, from 0, of each confidence; a bin holds its upper edge."""
    return np.clip(np.ceil(np.asarray(confidences, dtype=float) * BINS).astype(int) - 1, 0, BINS - 1)


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


def gaps_by_unit(confidences: np.ndarray, right: np.ndarray, units: np.ndarray, count: int) -> np.ndarray:
    """For each of ``count`` units, U×:data:`BINS`, the sum of (right - confidence) of its rows in each bin.

    The expected calibration error of any weighting of the units is the sum over bins of the absolute weighted sums,
    over the number of rows.
    """
    place = units * BINS + bin_of(confidences)
    sums = np.bincount(place, weights=np.asarray(right, dtype=float) - confidences, minlength=count * BINS)
    return sums.reshape(count, BINS)


def log_losses(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The negative logarithm, N, of what N×C probabilities give the true classes."""
    return -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _LEAST))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """N×C probabilities as the softmax would have given them with the logits divided by ``temperature``."""
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=float), _LEAST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature at which N×C ``probabilities`` make the N true class indices likeliest.

    It is looked for between :data:`COLDEST` and :data:`HOTTEST`.
    """

    def loss(log_temperature: float) -> float:
        return float(log_losses(tempered(probabilities, np.exp(log_temperature)), truth).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
