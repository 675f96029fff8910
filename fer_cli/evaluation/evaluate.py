"""Judging a run: its model on the faces held out from it, or on another prepared dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.inputs import Collator, embed_frozen, model_inputs
from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation.results import Evaluation, write
from fer_cli.evaluation.scores import score
from fer_cli.models.classifier import Classifier
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import EVALUATION, Run, names, overlap

BATCH = 32


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
    rows = dataset.samples(paired=classifier.paired) if data is not None else held_out_rows(run, dataset, classifier)
    known = _check(run, dataset, rows, classifier.classes, allow_seen=allow_seen)
    predictions = _table(rows, _probabilities(classifier, dataset, rows, progress), classifier.classes)
    evaluation = Evaluation(
        path=out or run.path / EVALUATION / (dataset.name if data is not None else ""),
        about=f"{dataset.protocol.name}; {_which(dataset, run, whole=data is not None)}" + insisted(known),
        scores=score(predictions["label"], predictions["predicted"], classifier.classes),
        predictions=predictions,
        notes=(*_seen_note(known), *_notes(run, dataset, classifier)),
    )
    facts = {"run": run.name, "dataset": dataset.name, "epoch_rule": run.card["epoch_rule"], "insisted_on": known}
    write(evaluation, title=run.name, protocol=dataset.protocol, facts=facts)
    return evaluation


def held_out_rows(run: Run, dataset: PreparedDataset, classifier: Classifier) -> pd.DataFrame:
    """The rows of the run's test fold, chosen as its training chose them."""
    paired = classifier.paired or bool(run.card["recipe"].get("pairs_only"))
    return dataset.split(run.fold, paired=paired)["test"]


def insisted(known: list[str]) -> str:
    """What every report of a test on subjects that the model knows says of itself."""
    return f"; TESTED ON {len(known)} SUBJECTS THAT THE MODEL WAS TRAINED ON" if known else ""


def _seen_note(known: list[str]) -> tuple[str, ...]:
    if not known:
        return ()
    return (f"The model was trained on subjects of this test ({names(known)}), which was insisted on.",)


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


def _check(
    run: Run, dataset: PreparedDataset, rows: pd.DataFrame, classes: tuple[str, ...], *, allow_seen: bool
) -> list[str]:
    """The subjects of the test that the model has seen, which only a person who insists is shown."""
    unknown = sorted(set(rows["label"]).difference(classes))
    if unknown:
        raise DatasetError(
            f"{dataset.path} shows {', '.join(unknown)}, which the model of {run.path} does not know.",
            mend=f"Prepare it with --classes {','.join(classes)}.",
        )
    known = overlap(run.seen, dataset.card["corpus"], set(rows["subject"].dropna()))
    if known and not allow_seen:
        raise RunError(
            f"{run.path} was trained on {len(known)} of the {dataset.card['corpus']} subjects in this test "
            f"({names(known)}): the accuracy would be that of faces it knows.",
            mend="fer evaluate without --data tests the fold it has not seen. If these are other people of the same "
            "names, type --allow-seen-subjects.",
        )
    return known


def _probabilities(
    classifier: Classifier, dataset: PreparedDataset, rows: pd.DataFrame, progress: Progress
) -> np.ndarray:
    model, preprocessing = classifier.model, classifier.preprocessing
    crops = Crops(dataset.path)
    frozen = embed_frozen(model, dataset, preprocessing, device=classifier.device, crops=crops, progress=progress)
    faces = model_inputs(model, rows, crops, frozen, transform=preprocessing.resize)
    parts = []
    for batch in DataLoader(faces, batch_size=BATCH, collate_fn=Collator(preprocessing)):
        parts.append(classifier.classify({name: value for name, value in batch.items() if name != "labels"}))
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
