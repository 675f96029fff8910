"""Scores of how neutral a face is: a classifier's probability, or the distance from the average neutral face."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import EMBEDDINGS
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.embed import Embeddings, embed
from fer_cli.embeddings.inputs import WHOLE
from fer_cli.embeddings.neutral import NeutralMean, of_run
from fer_cli.errors import DiskFullError, ModelError, RunError
from fer_cli.faces.align import CropTemplate
from fer_cli.files import locked
from fer_cli.labels import NEUTRAL
from fer_cli.models.hub import load_published
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import fingerprint
from fer_cli.options import DEFAULT_SESSION, Session
from fer_cli.prediction.neutral.identity import STAGE_1
from fer_cli.prediction.pipeline import to_tensor
from fer_cli.pretrained import NAME, is_packaged, packaged_model, require_packaged
from fer_cli.progress import Progress
from fer_cli.runs.run import CARD, Run, runs_in, seen_behind, shared_subjects, unlisted_behind

#: So many crops are scored at a time.
AT_ONCE = 256

#: Of B×3×H×W uint8 crops and their B×D embeddings by the paired model: B×classes probabilities.
Probabilities = Callable[[Tensor, Tensor], np.ndarray]


class Neutrality(NamedTuple):
    """How neutral each of B faces is: ``scores``, the higher the more; where ``certain``, it may serve as neutral."""

    scores: np.ndarray
    certain: np.ndarray


class ClassifierScorer:
    """The probability of the neutral class; certain where no other class is likelier."""

    #: Whether the scores are probabilities.
    confident = True

    def __init__(self, classes: tuple[str, ...], probabilities: Probabilities, about: str, key: str = ""):
        #: What the scores of crops can be stored by, if they depend on nothing else.
        self.key = key
        self._place = classes.index(NEUTRAL)
        self._probabilities = probabilities
        self.about = about

    def __call__(self, crops: Tensor, embeddings: Tensor) -> Neutrality:
        """How neutral the faces are, given their crops and the paired model's embeddings of them."""
        shares = self._probabilities(crops, embeddings)
        return Neutrality(shares[:, self._place], shares.argmax(axis=1) == self._place)


class DistanceScorer:
    """How near a face is to the average neutral face of the training people; not a probability, so always certain."""

    confident = False
    about = "how near they are to the training's average neutral face: no classifier here has a neutral class"

    def __init__(self, mean: NeutralMean):
        self._mean = mean.mean

    def __call__(self, crops: Tensor, embeddings: Tensor) -> Neutrality:
        """How neutral the faces are, given their crops and the paired model's embeddings of them."""
        scores = -torch.linalg.vector_norm(embeddings - self._mean, dim=1).numpy()
        return Neutrality(scores, np.ones(len(scores), bool))


def choose_scorer(
    run: Run,
    classifier: Classifier,
    mean: NeutralMean,
    *,
    wanted: str | None = None,
    others: bool = True,
    device: str = "auto",
) -> ClassifierScorer | DistanceScorer:
    """The scorer that finds the most neutral picture of a person, for a paired ``run``.

    In order: ``wanted``, a run, a published model or ``faces``, the packaged one; the single-image classifier inside
    the run, or (with ``others``) the one next to it that was finished last; the run itself against the average neutral
    face; each only if neutral is among its classes. Else the packaged model, where fer comes with one; else the
    distance from the average neutral face. Raises
    :class:`~fer_cli.errors.ModelError` if ``wanted`` cannot be had, or has no neutral class.
    """
    if is_packaged(wanted):
        return _packaged_scorer(classifier, Classifier.load(require_packaged(wanted), device))
    if wanted is not None:
        chosen, _ = load_published(wanted, device)
        if chosen.paired or NEUTRAL not in chosen.classes:
            classes = f"has the classes {', '.join(chosen.classes)}"
            raise ModelError(
                f"--neutral-classifier {wanted} {'compares with a neutral face itself' if chosen.paired else classes}.",
                hint="It takes a model of single faces that has neutral among its classes.",
            )
        return _single_scorer(chosen, wanted)
    for folder in (run.path / STAGE_1, *(runs_in(run.path.resolve().parent) if others else [])):
        if (folder / CARD).is_file() and NEUTRAL in _classes(folder):
            found = _load_single(folder, device)
            if found is not None:
                return _single_scorer(found, str(_from_here(folder)))
    if NEUTRAL in classifier.classes:
        neutral = mean.mean[None]

        def against_mean(_: Tensor, embeddings: Tensor) -> np.ndarray:
            return classifier.classify(
                {"embeddings": embeddings, "neutral_embeddings": neutral.expand(len(embeddings), -1)}
            )

        about = f"{run.path} itself, against its training's average neutral face"
        return ClassifierScorer(classifier.classes, against_mean, about)
    own = packaged_model()
    packaged = None if own is None else _load_single(own, device)
    return DistanceScorer(mean) if packaged is None else _packaged_scorer(classifier, packaged)


def _packaged_scorer(classifier: Classifier, packaged: Classifier) -> ClassifierScorer:
    """The packaged model's probability of neutral, for the crops that ``classifier`` takes."""
    seen, wanted = (each.preprocessing.face_crop for each in (classifier, packaged))
    return ClassifierScorer(
        packaged.classes,
        lambda crops, _: packaged.probabilities(recropped(crops, seen, wanted)),
        f"{NAME}, the model that comes with fer",
        f"neutral {fingerprint(packaged.model)} tta {packaged.tta} crop {sorted(seen.items())}",
    )


def find_neutrals(
    run: Run, dataset: PreparedDataset, subjects: Collection[str], session: Session = DEFAULT_SESSION
) -> dict[str, str]:
    """For each crop of the ``subjects`` of ``dataset`` the most neutral other picture of the same one.

    By file names. Labels have no part in it: all pictures of a person are scored for the paired ``run`` as
    :func:`choose_scorer` says, and the highest score of those that are neutral for certain wins. A picture is never its
    own; one of a person without such another is absent. The packaged classifier does not score if it was trained on
    people of the dataset: then the distance from the average neutral face of the run's training does. What it scores is
    stored with the dataset, as embeddings are.
    """
    classifier = Classifier.load(run.path, session.device)
    mean = of_run(run, classifier.model.encoder, classifier.preprocessing, classifier.device)
    # The runs next to it may have been trained on the people of the dataset, other folds of one training above all.
    scorer = choose_scorer(run, classifier, mean, others=False, device=session.device)
    rows = dataset.metadata[dataset.metadata["subject"].isin(subjects)]
    if rows.empty:
        return {}
    if NEUTRAL not in classifier.classes and _packaged_knows(dataset, set(rows["subject"])):
        scorer = DistanceScorer(mean)
    names = rows["file_name"].tolist()
    scores = (
        _stored_scores(scorer, classifier, dataset, names, session.progress)
        if isinstance(scorer, ClassifierScorer) and scorer.key
        else _scores(scorer, classifier, dataset, names, session.progress)
    )
    table = pd.DataFrame({"name": names, "subject": rows["subject"].to_numpy(), "score": scores.scores})
    serving = table[scores.certain].sort_values(["score", "name"], ascending=[False, True])
    best = serving.groupby("subject")["name"].agg(lambda ranked: ranked.head(2).tolist()).to_dict()
    chosen = {
        name: next((each for each in best.get(subject, []) if each != name), None)
        for name, subject in zip(table["name"], table["subject"], strict=True)
    }
    return {name: other for name, other in chosen.items() if other is not None}


def _scores(
    scorer: ClassifierScorer | DistanceScorer,
    classifier: Classifier,
    dataset: PreparedDataset,
    names: Sequence[str],
    progress: Progress,
) -> Neutrality:
    """How neutral the named crops of ``dataset`` are."""
    model, preprocessing, device = classifier.model, classifier.preprocessing, classifier.device
    crops = Crops(dataset.path, size=preprocessing.size, kept_bytes=0)
    of_crops = isinstance(scorer, ClassifierScorer) and bool(scorer.key)
    stored = None
    if not of_crops and WHOLE in model.frozen:
        stored = embed(model.frozen[WHOLE], dataset, preprocessing, device=device, progress=progress)
    found = []
    for start in range(0, len(names), AT_ONCE):
        batch = crops.batch(names[start : start + AT_ONCE])
        own = torch.empty(len(batch), 0)
        if stored is not None:
            own = stored.of(names[start : start + AT_ONCE])[0]
        elif not of_crops:
            own = classifier.embed(batch)
        found.append(scorer(batch, own))
        progress("finding neutral faces", start + len(batch), len(names))
    return Neutrality(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _stored_scores(
    scorer: ClassifierScorer,
    classifier: Classifier,
    dataset: PreparedDataset,
    names: Sequence[str],
    progress: Progress,
) -> Neutrality:
    """The same of a scorer that sees crops alone, for all of a dataset once: stored next to its embeddings."""
    original = dataset.original
    key = f"{scorer.key} size {classifier.preprocessing.size} dataset {original.fingerprint} {classifier.device.type}"
    file = original.path / EMBEDDINGS / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    with locked(file, "computing", wait=True):
        table = Embeddings.load(file, key)
        if table is None:
            every = original.metadata["file_name"].tolist()
            found = _scores(scorer, classifier, original, every, progress)
            table = Embeddings(every, torch.from_numpy(np.stack(found, axis=1))[None])
            # On a disk that may only be read they are computed again the next time.
            with suppress(OSError, DiskFullError):
                table.save(file, key)
    scores, certain = table.of(names)[0].numpy().T
    return Neutrality(scores, certain.astype(bool))


def _packaged_knows(dataset: PreparedDataset, subjects: set[str]) -> bool:
    """Whether the packaged model was trained on any of the ``subjects`` of ``dataset``."""
    folder = packaged_model()
    if folder is None:
        return False
    listed = shared_subjects(seen_behind(folder), dataset.card["corpus"], subjects)
    return bool(listed) or any(dataset.known_as(each["fingerprint"]) for each in unlisted_behind(folder))


def recropped(crops: Tensor, seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> Tensor:
    """B×3×H×W uint8 crops, made as one model's ``face_crop`` states, with the margin that another's states.

    What lies outside repeats the edge. Pictures that were taken for crops as they are stay so.
    """
    own, other = seen.get("margin"), wanted.get("margin")
    if own is None or other is None or own == other or seen.get("detector") == "none":
        return crops
    before, after = (CropTemplate(crops.shape[-1], margin) for margin in (own, other))
    return to_tensor([after.align(crop.permute(1, 2, 0).numpy(), before.eyes) for crop in crops])


def _single_scorer(classifier: Classifier, about: str) -> ClassifierScorer:
    return ClassifierScorer(classifier.classes, lambda crops, _: classifier.probabilities(crops), about)


def _classes(folder: Path) -> list[str]:
    try:
        return Run.open(folder).card["classes"]
    except RunError:
        # Of a later version, or damaged: others may do.
        return []


def _load_single(folder: Path, device: str) -> Classifier | None:
    try:
        found = Classifier.load(folder, device)
    except ModelError:
        # An identity encoder's run, or one that was damaged: others may do.
        return None
    return None if found.paired or NEUTRAL not in found.classes else found


def _from_here(folder: Path) -> Path:
    """The folder as a person would type it from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
