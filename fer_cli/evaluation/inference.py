"""Inference on the faces of a test: which faces, which classes, and the predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from torch import Tensor

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops, prefetched
from fer_cli.embeddings.embed import Embeddings, batch_size, encode
from fer_cli.embeddings.inputs import NEUTRALS, WHOLE, embed_frozen, model_inputs
from fer_cli.embeddings.neutral import of_run
from fer_cli.errors import DatasetError
from fer_cli.evaluation.calibration import fit_temperature, is_faultless
from fer_cli.evaluation.leakage import Leakage, check_leakage
from fer_cli.labels import in_order
from fer_cli.models import FLIP
from fer_cli.models.inference import Classifier, finite_probabilities
from fer_cli.options import DEFAULT_SESSION, Session
from fer_cli.progress import Progress
from fer_cli.runs.run import Run

Split = Literal["test", "val", "all"]
#: What a paired model compares a face with: the labelled neutral picture of its row, the average neutral face of the
#: training, or the picture that the mapping has for it, both by file name (the average for a face that it has not).
Neutral = Literal["given", "mean"] | Mapping[str, str]


@dataclass(frozen=True)
class SharedClasses:
    """The ``classes`` that model and dataset share; ``unknown`` are the dataset's that the model does not have."""

    model: tuple[str, ...]
    classes: tuple[str, ...]
    unknown: tuple[str, ...]

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """N×model probabilities as N×classes, renormalised over these."""
        kept = probabilities[:, [self.model.index(name) for name in self.classes]].astype(float)
        # Where next to nothing is left, these are equally likely.
        kept = np.maximum(kept, 1e-12)
        return kept / kept.sum(axis=1, keepdims=True)

    def notes(self, samples: int) -> list[str]:
        """Notes on what is excluded on either side; ``samples`` of the dataset are of unknown classes."""
        notes = []
        if self.unknown:
            notes.append(f"Excluded: {samples} samples of {', '.join(self.unknown)}, which the model does not know.")
        unused = [name for name in self.model if name not in self.classes]
        if unused:
            notes.append(
                f"Excluded: the model's {', '.join(unused)}, of which the dataset has no sample; the probabilities of "
                "the others are renormalised."
            )
        return notes


def shared_classes(model: tuple[str, ...], labels: set[str], dataset: PreparedDataset, *, own: bool) -> SharedClasses:
    """The classes that a model of the classes ``model`` shares with a dataset of the classes ``labels``.

    On its ``own`` dataset a model keeps all its classes, also those that a fold lacks. Raises
    :class:`~fer_cli.errors.DatasetError` if there are not two classes in common.
    """
    classes = tuple(name for name in model if name in labels or own)
    unknown = in_order(labels.difference(model))
    if len(classes) < 2 or not labels.intersection(model):
        common = f"only {classes[0]}" if len(classes) == 1 else "no class"
        raise DatasetError(
            f"The model and {dataset.path} have {common} in common. The model knows {', '.join(model)}; the dataset "
            f"has {', '.join(in_order(labels)) or 'none'}.",
            hint=f"Prepare the dataset with --classes {','.join(model)}, if its corpus has them.",
        )
    return SharedClasses(model, classes, unknown)


@dataclass(frozen=True)
class Inference:
    """The predictions of a run's model for some rows of a dataset.

    ``predictions`` is as :class:`~fer_cli.evaluation.results.Evaluation` has it; ``about`` says whose faces these are,
    ``notes`` what a reader of the numbers should know. ``temperature`` was fitted on ``fitted_on`` faces of the run's
    own validation fold; None where there is none, or where the validation fold is among what was tested. ``views`` says
    what was averaged for a face, where it was more than one view, and ``neutral_access`` what it was compared with:
    ``given``, ``mean`` or ``found``, or ``none`` by a model of single pictures.
    """

    run: Run
    dataset: PreparedDataset
    classes: tuple[str, ...]
    predictions: pd.DataFrame
    about: str
    leakage: Leakage
    notes: tuple[str, ...]
    temperature: float | None = None
    fitted_on: int = 0
    views: str = ""
    neutral_access: str = "none"

    @property
    def probabilities(self) -> np.ndarray:
        """N×C, in the order of ``classes``."""
        return self.predictions[[f"p_{name}" for name in self.classes]].to_numpy(float)


def run_inference(
    run: Run,
    data: Path | None = None,
    *,
    split: Split | None = None,
    neutral: Neutral = "given",
    calibrated: bool = True,
    strangers: bool = False,
    session: Session = DEFAULT_SESSION,
) -> Inference:
    """Run the model of ``run`` on rows of its own dataset, or of the one at ``data``.

    ``split`` is ``test`` (the default for the run's own dataset) or ``val``, as the run's fold divides the dataset, or
    ``all`` (the default for another). ``neutral`` is what a paired model compares a face with; whichever it is, the
    rows are those with a labelled neutral picture, so that the accesses can be compared. A temperature is fitted if
    ``calibrated``. With ``strangers`` the caller knows that the model has seen none of these people, whatever their
    names. Raises as :func:`~fer_cli.evaluation.evaluate.evaluate` does, and
    :class:`~fer_cli.errors.RunError` where the run has no average neutral face to compare with.
    """
    dataset = own_dataset(run) if data is None else PreparedDataset.open(data)
    split = split or ("test" if data is None else "all")
    classifier = Classifier.load(run.path, session.device, tta=session.tta)
    rows = _rows(run, dataset, classifier, split)
    leakage = Leakage() if strangers else check_leakage(run, dataset, rows, allow_seen=session.allow_seen)
    labels = rows["label"] if _is_own(run, dataset) else dataset.samples(paired=classifier.paired)["label"]
    shared = shared_classes(classifier.classes, set(labels), dataset, own=_is_own(run, dataset))
    excluded = ~rows["label"].isin(shared.classes)
    rows = rows[~excluded]
    notes = [*leakage.notes, *shared.notes(int(excluded.sum())), *_notes(run, dataset, classifier)]
    if rows.empty:
        raise DatasetError(f"{dataset.path}, {_which(dataset, run, split)}, has no sample to test on.")
    inputs = _Inputs(run, classifier, neutral, session.progress)
    probabilities = shared.of(inputs.probabilities(dataset, rows))
    access = _access(classifier, neutral)
    inference = Inference(
        run,
        dataset,
        shared.classes,
        prediction_table(rows, probabilities, shared.classes),
        f"{dataset.protocol.name}; {run.selection}; {_which(dataset, run, split)}{_views(classifier)}"
        f"; neutral {access}{leakage.stamp}",
        leakage,
        tuple(notes),
        views=_views(classifier),
        neutral_access=access,
    )
    return _with_temperature(inference, split, inputs, shared) if calibrated else inference


def own_dataset(run: Run) -> PreparedDataset:
    """The dataset that the run was trained on; raises :class:`~fer_cli.errors.DatasetError` if it is gone."""
    path = Path(run.card["dataset"]["path"])
    if not path.is_absolute():
        # A package, whose card says what it was trained on and not where that lay.
        raise DatasetError(
            f"{run.name} comes without the dataset that it was trained on.",
            hint="Type --data FOLDER with a prepared dataset to test it on.",
        )
    if not path.is_dir():
        raise DatasetError(
            f"The dataset that {run.path} was trained on is no longer at {path}.",
            hint="Type --data FOLDER --split test with where it is now; its subjects are checked against those "
            "trained on.",
        )
    return PreparedDataset.open(path)


def _rows(run: Run, dataset: PreparedDataset, classifier: Classifier, split: Split) -> pd.DataFrame:
    paired = classifier.paired or (_is_own(run, dataset) and bool(run.card["recipe"].get("pairs_only")))
    if split == "all":
        return dataset.samples(paired=paired)
    return dataset.split(run.fold, paired=paired)[split]


def _is_own(run: Run, dataset: PreparedDataset) -> bool:
    """Whether this is the dataset that the run was trained on, here or moved elsewhere."""
    card = run.card["dataset"]
    return dataset.path.resolve() == Path(card["path"]) or dataset.fingerprint == card["fingerprint"]


def _which(dataset: PreparedDataset, run: Run, split: Split) -> str:
    folds = dataset.protocol.folds
    if split == "all":
        return "every fold" if folds else "every picture"
    if split == "val":
        return f"validation fold {(run.fold + 1) % folds}" if folds else "the validation part of the owners' split"
    return f"test fold {run.fold}" if folds else "the owners' split"


def _views(classifier: Classifier) -> str:
    return "; averaged over the picture and its mirror image" if classifier.tta == FLIP else ""


def _access(classifier: Classifier, neutral: Neutral) -> str:
    if not classifier.paired:
        return "none"
    return neutral if isinstance(neutral, str) else "found"


def _with_temperature(found: Inference, split: Split, inputs: "_Inputs", shared: SharedClasses) -> Inference:
    own = _is_own(found.run, found.dataset)
    if found.leakage and not (own and split == "test"):
        note = "No temperature is fitted: the validation fold is, or may be, among what is tested."
        return replace(found, notes=(*found.notes, note))
    if found.run.card["recipe"].get("refit"):
        note = "No temperature is fitted: the model was trained again on its validation rows too."
        return replace(found, notes=(*found.notes, note))
    try:
        dataset = found.dataset if own else own_dataset(found.run)
        rows = _rows(found.run, dataset, inputs.classifier, "val")
    except DatasetError as error:
        return replace(found, notes=(*found.notes, f"No temperature is fitted: {error.message}"))
    rows = rows[rows["label"].isin(shared.classes)]
    if rows.empty:
        note = "No temperature is fitted: the validation fold has none of these classes."
        return replace(found, notes=(*found.notes, note))
    if not inputs.knows(rows):
        note = "No temperature is fitted: no neutral pictures were looked for in the validation fold."
        return replace(found, notes=(*found.notes, note))
    probabilities = shared.of(inputs.probabilities(dataset, rows))
    truth = pd.Index(shared.classes).get_indexer(pd.Index(rows["label"]))
    if is_faultless(probabilities, truth):
        note = f"The temperature stays 1: the model makes no mistake on a validation fold of {len(rows)} faces."
        found = replace(found, notes=(*found.notes, note))
    return replace(found, temperature=fit_temperature(probabilities, truth), fitted_on=len(rows))


@dataclass(frozen=True)
class _Inputs:
    """A run's model, and what it compares a face with."""

    run: Run
    classifier: Classifier
    neutral: Neutral
    progress: Progress

    def knows(self, rows: pd.DataFrame) -> bool:
        """Whether it is known what the faces of ``rows`` are compared with."""
        if isinstance(self.neutral, str) or not self.classifier.paired:
            return True
        return bool(rows["file_name"].isin(list(self.neutral)).any())

    def probabilities(self, dataset: PreparedDataset, rows: pd.DataFrame) -> np.ndarray:
        """N×classes for the N ``rows`` of ``dataset``."""
        if not self.classifier.paired or self.neutral == "given":
            return self._of(dataset, rows)
        pictures = {} if self.neutral == "mean" else self.neutral
        found = rows["file_name"].isin(pictures.keys()).to_numpy()
        probabilities = np.empty((len(rows), len(self.classifier.classes)))
        if found.any():
            chosen = rows[found].assign(neutral_file_name=rows["file_name"][found].map(pictures))
            probabilities[found] = self._of(dataset, chosen, labelled=False)
        if not found.all():
            model = self.classifier
            mean = of_run(self.run, model.model.encoder, model.preprocessing, model.device).mean
            probabilities[~found] = self._against(mean, dataset, rows[~found])
        return probabilities

    def _of(self, dataset: PreparedDataset, rows: pd.DataFrame, *, labelled: bool = True) -> np.ndarray:
        """Against the neutral pictures of the ``rows``; the average of several only where all are ``labelled``."""
        crops = Crops(dataset.path, size=self.classifier.preprocessing.size)
        frozen = self._frozen(dataset, crops)
        if not labelled:
            frozen.pop(NEUTRALS, None)
        return self._run(rows, crops, frozen)

    def _against(self, mean: Tensor, dataset: PreparedDataset, rows: pd.DataFrame) -> np.ndarray:
        """Against an average neutral face, D numbers of the model's own embedding."""
        crops = Crops(dataset.path, size=self.classifier.preprocessing.size)
        frozen, names = self._frozen(dataset, crops), rows["file_name"].tolist()
        if WHOLE in frozen:
            frozen[NEUTRALS] = Embeddings(names, mean.expand(1, len(names), -1))
            return self._run(rows, crops, frozen)
        parts, step = [], batch_size(self.classifier.device)
        for start in range(0, len(names), step):
            batch = crops.batch(names[start : start + step])
            parts.append(self.classifier.probabilities(batch, neutral_embeddings=mean.expand(len(batch), -1)))
            self.progress("evaluating", start + len(batch), len(names))
        return np.concatenate(parts)

    def _frozen(self, dataset: PreparedDataset, crops: Crops) -> dict[str, Embeddings]:
        classifier = self.classifier
        # What is stored of the encoders is of one view.
        if classifier.tta == FLIP:
            return {}
        return embed_frozen(
            classifier.model,
            dataset,
            classifier.preprocessing,
            device=classifier.device,
            crops=crops,
            progress=self.progress,
        )

    def _run(self, rows: pd.DataFrame, crops: Crops, frozen: Mapping[str, Embeddings]) -> np.ndarray:
        classifier = self.classifier
        # The labels are not needed here, and may be of a class that the model does not have.
        faces = model_inputs(classifier.model, rows.assign(label=classifier.classes[0]), crops, frozen)

        def load(places: range) -> dict[str, Tensor]:
            return {name: values for name, values in faces.__getitems__(list(places)).items() if name != "labels"}

        logits = encode(
            lambda **inputs: classifier.logits(inputs),
            prefetched(load, len(faces), batch_size(classifier.device)),
            classifier.preprocessing,
            classifier.device,
            lambda done: self.progress("evaluating", done, len(faces)),
        )
        return finite_probabilities(logits)


def prediction_table(rows: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """The predictions for ``rows`` of a dataset, as an evaluation has them, of N×C ``probabilities`` of ``classes``."""
    table = rows[["file_name", "subject", "sequence", "fold", "label"]].reset_index(drop=True)
    table["predicted"] = [classes[place] for place in probabilities.argmax(axis=1)]
    table["confidence"] = probabilities.max(axis=1)
    for place, name in enumerate(classes):
        table[f"p_{name}"] = probabilities[:, place]
    return table


def _notes(run: Run, dataset: PreparedDataset, classifier: Classifier) -> tuple[str, ...]:
    notes = []
    changed = dataset.fingerprint != run.card["dataset"]["fingerprint"]
    if dataset.path.resolve() == Path(run.card["dataset"]["path"]) and changed:
        notes.append(f"{dataset.path} has changed since the training.")
    if dataset.protocol != run.protocol:
        notes.append(f"Another protocol than that of the training, which was {run.protocol.name}.")
    crop = classifier.preprocessing.face_crop
    if dataset.crop["margin"] != crop.get("margin"):
        notes.append(
            f"The crops have a margin of {dataset.crop['margin']}, those trained on {crop.get('margin')}: "
            "expect a lower accuracy than with the same crops."
        )
    return tuple(notes)
