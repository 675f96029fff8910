"""What an evaluation came to, and the files it leaves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import fer_cli
from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.bootstrap import LEVEL, REPETITIONS, SEED
from fer_cli.evaluation.calibration import BINS, Calibration
from fer_cli.evaluation.confusion import confusion_table, draw_confusion
from fer_cli.evaluation.figures import save
from fer_cli.evaluation.insight import NO_INSIGHT, Insight
from fer_cli.evaluation.reliability import draw_reliability
from fer_cli.evaluation.scores import Scores
from fer_cli.files import open_regular, read_json, remove_abandoned, write_json, written_whole
from fer_cli.protocol import Protocol
from fer_cli.runs.run import REPORT

METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
#: The stems of the matrices, each as PNG, SVG and CSV: counts, and shares of each true class.
CONFUSION, NORMALISED = "confusion", "confusion-normalised"
RELIABILITY = "reliability"
GROUPS, GAPS = "groups.csv", "gaps.csv"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to.

    ``predictions`` has a row a face: ``file_name, subject, sequence, fold, label, predicted, confidence`` and a
    probability a class, ``p_anger`` and so on. ``path`` is the folder it was written to; ``about`` says in a line whose
    faces these are, under which protocol and epoch rule; ``notes`` are what a reader of the numbers should know.
    ``folds``, of a cross-validation, has a row a fold: ``fold, n, accuracy, unweighted_average_recall, macro_f1,
    temperature``.

    ``measures`` and ``per_class_intervals`` are as :func:`~fer_cli.evaluation.answers.measured` gives them, by frame;
    ``by_sequence`` has tables like ``measures`` by the rules ``average`` and ``vote``, and is empty where no sequence
    has more than one frame. ``groups`` and ``gaps``, where asked for, are as
    :func:`~fer_cli.evaluation.groups.by_group` gives them; ``insight`` is what else was asked for.
    """

    path: Path
    about: str
    scores: Scores
    predictions: pd.DataFrame
    notes: tuple[str, ...]
    measures: pd.DataFrame
    per_class_intervals: pd.DataFrame
    calibration: Calibration
    by_sequence: dict[str, pd.DataFrame] = field(default_factory=dict)
    folds: pd.DataFrame | None = None
    groups: pd.DataFrame | None = None
    gaps: pd.DataFrame | None = None
    insight: Insight = NO_INSIGHT

    def over_folds(self, measure: str = "accuracy") -> tuple[float, float]:
        """The mean of a measure over the folds and its deviation (of a sample: n - 1)."""
        return float(self.folds[measure].mean()), float(self.folds[measure].std(ddof=1))


def refuse_foreign(out: Path) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` if the folder ``out`` has such files that no evaluation wrote.

    An evaluation replaces an earlier one, also one that broke off before its end, and nothing else: ``predictions.csv``
    may well be somebody's.
    """
    if not any((out / name).exists() for name in (METRICS, PREDICTIONS, REPORT)) or "about" in _before(out):
        return
    if not (out / METRICS).exists() and _is_predictions(out / PREDICTIONS):
        return
    named = f"{METRICS}, {PREDICTIONS} or {REPORT}"
    raise UsageError(f"{out} has a {named} that is not an evaluation's.", mend="Type another --out.")


def _is_predictions(path: Path) -> bool:
    """Whether it begins as the first file that an evaluation writes does."""
    try:
        with open_regular(path) as file:
            return file.read(100).startswith(b"file_name,subject,sequence,fold,label,predicted,confidence,p_")
    except OSError:
        return False


def _before(out: Path) -> dict[str, Any]:
    """What an earlier evaluation wrote there; empty if none did."""
    try:
        card = read_json(out / METRICS)
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def write(
    evaluation: Evaluation, *, title: str, protocol: Protocol, facts: Mapping[str, Any], pictures: bool = True
) -> None:
    """Write ``metrics.json`` (with ``facts``), ``predictions.csv``, and matrices and reliability as pictures and CSV.

    By group, ``groups.csv`` and ``gaps.csv`` too; without ``pictures`` only what is no picture. Raises
    :class:`~fer_cli.errors.RunError` if the evaluation's folder cannot be written.
    """
    out, scores = evaluation.path, evaluation.scores
    tables = {
        PREDICTIONS: (evaluation.predictions, False),
        f"{CONFUSION}.csv": (confusion_table(scores), True),
        f"{NORMALISED}.csv": (confusion_table(scores, normalised=True), True),
        f"{RELIABILITY}.csv": (evaluation.calibration.bins, False),
    }
    if evaluation.groups is not None:
        tables |= {GROUPS: (evaluation.groups, False), GAPS: (evaluation.gaps, False)}
    words = {"title": _headline(evaluation, title), "subtitle": evaluation.about}
    try:
        if evaluation.groups is None and "groups" in _before(out):
            for name in (GROUPS, GAPS):
                (out / name).unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out)
        for name, (table, index) in tables.items():
            with written_whole(out / name) as beside:
                table.to_csv(beside, index=index, float_format="%.6g")
        if pictures:
            save(draw_confusion(scores, **words), out, CONFUSION)
            save(draw_confusion(scores, normalised=True, **words), out, NORMALISED)
            save(draw_reliability(evaluation.calibration, **words), out, RELIABILITY)
        write_json(out / METRICS, _storable({**facts, **_stored(evaluation, protocol)}))
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", mend="Type --out FOLDER.") from error


def _headline(evaluation: Evaluation, title: str) -> str:
    value, low, high = evaluation.measures.loc["accuracy"]
    between = f" [{low:.1%}, {high:.1%}]" if not math.isnan(low) else ""
    shown = f"{title}: {value:.1%}{between} of {len(evaluation.predictions)}"
    if evaluation.folds is not None:
        mean, deviation = evaluation.over_folds()
        shown += f", {mean:.1%} ± {deviation:.1%} over {len(evaluation.folds)} folds"
    return shown


def _stored(evaluation: Evaluation, protocol: Protocol) -> dict[str, Any]:
    pooled: dict[str, Any] = {}
    if evaluation.folds is not None:
        pooled = {"over_folds": _over_folds(evaluation), "folds": evaluation.folds.to_dict(orient="records")}
    by_sequence = {rule: table.to_dict(orient="index") for rule, table in evaluation.by_sequence.items()}
    scores = evaluation.scores.to_dict()
    intervals = evaluation.per_class_intervals.filter(regex="_(low|high)$").to_dict(orient="index")
    per_class = {name: {**row, **intervals[name]} for name, row in scores["per_class"].items()}
    grouped: dict[str, Any] = {}
    if evaluation.groups is not None:
        grouped = {
            "groups": evaluation.groups.to_dict(orient="records"),
            "gaps": evaluation.gaps.to_dict(orient="records"),
        }
    return {
        "about": evaluation.about,
        "protocol": protocol.to_dict(),
        "subjects": sorted(evaluation.predictions["subject"].dropna().unique()),
        "bootstrap": {"over": "subjects", "repetitions": REPETITIONS, "seed": SEED, "level": LEVEL},
        **pooled,
        **scores,
        "per_class": per_class,
        "measures": evaluation.measures.to_dict(orient="index"),
        "by_sequence": by_sequence,
        "calibration": {"ece_bins": BINS, **evaluation.calibration.to_dict()},
        **grouped,
        **evaluation.insight.to_dict(),
        "notes": list(evaluation.notes),
        "fer": fer_cli.__version__,
    }


def _over_folds(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    measures = {name: evaluation.over_folds(name) for name in ("accuracy", "unweighted_average_recall", "macro_f1")}
    return {name: {"mean": mean, "deviation": deviation} for name, (mean, deviation) in measures.items()}


def _storable(value: Any) -> Any:
    """The value with None for NaN, which JSON does not know, and plain numbers for numpy's."""
    if isinstance(value, Mapping):
        return {key: _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
