"""Judging a cross-validation: every fold by the run that has not seen it, then all of them together."""

from pathlib import Path

import pandas as pd

from fer_cli.evaluation.evaluate import evaluate, insisted
from fer_cli.evaluation.results import Evaluation, write
from fer_cli.evaluation.scores import score
from fer_cli.labels import EXPRESSIONS
from fer_cli.progress import Progress, silent
from fer_cli.runs.cross_validation import CrossValidation
from fer_cli.runs.run import EVALUATION


def evaluate_folds(
    cross_validation: CrossValidation,
    *,
    out: Path | None = None,
    device: str = "auto",
    allow_seen: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluate each run on its test fold, and pool: each sample is tested once, by a model that has not seen it.

    The scores are those of all predictions together; ``folds`` has those of each. Writes what
    :func:`~fer_cli.evaluation.evaluate.evaluate` writes, into ``out``, by default a folder inside the
    cross-validation; raises as it does.
    """
    runs = cross_validation.runs
    each = [evaluate(run, device=device, allow_seen=allow_seen, progress=progress) for run in runs]
    predictions = pd.concat([evaluation.predictions for evaluation in each], ignore_index=True)
    classes = {name for run in runs for name in run.card["classes"]}
    known = sorted({name for run in runs for name in run.card.get("insisted_on", [])})
    protocol = cross_validation.protocol
    evaluation = Evaluation(
        path=out or cross_validation.path / EVALUATION,
        about=f"{protocol.name}; every fold tested once, pooled{insisted(known)}",
        scores=score(predictions["label"], predictions["predicted"], [name for name in EXPRESSIONS if name in classes]),
        predictions=predictions,
        notes=tuple(dict.fromkeys(note for evaluation in each for note in evaluation.notes)),
        folds=pd.DataFrame([_row(run.fold, evaluation) for run, evaluation in zip(runs, each, strict=True)]),
    )
    facts = {
        "cross_validation": cross_validation.name,
        "epoch_rule": runs[0].card["epoch_rule"],
        "insisted_on": known,
    }
    write(evaluation, title=cross_validation.name, protocol=protocol, facts=facts)
    return evaluation


def _row(fold: int, evaluation: Evaluation) -> dict[str, float]:
    scores = evaluation.scores
    return {
        "fold": fold,
        "n": len(evaluation.predictions),
        "accuracy": scores.accuracy,
        "unweighted_average_recall": scores.recall,
        "macro_f1": scores.macro_f1,
    }
