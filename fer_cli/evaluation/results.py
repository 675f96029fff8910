"""What an evaluation came to, and the files it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import fer_cli
from fer_cli.errors import RunError
from fer_cli.evaluation.confusion import confusion_table, draw_confusion
from fer_cli.evaluation.scores import Scores
from fer_cli.files import write_json, written_whole
from fer_cli.protocol import Protocol

METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
CONFUSION_PNG, CONFUSION_CSV = "confusion.png", "confusion.csv"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to.

    ``predictions`` has a row a face: ``file_name, subject, sequence, fold, label, predicted, confidence`` and a
    probability a class, ``p_anger`` and so on. ``path`` is the folder it was written to; ``about`` says in a line whose
    faces these are, under which protocol; ``notes`` are what a reader of the numbers should know. ``folds``, of a
    cross-validation, has a row a fold: ``fold, n, accuracy, unweighted_average_recall, macro_f1``.
    """

    path: Path
    about: str
    scores: Scores
    predictions: pd.DataFrame
    notes: tuple[str, ...]
    folds: pd.DataFrame | None = None

    def over_folds(self, measure: str = "accuracy") -> tuple[float, float]:
        """The mean of a measure over the folds and its deviation (of a sample: n - 1)."""
        return float(self.folds[measure].mean()), float(self.folds[measure].std(ddof=1))


def write(evaluation: Evaluation, *, title: str, protocol: Protocol, facts: Mapping[str, Any]) -> None:
    """Write ``metrics.json`` (with ``facts``), ``predictions.csv``, ``confusion.png`` and ``confusion.csv``.

    Raises :class:`~fer_cli.errors.RunError` if the evaluation's folder cannot be written.
    """
    out, scores, predictions = evaluation.path, evaluation.scores, evaluation.predictions
    shown = f"{title}: {scores.accuracy:.1%} of {len(predictions)}"
    pooled: dict[str, Any] = {}
    if evaluation.folds is not None:
        mean, deviation = evaluation.over_folds()
        shown += f", {mean:.1%} ± {deviation:.1%} over {len(evaluation.folds)} folds"
        pooled = {"over_folds": _over_folds(evaluation), "folds": evaluation.folds.to_dict(orient="records")}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / PREDICTIONS) as beside:
            predictions.to_csv(beside, index=False, float_format="%.6g")
        with written_whole(out / CONFUSION_CSV) as beside:
            confusion_table(scores).to_csv(beside)
        with written_whole(out / CONFUSION_PNG) as beside:
            draw_confusion(scores, beside, title=shown, subtitle=evaluation.about)
        write_json(
            out / METRICS,
            {
                **facts,
                "about": evaluation.about,
                "protocol": protocol.to_dict(),
                "subjects": sorted(predictions["subject"].dropna().unique()),
                **pooled,
                **scores.to_dict(),
                "notes": list(evaluation.notes),
                "fer": fer_cli.__version__,
            },
        )
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", mend="Type --out FOLDER.") from error


def _over_folds(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    measures = {name: evaluation.over_folds(name) for name in ("accuracy", "unweighted_average_recall", "macro_f1")}
    return {name: {"mean": mean, "deviation": deviation} for name, (mean, deviation) in measures.items()}
