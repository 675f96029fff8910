"""Judging a run: its model on the faces held out from it, or on another prepared dataset."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops, Faces
from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation.confusion import confusion_table, draw_confusion
from fer_cli.evaluation.scores import Scores, score
from fer_cli.files import write_json, written_whole
from fer_cli.models.classifier import Classifier
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import EVALUATION, Run, overlap

METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
CONFUSION_PNG, CONFUSION_CSV = "confusion.png", "confusion.csv"
BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to.

    ``predictions`` has a row a face: ``file_name, subject, sequence, fold, label, predicted, confidence`` and a
    probability a class, ``p_anger`` and so on. ``path`` is the folder it was written to; ``about`` says in a line whose
    faces these are, under which protocol; ``notes`` are what a reader of the numbers should know.
    """

    path: Path
    about: str
    scores: Scores
    predictions: pd.DataFrame
    notes: tuple[str, ...]


def evaluate(
    run: Run,
    data: Path | None = None,
    *,
    out: Path | None = None,
    device: str = "auto",
    allow_seen: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluate ``run`` on its test fold, or on all of the prepared dataset at ``data``.

    Writes ``metrics.json``, ``predictions.csv``, ``confusion.png`` and ``confusion.csv`` into ``out``, by default a
    folder inside the run. Raises :class:`~fer_cli.errors.RunError` if the model has seen subjects that it would be
    tested on (unless ``allow_seen``), :class:`~fer_cli.errors.DatasetError` if the dataset is gone or does not fit.
    """
    dataset = _dataset(run, data)
    classifier = Classifier.load(run.path, device)
    rows = (
        dataset.samples(paired=classifier.paired)
        if data is not None
        else dataset.split(run.fold, paired=classifier.paired)["test"]
    )
    _check(run, dataset, rows, classifier.classes, allow_seen=allow_seen)
    probabilities = _probabilities(classifier, dataset, rows, progress)
    predictions = _table(rows, probabilities, classifier.classes)
    scores = score(predictions["label"], predictions["predicted"], classifier.classes)
    about = f"{dataset.protocol.name}; {_which(dataset, run, whole=data is not None)}"
    notes = _notes(run, dataset, classifier)
    out = out or run.path / EVALUATION / (dataset.name if data is not None else "")
    _write(out, run, dataset, scores, predictions, about, notes)
    return Evaluation(out, about, scores, predictions, notes)


def _which(dataset: PreparedDataset, run: Run, *, whole: bool) -> str:
    if whole:
        return "every fold" if dataset.protocol.folds else "every picture"
    return f"test fold {run.fold}" if dataset.protocol.folds else "the owners' split"


def _dataset(run: Run, data: Path | None) -> PreparedDataset:
    if data is not None:
        return PreparedDataset.open(data)
    path = Path(run.card["dataset"]["path"])
    if not path.is_dir():
        raise DatasetError(
            f"The dataset that {run.path} was trained on is no longer at {path}.",
            mend="Type --data FOLDER with where it is now; its subjects are checked against those trained on.",
        )
    return PreparedDataset.open(path)


def _check(run: Run, dataset: PreparedDataset, rows: pd.DataFrame, classes: tuple[str, ...], *, allow_seen: bool):
    unknown = sorted(set(rows["label"]).difference(classes))
    if unknown:
        raise DatasetError(
            f"{dataset.path} shows {', '.join(unknown)}, which the model of {run.path} does not know.",
            mend=f"Prepare it with --classes {','.join(classes)}.",
        )
    known = overlap(run.seen, dataset.card["corpus"], set(rows["subject"].dropna()))
    if known and not allow_seen:
        shown = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
        raise RunError(
            f"{run.path} was trained on {len(known)} of the {dataset.card['corpus']} subjects in this test ({shown}): "
            "the accuracy would be that of faces it knows.",
            mend="fer evaluate without --data tests the fold it has not seen. If these are other people of the same "
            "names, type --allow-seen.",
        )


def _probabilities(
    classifier: Classifier, dataset: PreparedDataset, rows: pd.DataFrame, progress: Progress
) -> np.ndarray:
    index = {name: place for place, name in enumerate(classifier.classes)}
    faces = Faces(rows, Crops(dataset.path), index, paired=classifier.paired)
    parts = []
    for batch in DataLoader(faces, batch_size=BATCH):
        parts.append(classifier.probabilities(batch["pixel_values"], batch.get("neutral_pixel_values")))
        progress("evaluating", sum(map(len, parts)), len(faces))
    return np.concatenate(parts)


def _table(rows: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    table = rows[["file_name", "subject", "sequence", "fold", "label"]].reset_index(drop=True)
    table["predicted"] = [classes[place] for place in probabilities.argmax(axis=1)]
    table["confidence"] = probabilities.max(axis=1)
    for place, name in enumerate(classes):
        table[f"p_{name}"] = probabilities[:, place]
    return table


def _notes(run: Run, dataset: PreparedDataset, classifier: Classifier) -> tuple[str, ...]:
    notes = []
    if dataset.path.resolve() == Path(run.card["dataset"]["path"]) and (
        dataset.fingerprint != run.card["dataset"]["fingerprint"]
    ):
        notes.append(f"{dataset.path} has changed since the training.")
    crop = classifier.preprocessing.face_crop
    if dataset.crop["margin"] != crop.get("margin"):
        notes.append(
            f"The crops have a margin of {dataset.crop['margin']}, those trained on {crop.get('margin')}: "
            "expect a lower accuracy than with the same crops."
        )
    return tuple(notes)


def _write(
    out: Path,
    run: Run,
    dataset: PreparedDataset,
    scores: Scores,
    predictions: pd.DataFrame,
    about: str,
    notes: tuple[str, ...],
) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / PREDICTIONS) as beside:
            predictions.to_csv(beside, index=False, float_format="%.6g")
        with written_whole(out / CONFUSION_CSV) as beside:
            confusion_table(scores).to_csv(beside)
        with written_whole(out / CONFUSION_PNG) as beside:
            draw_confusion(
                scores, beside, title=f"{run.name}: {scores.accuracy:.1%} of {len(predictions)}", subtitle=about
            )
        write_json(
            out / METRICS,
            {
                "run": run.name,
                "dataset": dataset.name,
                "about": about,
                "protocol": dataset.protocol.to_dict(),
                "epoch_rule": run.card["epoch_rule"],
                "subjects": sorted(predictions["subject"].dropna().unique()),
                **scores.to_dict(),
                "notes": list(notes),
                "fer": fer_cli.__version__,
            },
        )
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", mend="Type --out FOLDER.") from error
