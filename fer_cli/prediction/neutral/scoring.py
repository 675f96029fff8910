"""Scores of how neutral a face is: a classifier's probability, or the distance from the average neutral face."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.errors import ModelError, RunError
from fer_cli.labels import NEUTRAL
from fer_cli.models.hub import load_published
from fer_cli.models.inference import Classifier
from fer_cli.prediction.neutral.identity import STAGE_1
from fer_cli.runs.run import CARD, Run, runs_in

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

    def __init__(self, classes: tuple[str, ...], probabilities: Probabilities, about: str):
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
    run: Run, classifier: Classifier, mean: NeutralMean, *, wanted: str | None = None, device: str = "auto"
) -> ClassifierScorer | DistanceScorer:
    """The scorer that finds the most neutral picture of a person, for a paired ``run``.

    In order: ``wanted``, a run or a published model; the single-image classifier inside the run, or the one next to it
    that was finished last; the run itself against the average neutral face; each only if neutral is among its classes.
    Else the distance from the average neutral face. Raises :class:`~fer_cli.errors.ModelError` if ``wanted`` cannot be
    had, or has no neutral class.
    """
    if wanted is not None:
        chosen, _ = load_published(wanted, device)
        if chosen.paired or NEUTRAL not in chosen.classes:
            classes = f"has the classes {', '.join(chosen.classes)}"
            raise ModelError(
                f"--neutral-classifier {wanted} {'compares with a neutral face itself' if chosen.paired else classes}.",
                hint="It takes a model of single faces that has neutral among its classes.",
            )
        return _single_scorer(chosen, wanted)
    for folder in (run.path / STAGE_1, *runs_in(run.path.resolve().parent)):
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
    return DistanceScorer(mean)


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
