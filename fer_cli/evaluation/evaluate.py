"""Evaluation of a run, or of a cross-validation: every fold by the run that has not seen it, then all together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, RunError, UsageError
from fer_cli.evaluation.analysis import NO_ANALYSIS, Analysis, AnalysisOptions, analyze, merge
from fer_cli.evaluation.calibration import Calibration, calibration, tempered
from fer_cli.evaluation.inference import Inference, Neutral, Split, own_dataset, run_inference
from fer_cli.evaluation.leakage import Leakage
from fer_cli.evaluation.metrics import LabelledPredictions, compute_metrics, headline_metrics
from fer_cli.evaluation.report.page import write_report
from fer_cli.evaluation.results import Evaluation, Missing, Provenance, refuse_foreign, write
from fer_cli.evaluation.subgroups import (
    AGREEMENT,
    EXPECTED,
    NO_GAPS,
    by_agreement,
    by_group,
    by_sequence,
    require_votes,
    with_agreement,
)
from fer_cli.files import locked
from fer_cli.labels import in_order
from fer_cli.options import DEFAULT_SESSION, Session
from fer_cli.runs.run import EVALUATION, CrossValidation, Run

#: The temperature of a model (None: it has none), the validation faces it was fitted on, the predictions it is for.
Temperature = tuple[float | None, int, int]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate on, what to compute beyond the metrics, and where to write.

    ``data`` is another prepared dataset than the run's own. ``split`` is the test fold (``test``, the default), the
    validation fold (``val``), all of the dataset (``all``, the default for another), or the part of another dataset
    that has the number of the run's fold. ``out`` is the folder for the results, by default one inside the run.
    ``attributes``, as :func:`~fer_cli.evaluation.subgroups.read_attributes` gives them, ask for metrics by group;
    ``sample_weight`` asks for metrics weighted by the raters' agreement, next to the usual ones. ``neutral`` is what a
    paired model compares a face with: see :func:`~fer_cli.evaluation.inference.run_inference`.
    """

    data: Path | None = None
    split: Split | None = None
    out: Path | None = None
    attributes: pd.DataFrame | None = None
    analysis: AnalysisOptions = field(default_factory=AnalysisOptions)
    sample_weight: Literal["agreement"] | None = None
    neutral: Neutral = "given"


def evaluate(
    trained: Run | CrossValidation, options: EvaluateOptions = EvaluateOptions(), session: Session = DEFAULT_SESSION
) -> Evaluation:
    """Evaluate a run on its test fold, or every run of a cross-validation on its own, pooled.

    Of a cross-validation each sample is tested once, by a model that has not seen it. The metrics are those of all
    predictions together; ``folds`` has those of each. Its runs get evaluations of their own, without the pictures;
    explanations are shared out among the folds, and the map is of the first. Classes are mapped by name; those that
    model or dataset lacks are excluded, with a note. Writes the files of :func:`~fer_cli.evaluation.results.write` and
    the report.

    Raises :class:`~fer_cli.errors.RunError` if the model has seen subjects that it would be tested on (unless the
    session allows it); :class:`~fer_cli.errors.DatasetError` if the dataset is gone or does not have the run's fold, if
    the two have fewer than two classes in common, or if the faces to test on have fewer than two,
    or if they have no votes to weigh them by;
    :class:`~fer_cli.errors.UsageError` if ``out`` has files of somebody else's that would be overwritten, or if a
    cross-validation is to be tested on other data than each run's fold.
    """
    folds = isinstance(trained, CrossValidation)
    if isinstance(trained, CrossValidation):
        _check_folds(trained, options)
    if options.out is not None:
        refuse_foreign(options.out)
    runs = trained.runs if isinstance(trained, CrossValidation) else (trained,)
    if options.sample_weight is not None:
        require_votes(own_dataset(runs[0]) if options.data is None else PreparedDataset.open(options.data))
    inferences = [
        run_inference(run, options.data, split=options.split, neutral=options.neutral, session=session) for run in runs
    ]
    if options.sample_weight is not None:
        inferences = [replace(each, predictions=with_agreement(each.predictions, each.dataset)) for each in inferences]
    _check_labels(inferences)
    analyses = [
        analyze(options.analysis.of_fold(place, len(runs)), each.run, each.dataset, each.predictions, session)
        for place, each in enumerate(inferences)
    ]
    if folds:
        for each, analysis in zip(inferences, analyses, strict=True):
            # A fold of one class cannot be evaluated alone, and still counts in the pool.
            if each.predictions["label"].nunique() > 1:
                own = replace(options, out=None, attributes=None, analysis=AnalysisOptions())
                _finish(each.run, [each], [analysis], own, pictures=False)
    return _finish(trained, inferences, analyses, options, command=session.command)


def _check_folds(trained: CrossValidation, options: EvaluateOptions) -> None:
    if options.data is not None:
        raise UsageError(
            f"{trained.path} is a cross-validation, of which each run is tested on its own fold.",
            hint=f"Type fer evaluate {trained.path / trained.card['folds'][0]} --data {options.data} for one of its "
            "runs.",
        )
    if options.split == "all":
        raise UsageError(
            f"--split all: in {trained.path} each sample would be tested {len(trained.runs)} times, mostly by models "
            "that were trained on it.",
            hint="Type no --split: every sample is tested once, by the model that has not seen it.",
        )


def _check_labels(inferences: Sequence[Inference]) -> None:
    labels = set().union(*(each.predictions["label"] for each in inferences))
    if len(labels) < 2:
        count = sum(len(each.predictions) for each in inferences)
        raise DatasetError(
            f"There is nothing to tell apart: all {count} samples show {labels.pop()} ({inferences[0].about}).",
            hint="Test more folds together: fer train … --cv, then fer evaluate on that folder.",
        )


def _finish(
    trained: Run | CrossValidation,
    inferences: Sequence[Inference],
    analyses: Sequence[Analysis],
    options: EvaluateOptions,
    *,
    command: str = "",
    pictures: bool = True,
) -> Evaluation:
    """Summarize the inferences of one run, or of all folds, and write the results."""
    first, folds = inferences[0], None
    classes, about, protocol = first.classes, first.about, first.dataset.protocol
    leakage = Leakage(
        tuple(sorted({name for each in inferences for name in each.leakage.subjects})),
        sum(each.leakage.pictures for each in inferences),
    )
    if isinstance(trained, CrossValidation):
        classes = in_order(name for each in inferences for name in each.classes)
        folds, protocol = pd.DataFrame([_fold(each) for each in inferences]), trained.protocol
        sides = "every validation fold" if options.split == "val" else "every fold tested"
        about = (
            f"{protocol.name}; {first.run.selection}; {sides} once, pooled{first.views}; neutral "
            f"{first.neutral_access}{leakage.stamp}"
        )
    runs = tuple(each.run for each in inferences)
    predictions = pd.concat([each.predictions for each in inferences], ignore_index=True)
    shares = [f"p_{name}" for name in classes]
    predictions[shares] = predictions[shares].fillna(0.0)
    path = options.out or trained.path / EVALUATION / _folder(first, options)
    # It replaces an earlier one anyway, and so waits for its turn.
    with locked(path, "evaluating into", wait=True):
        evaluation = summarize(
            predictions,
            classes,
            Provenance(trained.name, about, protocol, first.dataset, runs, leakage, command, first.neutral_access),
            path=path,
            notes=tuple(dict.fromkeys([*leakage.notes, *(note for each in inferences for note in _own_notes(each))])),
            temperatures=[(each.temperature, each.fitted_on, len(each.predictions)) for each in inferences],
            folds=folds,
            attributes=options.attributes,
            analysis=merge(analyses),
        )
        write(evaluation, pictures=pictures)
        write_report(evaluation)
    return evaluation


def _own_notes(inference: Inference) -> list[str]:
    return [note for note in inference.notes if note not in inference.leakage.notes]


def _folder(inference: Inference, options: EvaluateOptions) -> str:
    name = "" if options.data is None else inference.dataset.name
    usual = "test" if options.data is None else "all"
    parts = [name, "" if options.split in (None, usual) else options.split]
    access = inference.neutral_access
    parts.append("" if access in ("none", "given") else f"neutral-{access}")
    return "-".join(filter(None, parts))


def summarize(
    predictions: pd.DataFrame,
    classes: tuple[str, ...],
    provenance: Provenance,
    *,
    path: Path,
    notes: Sequence[str] = (),
    temperatures: Sequence[Temperature] = (),
    folds: pd.DataFrame | None = None,
    attributes: pd.DataFrame | None = None,
    analysis: Analysis = NO_ANALYSIS,
    missing: Missing | None = None,
) -> Evaluation:
    """The evaluation of ``predictions``, which are as :class:`~fer_cli.evaluation.results.Evaluation` has them.

    Without probabilities, metrics that need them are NaN.
    Where they say how far the raters agreed, metrics weighted by that come with it.
    ``temperatures`` are those of the models, in the order of their predictions. Raises
    :class:`~fer_cli.errors.RunError` if there are no predictions, and as
    :func:`~fer_cli.evaluation.subgroups.by_group` does.
    """
    if predictions.empty:
        raise RunError(f"There are no predictions to evaluate ({provenance.about}).")
    labelled = LabelledPredictions.of(predictions, classes, with_probabilities=f"p_{classes[0]}" in predictions)
    metrics, per_class = compute_metrics(labelled)
    true, predicted = (pd.Index(classes, name=name) for name in ("true", "predicted"))
    groups, gaps = None, None
    group_notes: tuple[str, ...] = ()
    if attributes is not None:
        groups, gaps, group_notes = by_group(labelled, predictions["subject"], attributes)
    agreement = None
    if AGREEMENT in predictions:
        agreement = by_agreement(labelled, predictions[AGREEMENT].to_numpy(), predictions[EXPECTED].to_numpy())
        groups = agreement.levels if groups is None else pd.concat([groups, agreement.levels], ignore_index=True)
        gaps, group_notes = NO_GAPS if gaps is None else gaps, (*group_notes, *agreement.notes)
    return Evaluation(
        path=path,
        provenance=provenance,
        predictions=predictions,
        notes=(*notes, *_notes(predictions, labelled), *group_notes),
        metrics=metrics,
        per_class=per_class,
        confusion=pd.DataFrame(labelled.confusions().sum(axis=0), true, predicted),
        calibration=_calibration(labelled, temperatures),
        by_sequence=by_sequence(predictions, classes),
        folds=folds,
        groups=groups,
        gaps=gaps,
        agreement=agreement,
        analysis=analysis,
        missing=missing,
    )


def _fold(inference: Inference) -> dict[str, float | None]:
    values = LabelledPredictions.of(inference.predictions, inference.classes).values()
    headline = {metric.name: float(values[metric.name][0]) for metric in headline_metrics()}
    return {
        "fold": inference.run.fold,
        "n": len(inference.predictions),
        **headline,
        "temperature": inference.temperature,
    }


def _calibration(predictions: LabelledPredictions, temperatures: Sequence[Temperature]) -> Calibration:
    fitted = [temperature for temperature, _, _ in temperatures if temperature is not None]
    if predictions.probabilities is None or not fitted or len(fitted) < len(temperatures):
        return calibration(predictions)
    ends = np.cumsum([count for _, _, count in temperatures])
    parts = np.split(predictions.probabilities, ends[:-1])
    after = np.concatenate([tempered(part, temperature) for part, temperature in zip(parts, fitted, strict=True)])
    return calibration(
        predictions,
        after,
        temperature=float(np.exp(np.mean(np.log(fitted)))),
        fitted_on=sum(count for _, count, _ in temperatures),
    )


def _notes(predictions: pd.DataFrame, labelled: LabelledPredictions) -> list[str]:
    """How far the intervals can be trusted."""
    notes = []
    alone = int(predictions["subject"].isna().sum())
    if alone:
        notes.append(f"Of {alone} samples the subject is not known: the intervals count each as another person.")
    if labelled.count < 2:
        notes.append("One subject only: there are no intervals.")
    elif labelled.right.all():
        notes.append(
            f"Not one mistake: the intervals have no width, yet mistakes on up to {min(1, 3 / labelled.count):.0%} of "
            f"people are compatible with none among {labelled.count} (95 %, rule of three)."
        )
    absent = [name for name in labelled.classes if name not in set(predictions["label"])]
    if absent:
        notes.append(f"No sample shows {', '.join(absent)}: the averages over classes are over the others.")
    return notes
