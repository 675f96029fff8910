"""Judging a run: its model on the faces held out from it, or on another prepared dataset."""

from pathlib import Path
from typing import Any

import pandas as pd

from fer_cli.errors import DatasetError
from fer_cli.evaluation.insight import NO_INSIGHT, NOTHING_ASKED, Asked, Insight, look_into
from fer_cli.evaluation.judge import judge
from fer_cli.evaluation.predicted import Predicted, Split, predict_rows
from fer_cli.evaluation.report.page import write_report
from fer_cli.evaluation.results import Evaluation, refuse_foreign, write
from fer_cli.files import locked
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import EVALUATION, Run


def evaluate(
    run: Run,
    data: Path | None = None,
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
    """Evaluate ``run`` on its test fold, or on all of the prepared dataset at ``data``.

    ``split`` asks for the validation fold (``val``), all of the run's own dataset (``all``), or the part of another
    dataset that has the number of the run's fold. Classes are mapped by name; those that model or dataset lacks are
    left out, with a note. ``attributes``, as :func:`~fer_cli.evaluation.attributes.read_attributes` gives them, ask for
    measures by group; ``asked`` says what else to look into. Writes the files of
    :func:`~fer_cli.evaluation.results.write` and the report into ``out``, by default a folder inside the run;
    ``command`` is what the person typed, for the report.

    Raises :class:`~fer_cli.errors.RunError` if the model has seen subjects that it would be tested on (unless
    ``allow_seen``); :class:`~fer_cli.errors.DatasetError` if the dataset is gone or does not have the run's fold, if
    the two have fewer than two classes in common, or if the faces to test on show fewer than two;
    :class:`~fer_cli.errors.UsageError` if ``out`` has files of somebody else's that would be overwritten.
    """
    if out is not None:
        refuse_foreign(out)
    found = predict_rows(run, data, split=split, device=device, allow_seen=allow_seen, progress=progress)
    labels = sorted(found.predictions["label"].unique())
    if len(labels) < 2:
        raise DatasetError(
            f"There is nothing to tell apart: all {len(found.predictions)} samples show {labels[0]} ({found.about}).",
            hint="Test more folds together: fer train … --cv, then fer evaluate on that folder.",
        )
    insight = look_into(asked, run, found.dataset, found.predictions, device=device, progress=progress)
    folder = out or run.path / EVALUATION / _folder(found, data, split)
    # It replaces an earlier one anyway, and so waits for its turn.
    with locked(folder, "evaluating into", wait=True):
        return judged(found, folder, attributes, insight=insight, command=command)


def judged(
    found: Predicted,
    out: Path,
    attributes: pd.DataFrame | None = None,
    *,
    insight: Insight = NO_INSIGHT,
    command: str = "",
    pictures: bool = True,
) -> Evaluation:
    """What the predictions of one run come to, written into ``out``."""
    evaluation = judge(
        found.predictions,
        found.classes,
        path=out,
        about=found.about,
        notes=found.notes,
        temperatures=[(found.temperature, found.fitted_on, len(found.predictions))],
        attributes=attributes,
        insight=insight,
    )
    write(
        evaluation,
        title=found.run.name,
        protocol=found.dataset.protocol,
        facts={"run": found.run.name, **facts(found)},
        pictures=pictures,
    )
    write_report(evaluation, [found.run], found.dataset, title=found.run.name, known=found.known, command=command)
    return evaluation


def facts(found: Predicted) -> dict[str, Any]:
    """What ``metrics.json`` says of where the numbers come from."""
    return {
        "dataset": found.dataset.name,
        "corpus": found.dataset.card["corpus"],
        "fingerprint": found.dataset.fingerprint,
        "epoch_rule": found.run.card["epoch_rule"],
        "insisted_on": list(found.known.subjects),
        "insisted_on_pictures": found.known.pictures,
    }


def _folder(found: Predicted, data: Path | None, split: Split | None) -> str:
    name = "" if data is None else found.dataset.name
    usual = "test" if data is None else "all"
    return name if split in (None, usual) else f"{name}-{split}".strip("-")
