"""How well predictions agree with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)


@dataclass(frozen=True)
class Scores:
    """The scores of N predictions, all as scikit-learn defines them.

    ``recall`` is the unweighted average recall (UAR, or balanced accuracy) over the classes that the truth holds;
    ``macro_f1`` the mean F1 over those that truth or predictions hold. ``confusion`` counts, by row the true class and
    by column the predicted one, in the order of ``classes``. ``per_class`` has a row a class: precision, recall, f1
    and support, NaN where a class has neither examples nor predictions to tell by.
    """

    classes: tuple[str, ...]
    accuracy: float
    recall: float
    macro_f1: float
    confusion: np.ndarray
    per_class: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON holds them."""
        per_class = self.per_class.astype(object).where(self.per_class.notna(), None)
        return {
            "n": int(self.confusion.sum()),
            "accuracy": self.accuracy,
            "unweighted_average_recall": self.recall,
            "macro_f1": self.macro_f1,
            "per_class": per_class.to_dict(orient="index"),
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


def score(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> Scores:
    """Compare N true class names with N predicted ones.

    >>> score(["fear", "fear", "surprise"], ["fear", "surprise", "surprise"], ["fear", "surprise"]).recall
    0.75

    Raises ``ValueError`` if there are none, their numbers differ, or a name is not among ``classes``.
    """
    truth, predicted, classes = list(truth), list(predicted), tuple(classes)
    strange = {*truth, *predicted}.difference(classes)
    if strange:
        raise ValueError(f"not among the classes: {', '.join(sorted(strange))}")
    if not truth or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true labels and {len(predicted)} predictions cannot be compared")
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=classes, zero_division=np.nan
    )
    per_class = pd.DataFrame(
        {"precision": precision, "recall": recall, "f1": f1, "support": support.astype(int)}, index=list(classes)
    )
    held = [name for name in classes if name in truth]
    return Scores(
        classes,
        accuracy=float(accuracy_score(truth, predicted)),
        recall=float(per_class.loc[held, "recall"].mean()),
        macro_f1=float(f1_score(truth, predicted, average="macro")),
        confusion=confusion_matrix(truth, predicted, labels=classes),
        per_class=per_class,
    )
