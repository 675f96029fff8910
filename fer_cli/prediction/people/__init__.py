"""People over time: who is who, kept in a store from one album to the next, with each person's neutral profile."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.labels import NEUTRAL
from fer_cli.models.loading import fingerprint
from fer_cli.prediction.neutral import mean_of
from fer_cli.prediction.neutral.faces import Encoders
from fer_cli.prediction.neutral.identity import IdentityEncoder, choose_identity
from fer_cli.prediction.neutral.scoring import ClassifierScorer, DistanceScorer, choose_scorer
from fer_cli.prediction.options import AUTO, NeutralOptions
from fer_cli.prediction.people.file import Binding
from fer_cli.prediction.people.finder import StoredPeople
from fer_cli.prediction.people.snapshot import KnownPeople
from fer_cli.prediction.people.store import PeopleStore
from fer_cli.progress import Progress, silent

if TYPE_CHECKING:
    from fer_cli.prediction.predictor import PredictionModel


def people_finder(
    options: NeutralOptions,
    model: "PredictionModel",
    *,
    device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> StoredPeople:
    """The people of the store in the folder ``options.people``, which is made if there is none, for a ``model``.

    Raises :class:`~fer_cli.errors.UsageError` if the store was made with other encoders, and what
    :func:`~fer_cli.prediction.neutral.neutral_finder` raises.
    """
    classifier = model.classifier
    mean = mean_of(model) if classifier.paired and options.neutral == AUTO else None
    identity = choose_identity(model.run, classifier, wanted=options.identity, threshold=options.identity_threshold)
    encoders = Encoders(classifier, identity, _scorer(model, mean, options.neutral_classifier, device))
    store = PeopleStore.open(cast(Path, options.people), _binding(model, identity))
    return StoredPeople(store, encoders, mean, tell=tell, progress=progress)


def known_people(
    options: NeutralOptions, model: "PredictionModel", *, tell: Callable[[str], None] = lambda _: None
) -> KnownPeople:
    """The people of the existing store in the folder ``options.people`` as they are now, for a ``model``.

    Raises what :func:`people_finder` does, and :class:`~fer_cli.errors.UsageError` if there is no store.
    """
    classifier = model.classifier
    mean = mean_of(model) if classifier.paired and options.neutral == AUTO else None
    identity = choose_identity(model.run, classifier, wanted=options.identity, threshold=options.identity_threshold)
    with PeopleStore.open(cast(Path, options.people), _binding(model, identity), existing=True) as store:
        people = KnownPeople(store, identity, mean)
    tell(f"identity  {identity.about}; one person up to a distance of {identity.threshold:.3g}")
    tell(f"people    {options.people}: {len(people)} people are known; --engine ray recognises them and stores nobody")
    return people


def _scorer(
    model: "PredictionModel", mean: NeutralMean | None, wanted: str | None, device: str
) -> ClassifierScorer | DistanceScorer | None:
    """What finds neutral pictures: a model of single faces does itself, where neutral is among its classes."""
    classifier = model.classifier
    if classifier.paired:
        if mean is None or model.run is None:
            return None
        return choose_scorer(model.run, classifier, mean, wanted=wanted, device=device)
    if NEUTRAL not in classifier.classes:
        return None
    return ClassifierScorer(classifier.classes, lambda crops, _: classifier.probabilities(crops), model.name)


def _binding(model: "PredictionModel", identity: IdentityEncoder) -> Binding:
    """Fingerprints of all that an embedding depends on: weights, preprocessing, centre, and how faces are cropped."""
    classifier = model.classifier
    crop = {name: classifier.preprocessing.face_crop.get(name) for name in ("size", "margin")}
    centre = b"" if identity.centre is None else identity.centre.tobytes()
    return Binding(
        identity=_digest(fingerprint(identity.network), _settings(identity.preprocessing), crop, centre),
        encoder=_digest(
            fingerprint(getattr(classifier.model, "encoder", classifier.model)),
            _settings(classifier.preprocessing),
            crop,
        ),
        identity_name=identity.about.partition(":")[0],
        encoder_name=model.name,
    )


def _settings(preprocessing: Any) -> str:
    processor = getattr(preprocessing, "processor", None)
    if processor is not None:
        return processor.to_json_string()
    names = ("size", "mean", "std", "grey")
    return repr({name: getattr(preprocessing, name, None) for name in names})


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
