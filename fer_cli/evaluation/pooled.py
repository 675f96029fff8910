"""Judging a cross-validation: every fold by the run that has not seen it, then all of them together."""

from pathlib import Path

import pandas as pd

from fer_cli.errors import UsageError
from fer_cli.evaluation.evaluate import facts, judged
from fer_cli.evaluation.insight import NOTHING_ASKED, Asked, look_into, together
from fer_cli.evaluation.judge import judge
from fer_cli.evaluation.known import Known
from fer_cli.evaluation.predicted import Predicted, Split, predict_rows
from fer_cli.evaluation.report.page import write_report
from fer_cli.evaluation.results import Evaluation, refuse_foreign, write
from fer_cli.evaluation.scores import score
from fer_cli.files import locked
from fer_cli.labels import in_order
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import EVALUATION, CrossValidation


def evaluate_folds(
    cross_validation: CrossValidation,
    *,
    split: Split | None = None,
    out: Path | None = None,
    device: str = "auto",
    allow_seen: bool = False,
    attributes: pd.DataFrame | None = None,
    asked: Asked = NOTHING_ASKED,
    command: str = "",
    progress: Progress = silent,
) -> Evaluation:
    """Evaluate each run on its test fold, and pool: each sample is tested once, by a model that has not seen it.

    The scores are those of all predictions together; ``folds`` has those of each. ``split`` may ask for the validation
    folds instead. The explanations ``asked`` for are shared out among the folds, and the map is of the first. Writes
    what :func:`~fer_cli.evaluation.evaluate.evaluate` writes, into ``out``, by default a folder inside the
    cross-validation, and each fold's own, without the pictures, into its run; raises as it does.
    """
    if split == "all":
        raise UsageError(
            f"--split all: in {cross_validation.path} each sample would be tested {len(cross_validation.runs)} times, "
            "mostly by models that know it.",
            hint="Leave --split out: every sample is tested once, by the model that has not seen it.",
        )
    if out is not None:
        refuse_foreign(out)
    runs = cross_validation.runs
    each = [predict_rows(run, split=split, device=device, allow_seen=allow_seen, progress=progress) for run in runs]
    insights = [
        look_into(
            asked.of_fold(place, len(each)),
            found.run,
            found.dataset,
            found.predictions,
            device=device,
            progress=progress,
        )
        for place, found in enumerate(each)
    ]
    for found, insight in zip(each, insights, strict=True):
        # A fold of one class has nothing to judge by itself, and its part in the whole.
        if found.predictions["label"].nunique() > 1:
            folder = found.run.path / EVALUATION / _folder(split)
            with locked(folder, "evaluating into", wait=True):
                judged(found, folder, insight=insight, pictures=False)
    classes = in_order(name for found in each for name in found.classes)
    predictions = pd.concat([found.predictions for found in each], ignore_index=True)
    shares = [f"p_{name}" for name in classes]
    predictions[shares] = predictions[shares].fillna(0.0)
    known = Known(
        tuple(sorted({name for found in each for name in found.known.subjects})),
        sum(found.known.pictures for found in each),
    )
    protocol = cross_validation.protocol
    sides = "every validation fold" if split == "val" else "every fold tested"
    evaluation = judge(
        predictions,
        classes,
        path=out or cross_validation.path / EVALUATION / _folder(split),
        about=f"{protocol.name}; epoch by {runs[0].card['epoch_rule']}; {sides} once, pooled{known.stamp}",
        notes=tuple(dict.fromkeys([*known.notes, *(note for found in each for note in _own_notes(found))])),
        temperatures=[(found.temperature, found.fitted_on, len(found.predictions)) for found in each],
        folds=pd.DataFrame([_row(found) for found in each]),
        attributes=attributes,
        insight=together(insights),
    )
    about = {**facts(each[0]), "insisted_on": list(known.subjects), "insisted_on_pictures": known.pictures}
    title, dataset = cross_validation.name, each[0].dataset
    with locked(evaluation.path, "evaluating into", wait=True):
        write(evaluation, title=title, protocol=protocol, facts={"cross_validation": title, **about})
        write_report(evaluation, runs, dataset, title=title, known=known, command=command)
    return evaluation


def _folder(split: Split | None) -> str:
    return "val" if split == "val" else ""


def _own_notes(found: Predicted) -> list[str]:
    return [note for note in found.notes if note not in found.known.notes]


def _row(found: Predicted) -> dict[str, float]:
    scores = score(found.predictions["label"], found.predictions["predicted"], found.classes)
    return {
        "fold": found.run.fold,
        "n": len(found.predictions),
        "accuracy": scores.accuracy,
        "unweighted_average_recall": scores.recall,
        "macro_f1": scores.macro_f1,
        "temperature": found.temperature,
    }
