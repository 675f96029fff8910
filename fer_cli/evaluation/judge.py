"""From predictions to an evaluation: every measure by frame, by sequence, by class and by group."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_cli.errors import RunError
from fer_cli.evaluation.answers import Answers, calibrated, measured
from fer_cli.evaluation.calibration import Calibration, tempered
from fer_cli.evaluation.groups import by_group
from fer_cli.evaluation.insight import NO_INSIGHT, Insight
from fer_cli.evaluation.results import Evaluation
from fer_cli.evaluation.scores import score
from fer_cli.evaluation.sequences import by_sequence


def judge(
    predictions: pd.DataFrame,
    classes: tuple[str, ...],
    *,
    path: Path,
    about: str,
    notes: Sequence[str],
    temperatures: Sequence[tuple[float | None, int, int]] = (),
    folds: pd.DataFrame | None = None,
    attributes: pd.DataFrame | None = None,
    insight: Insight = NO_INSIGHT,
) -> Evaluation:
    """The evaluation of ``predictions``, which are as :class:`~fer_cli.evaluation.results.Evaluation` has them.

    ``temperatures`` are those of the models, in the order of their predictions: each with the number of validation
    faces it was fitted on and the number of predictions it is for. Raises :class:`~fer_cli.errors.RunError` if there
    are no predictions, and as :func:`~fer_cli.evaluation.groups.by_group` does.
    """
    if predictions.empty:
        raise RunError(f"There are no predictions to judge ({about}).")
    answers = Answers.of(predictions, classes)
    measures, per_class = measured(answers)
    groups, gaps, more = (None, None, ())
    if attributes is not None:
        groups, gaps, more = by_group(answers, predictions["subject"], attributes)
    return Evaluation(
        path=path,
        about=about,
        scores=score(predictions["label"], predictions["predicted"], classes),
        predictions=predictions,
        notes=(*notes, *_notes(predictions, answers), *more),
        folds=folds,
        measures=measures,
        per_class_intervals=per_class,
        by_sequence=by_sequence(predictions, classes),
        calibration=_calibration(answers, temperatures),
        groups=groups,
        gaps=gaps,
        insight=insight,
    )


def _calibration(answers: Answers, temperatures: Sequence[tuple[float | None, int, int]]) -> Calibration:
    known = [temperature for temperature, _, _ in temperatures if temperature is not None]
    if not known or len(known) < len(temperatures):
        return calibrated(answers)
    ends = np.cumsum([count for _, _, count in temperatures])
    parts = np.split(answers.probabilities, ends[:-1])
    after = np.concatenate([tempered(part, temperature) for part, temperature in zip(parts, known, strict=True)])
    return calibrated(
        answers,
        after,
        temperature=float(np.exp(np.mean(np.log(known)))),
        fitted_on=sum(count for _, count, _ in temperatures),
    )


def _notes(predictions: pd.DataFrame, answers: Answers) -> list[str]:
    """How far the intervals can be trusted."""
    notes = []
    alone = int(predictions["subject"].isna().sum())
    if alone:
        notes.append(
            f"Of {alone} samples the subject is not known: the intervals take each of them for another person."
        )
    if answers.count < 2:
        notes.append("One subject only: there are no intervals.")
    elif answers.right.all():
        notes.append(
            f"Not one mistake: the intervals have no width, yet mistakes on up to {min(1, 3 / answers.count):.0%} of "
            f"people are compatible with none among {answers.count} (95 %, rule of three)."
        )
    absent = [name for name in answers.classes if name not in set(predictions["label"])]
    if absent:
        notes.append(f"No sample shows {', '.join(absent)}: the averages over classes are over the others.")
    return notes
