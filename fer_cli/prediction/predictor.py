"""Prediction from Python: a model by its name, pictures in, faces with their expressions out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.cascade import DetectorChoice
from fer_cli.faces.decode import decode
from fer_cli.models import AUTO, Runtime
from fer_cli.models.hub import fetch_own, load_published
from fer_cli.models.inference import Classifier
from fer_cli.models.onnx import with_runtime
from fer_cli.prediction.neutral import neutral_finder
from fer_cli.prediction.neutral.given import FixedNeutral
from fer_cli.prediction.options import NeutralOptions
from fer_cli.prediction.people import people_finder
from fer_cli.prediction.pipeline import FaceExtractor, Neutral, NeutralFinder, predict
from fer_cli.prediction.results import FacePrediction, Frame
from fer_cli.pretrained import QUICK, is_packaged, require_packaged
from fer_cli.runs.run import CARD, UNFINISHED, Run


@dataclass(frozen=True)
class PredictionModel:
    """A model's ``name``, its ``classifier``, and its ``run``, where it has one.

    ``runtime`` names the inference backend and why it was chosen, ``labels`` how a published model's labels were
    mapped. ``about`` is the name for people, of a published run with its scores.
    """

    name: str
    classifier: Classifier
    run: Run | None
    runtime: str
    labels: str = ""
    about: str = ""


def open_model(source: str | Path, *, device: str = "auto", runtime: str = AUTO) -> PredictionModel:
    """The model of a run, of a folder that ``save_pretrained`` wrote, or of the Hugging Face Hub (``ORG/NAME``).

    ``faces`` and ``faces-quick`` are the packaged ones; ``ORG/NAME@REVISION`` is a branch or a commit.

    Raises :class:`~fer_cli.errors.RunError` or :class:`~fer_cli.errors.ModelError` if it cannot be had,
    :class:`~fer_cli.errors.UsageError` if the device or the runtime cannot.
    """
    folder = require_packaged(source) if is_packaged(source) else Path(source)
    if not folder.exists():
        # A run that fer push published is a run wherever it is.
        folder = fetch_own(str(source)) or folder
    run, labels = None, ""
    if folder.is_dir() and not _only_a_model(folder):
        run = Run.open(folder)
        classifier = Classifier.load(folder, device)
    else:
        classifier, labels = load_published(source, device)
    # What fer export makes of the packaged model goes there, and comes before what is packaged.
    folders = [Path("runs", str(source)), folder] if is_packaged(source) else [folder]
    classifier, about = with_runtime(classifier, runtime, folders)
    # A folder in the Hub's cache is named for its commit.
    title = str(source) if run is None else run.about
    if run is not None and folder != Path(source) and not is_packaged(source):
        title = f"{source}{run.about.removeprefix(run.name)}"
    return PredictionModel(str(source), classifier, run, about, labels, title)


def _only_a_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not any((folder / name).is_file() for name in (CARD, UNFINISHED))


#: A path; a Pillow image; or an array of uint8, H×W×3 RGB or H×W grey.
Picture = str | Path | Image.Image | np.ndarray


class Predictor:
    """Names the expressions in pictures, with a trained model and the cropping that it was trained with.

    >>> from fer_cli import Predictor
    >>> predictor = Predictor()  # the model that comes with fer  # doctest: +SKIP
    >>> predictor = Predictor("runs/difference-ckplus-fold0")  # doctest: +SKIP
    >>> for face in predictor("group.jpg"):  # doctest: +SKIP
    ...     print(face.label, f"{face.confidence:.0%}", face.box)
    >>> album = predictor(["anna-1.jpg", "anna-2.jpg"])  # a list of faces for each picture  # doctest: +SKIP
    >>> predictor(frame, neutral="anna-at-rest.jpg")  # an array, H×W×3 RGB  # doctest: +SKIP

    ``model`` is a run's folder, or any image classification model: a folder, or a name of the Hugging Face Hub. Without
    one it is the faster model that comes with fer, ``faces-quick``; :attr:`about` says with which scores.
    ``neutral`` is what a paired model compares faces with where a call does not say: ``auto`` (each person's most
    neutral picture among those of the call, and the training's average for people without), ``mean`` (that average),
    or a picture. ``people`` is the folder of a people store, which says who is who and is extended. ``device``,
    ``runtime``, ``detector`` (``none``: pictures are faces already cropped),
    ``detector_model`` and ``faces`` mean what they do for ``fer predict``.

    Raises :class:`~fer_cli.errors.FerError`: its kinds say what cannot be had.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        neutral: Picture = AUTO,
        device: str = "auto",
        runtime: Runtime = "auto",
        detector: DetectorChoice = "auto",
        detector_model: Path | None = None,
        faces: Literal["all", "largest"] = "all",
        people: str | Path | None = None,
    ):
        self._model = open_model(QUICK if model is None else model, device=device, runtime=runtime)
        self._device, self._neutral = device, neutral
        face_crop = self._model.classifier.preprocessing.face_crop
        quick = not self._model.classifier.paired
        self._extract = FaceExtractor.of(face_crop, detector, detector_model, faces=faces, quick=quick)
        self._people = None
        if people is not None:
            self._people = people_finder(NeutralOptions(people=Path(people)), self._model, device=device)

    @property
    def about(self) -> str:
        """The model's name, and of the packaged one its scores."""
        return self._model.about

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart."""
        return self._model.classifier.classes

    # A text is a sequence too, and is taken as a path.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, pictures: Picture, neutral: Picture | None = None
    ) -> list[FacePrediction]: ...
    @overload
    def __call__(self, pictures: Sequence[Picture], neutral: Picture | None = None) -> list[list[FacePrediction]]: ...

    def __call__(
        self, pictures: Picture | Sequence[Picture], neutral: Picture | None = None
    ) -> list[FacePrediction] | list[list[FacePrediction]]:
        """The faces of a picture, the largest first and none if there is none; of several pictures, a list each.

        A path, a Pillow image and an array of the same pixels give equal results. Raises
        :class:`~fer_cli.errors.PictureError`, which names it, for a picture that cannot be read.
        """
        if isinstance(pictures, Picture):
            return self([pictures], neutral)[0]
        finder = self._finder(pictures, self._neutral if neutral is None else neutral)
        if self._people is not None and finder is not self._people:
            self._people.fit(_frames(pictures), self._extract)
        identify = None if self._people is None else self._people.identify
        results = predict(_frames(pictures), self._extract, self._model.classifier, finder, identify=identify)
        return [list(result.faces) for result in results]

    def _finder(self, pictures: Sequence[Picture], neutral: Picture) -> NeutralFinder | None:
        if not self._model.classifier.paired:
            return None
        finder: NeutralFinder
        if self._people is not None and isinstance(neutral, str) and neutral == AUTO:
            finder = self._people
        elif isinstance(neutral, str | Path):
            finder = neutral_finder(NeutralOptions(str(neutral)), self._model, device=self._device)
        else:
            finder = FixedNeutral(Neutral("given", pixels=self._extract.largest(neutral)))
        finder.fit(_frames(pictures), self._extract)
        return finder


def _frames(pictures: Sequence[Picture]) -> Iterator[Frame]:
    for index, picture in enumerate(pictures):
        path = Path(picture) if isinstance(picture, str | Path) else Path(f"picture {index}")
        try:
            yield Frame(index, path, pixels=decode(picture))
        except PictureError as error:
            raise PictureError(f"{path}: {error.message}.") from error
