"""Neutral faces for paired models: given by a person, found among the pictures, or the training's average."""

from collections.abc import Callable
from pathlib import Path

from fer_cli.embeddings.neutral import NeutralMean, of_run
from fer_cli.errors import RunError
from fer_cli.prediction.model import PredictionModel
from fer_cli.prediction.neutral.auto import AutoNeutral
from fer_cli.prediction.neutral.given import FixedNeutral, GivenNeutral
from fer_cli.prediction.neutral.identity import choose_identity
from fer_cli.prediction.neutral.scoring import choose_scorer
from fer_cli.prediction.options import AUTO, MEAN, NeutralOptions
from fer_cli.prediction.pipeline import Neutral, NeutralFinder
from fer_cli.progress import Progress, silent


def neutral_finder(
    options: NeutralOptions,
    model: PredictionModel,
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
        return GivenNeutral(Path(options.neutral))
    mean = _mean(model)
    if options.neutral == MEAN or model.run is None:
        tell(f"neutral   the average of {mean.subjects} people of the training")
        return FixedNeutral(Neutral(MEAN, embedding=mean.mean.numpy()))
    identity = choose_identity(
        model.run, model.classifier, wanted=options.identity, threshold=options.identity_threshold
    )
    scorer = choose_scorer(model.run, model.classifier, mean, wanted=options.neutral_classifier, device=device)
    return AutoNeutral(model.classifier, identity, scorer, mean, tell=tell, progress=progress)


def _mean(model: PredictionModel) -> NeutralMean:
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
