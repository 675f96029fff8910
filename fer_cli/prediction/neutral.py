"""From what a person says of neutral faces to the source of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from fer_cli.embeddings.neutral import NeutralMean, of_run
from fer_cli.errors import RunError
from fer_cli.models.classifier import Classifier
from fer_cli.prediction.given_neutral import NeutralSource, given_neutral
from fer_cli.prediction.grouping import AT_ONCE
from fer_cli.prediction.look import Looker
from fer_cli.prediction.neutral_auto import MeanNeutral, People, find_neutrals
from fer_cli.prediction.neutral_choice import AUTO, MEAN, NeutralChoice
from fer_cli.prediction.neutral_identity import choose_identity
from fer_cli.prediction.neutral_scorer import choose_scorer
from fer_cli.prediction.opened import OpenedModel
from fer_cli.prediction.shots import Shot
from fer_cli.progress import Progress, silent

#: Told what is found out on the way, a line at a time.
Tell = Callable[[str], None]


class Neutrals:
    """Makes the source of neutral faces that a ``choice`` means for a ``model``, of what the prediction looks with.

    What it needs is loaded when it is made, so that what is amiss is said before the first picture is looked at; except
    pictures, which need the detector. Raises :class:`~fer_cli.errors.RunError` where a run knows no average neutral
    face, :class:`~fer_cli.errors.ModelError` if an encoder or a classifier cannot be had.
    """

    def __init__(
        self,
        choice: NeutralChoice,
        model: OpenedModel,
        *,
        device: str = "auto",
        tell: Tell = lambda _: None,
        progress: Progress = silent,
    ):
        self._choice, self._classifier, self._tell, self._progress = choice, model.classifier, tell, progress
        if choice.neutral not in (AUTO, MEAN):
            return
        self._mean = _mean(model)
        if choice.neutral == AUTO and model.run is not None:
            self._identity = choose_identity(
                model.run, model.classifier, wanted=choice.identity, threshold=choice.identity_threshold
            )
            self._scorer = choose_scorer(
                model.run, model.classifier, self._mean, wanted=choice.neutral_classifier, device=device
            )

    def __call__(self, looker: Looker, shots: Callable[[], Iterator[Shot]] | None) -> NeutralSource:
        """The source; ``shots`` gives all that will be predicted on, None where they come only once."""
        if self._choice.neutral not in (AUTO, MEAN):
            return given_neutral(Path(self._choice.neutral), looker)
        if self._choice.neutral == MEAN or not hasattr(self, "_identity"):
            self._tell(f"neutral   the average of {self._mean.subjects} people of the training")
            return MeanNeutral(self._mean)
        if shots is None:
            self._tell(
                f"neutral   the average of {self._mean.subjects} people of the training: from a camera or standard "
                "input, pictures come once, and nobody's most neutral one can be looked for"
            )
            return MeanNeutral(self._mean)
        self._tell(f"identity  {self._identity.about}; one person up to a distance of {self._identity.threshold:.3g}")
        self._tell(f"neutral   told from other faces by {self._scorer.about}")
        found = find_neutrals(
            shots(), looker, self._classifier, self._identity, self._scorer, self._mean, progress=self._progress
        )
        self._tell(f"neutral   {_sentence(found.people)}")
        return found


def _mean(model: OpenedModel) -> NeutralMean:
    if model.run is not None:
        classifier: Classifier = model.classifier
        return of_run(model.run, classifier.model.encoder, classifier.preprocessing, classifier.device)
    known = NeutralMean.load(Path(model.name)) if Path(model.name).is_dir() else None
    if known is None:
        raise RunError(
            f"{model.name} compares a face with a neutral one, and is no run that knows the average of its training.",
            hint="Type --neutral PICTURE.",
        )
    return known


def _sentence(people: People) -> str:
    grouped = f" (grouped {AT_ONCE} at a time)" if people.faces > AT_ONCE else ""
    parts = [f"{people.people} people in {people.faces} faces{grouped}: {people.served} have their own neutral face"]
    if people.confidence is not None:
        parts[0] += f" (median confidence {people.confidence:.0%})"
    rest = people.people - people.served
    if rest:
        why = [f"{people.once} seen once"] * bool(people.once)
        why += [f"{people.unsure} without a face that is surely neutral"] * bool(people.unsure)
        parts.append(f"{rest} are compared with the training's average ({', '.join(why)})")
    return "; ".join(parts)
