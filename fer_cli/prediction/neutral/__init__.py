"""Neutral faces for paired models: given by a person, found among the pictures, or the training's average."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_cli.embeddings.neutral import NeutralMean, of_run
from fer_cli.errors import RunError
from fer_cli.models.inference import Classifier
from fer_cli.prediction.listing import to_path
from fer_cli.prediction.neutral.faces import EmbeddedFaces, Encoders, embed_faces, face_key
from fer_cli.prediction.neutral.given import FixedNeutral, GivenNeutral
from fer_cli.prediction.neutral.identity import AT_ONCE, IdentityEncoder, choose_identity, cluster
from fer_cli.prediction.neutral.scoring import ClassifierScorer, DistanceScorer, choose_scorer
from fer_cli.prediction.options import AUTO, MEAN, NeutralOptions
from fer_cli.prediction.pipeline import FaceExtractor, Neutral, NeutralFinder
from fer_cli.prediction.results import FacePrediction, Frame
from fer_cli.progress import Progress, silent

if TYPE_CHECKING:
    from fer_cli.prediction.predictor import PredictionModel


@dataclass(frozen=True)
class People:
    """Counts of ``faces`` and ``people``, of whom ``served`` have a neutral face of their own.

    Of the others, ``once`` were seen once, and ``unsure`` had no face that is neutral for certain. ``confidence`` is
    the median of the neutral faces, None where there are no probabilities.
    """

    faces: int
    people: int
    served: int
    once: int
    unsure: int
    confidence: float | None

    def __str__(self) -> str:
        clustered = f" (clustered {AT_ONCE} at a time)" if self.faces > AT_ONCE else ""
        text = f"{self.people} people in {self.faces} faces{clustered}: {self.served} have their own neutral face"
        if self.confidence is not None:
            text += f" (median confidence {self.confidence:.0%})"
        rest = self.people - self.served
        if rest:
            why = [f"{self.once} seen once"] * bool(self.once)
            why += [f"{self.unsure} without a face that is surely neutral"] * bool(self.unsure)
            text += f"; {rest} are compared with the training's average ({', '.join(why)})"
        return text


class AutoNeutral:
    """For each face the most neutral face of the same person; for a person without one, the average neutral face.

    A person seen once has none, for a picture is never its own neutral, and so has the neutral face itself. ``tell`` is
    called with a line on what is used and found.
    """

    def __init__(
        self,
        classifier: Classifier,
        identity: IdentityEncoder,
        scorer: ClassifierScorer | DistanceScorer,
        mean: NeutralMean,
        *,
        tell: Callable[[str], None] = lambda _: None,
        progress: Progress = silent,
    ):
        self._identity, self._scorer = identity, scorer
        self._encoders = Encoders(classifier, identity, scorer)
        self._tell, self._progress = tell, progress
        self._subjects = mean.subjects
        self._mean = Neutral(MEAN, embedding=mean.mean.numpy())
        self._keys = np.empty(0, np.uint64)

    def fit(self, frames: Iterable[Frame] | None, extract: FaceExtractor) -> None:
        """Extract every face once, cluster the faces into people, and find each one's most neutral face.

        Embeddings are stored as float16 in temporary files; in memory stay some 30 bytes a face, and what
        :func:`~fer_cli.prediction.neutral.identity.cluster` needs.
        """
        if frames is None:
            self._tell(
                f"neutral   the average of {self._subjects} people of the training: a camera or standard input is read "
                "only once, and nobody's most neutral picture can be searched for"
            )
            return
        self._tell(f"identity  {self._identity.about}; one person up to a distance of {self._identity.threshold:.3g}")
        self._tell(f"neutral   scored by {self._scorer.about}")
        self._faces = faces = EmbeddedFaces(self._encoders)
        embed_faces(frames, extract, self._encoders, faces, self._progress)
        if faces.note:
            self._tell(faces.note)
        self._labels = cluster(faces.identities(), self._identity.threshold, centre=self._identity.centre)
        keys = np.array(faces.keys, np.uint64)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._serving = _most_neutral(self._labels, np.array(faces.scores), np.array(faces.certain, bool))
        self.people = self._count()
        self._tell(f"neutral   {self.people}")

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral:
        """The neutral face of this person; the average for a face that was not there in :meth:`fit`."""
        key = face_key(frame, face.number)
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return self._mean
        row = int(self._order[place])
        serving = int(self._serving[self._labels[row]])
        return self._mean if serving < 0 or serving == row else self._faces.neutral(serving)

    def _count(self) -> People:
        sizes = np.bincount(self._labels, minlength=len(self._serving))
        served = self._serving >= 0
        scores = np.array(self._faces.scores)[self._serving[served]]
        return People(
            faces=len(self._labels),
            people=len(sizes),
            served=int(served.sum()),
            once=int((sizes == 1).sum()),
            unsure=int((~served & (sizes > 1)).sum()),
            confidence=float(np.median(scores)) if len(scores) and self._faces.confident else None,
        )


def _most_neutral(labels: np.ndarray, scores: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """For each group the row of its most neutral certain face, -1 where it has one face only or none is certain."""
    serving = np.full(labels.max() + 1 if len(labels) else 0, -1)
    rows = np.flatnonzero(certain)
    # The last written wins: the best, and of equals the first met.
    rows = rows[np.lexsort((-rows, scores[rows]))]
    serving[labels[rows]] = rows
    serving[np.bincount(labels, minlength=len(serving)) == 1] = -1
    return serving


def neutral_finder(
    options: NeutralOptions,
    model: "PredictionModel",
    *,
    device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> NeutralFinder:
    """The finder for a paired ``model``, with the encoders and classifiers that it needs loaded.

    ``tell`` is called with a line on each choice that is made. Raises :class:`~fer_cli.errors.RunError` where a run has
    no average neutral face, :class:`~fer_cli.errors.ModelError` if an encoder or a classifier cannot be had.
    """
    if options.neutral not in (AUTO, MEAN):
        return GivenNeutral(to_path(options.neutral))
    mean = mean_of(model)
    if options.neutral == MEAN or model.run is None:
        tell(f"neutral   the average of {mean.subjects} people of the training")
        return FixedNeutral(Neutral(MEAN, embedding=mean.mean.numpy()))
    identity = choose_identity(
        model.run, model.classifier, wanted=options.identity, threshold=options.identity_threshold
    )
    scorer = choose_scorer(model.run, model.classifier, mean, wanted=options.neutral_classifier, device=device)
    return AutoNeutral(model.classifier, identity, scorer, mean, tell=tell, progress=progress)


def mean_of(model: "PredictionModel") -> NeutralMean:
    """The average neutral face of the people whom a paired ``model`` was trained on.

    Raises :class:`~fer_cli.errors.RunError` where none is stored and none can be made.
    """
    classifier = model.classifier
    if model.run is not None:
        return of_run(model.run, classifier.model.encoder, classifier.preprocessing, classifier.device)
    mean = NeutralMean.load(Path(model.name)) if Path(model.name).is_dir() else None
    if mean is None:
        raise RunError(
            f"{model.name} compares a face with a neutral one, and is no run that stores its training's average.",
            hint="Type --neutral PICTURE.",
        )
    return mean
