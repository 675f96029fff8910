"""Predictions from Python: a model by its name, pictures in, faces with their expressions out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.crop import Crop
from fer_cli.faces.decode import decode
from fer_cli.faces.yunet import find_detector_model
from fer_cli.models.choices import AUTO, Runtime
from fer_cli.prediction.given_neutral import Neutral, NeutralSource
from fer_cli.prediction.look import Faces, Looker
from fer_cli.prediction.neutral import Neutrals
from fer_cli.prediction.neutral_choice import NeutralChoice
from fer_cli.prediction.opened import open_model
from fer_cli.prediction.pipeline import predict
from fer_cli.prediction.shots import Shot

#: A path; a Pillow image; or an array of uint8, H×W×3 RGB or H×W grey.
Picture = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class FacePrediction:
    """One face of a picture.

    ``label`` is the class with the highest of the ``probabilities``, which are by class and sum to 1, and
    ``confidence`` its probability. ``box`` is x, y, width and height in pixels of the upright picture, and
    ``landmarks`` the right and left eye, the nose and the right and left corner of the mouth, 5×2; both are None where
    the whole picture was taken as the face. ``neutral`` says which neutral face a paired model compared it with, and
    ``neutral_confidence`` how probably that one is neutral, where it was found among the pictures.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    box: tuple[float, float, float, float] | None = None
    landmarks: np.ndarray | None = field(default=None, repr=False, compare=False)
    neutral: str = ""
    neutral_confidence: float | None = None


class Predictor:
    """Names the expressions in pictures, with a trained model and the cropping that it was trained with.

    >>> from fer_cli import Predictor
    >>> predictor = Predictor("runs/difference-ckplus-fold0")  # doctest: +SKIP
    >>> for face in predictor("group.jpg"):  # doctest: +SKIP
    ...     print(face.label, f"{face.confidence:.0%}", face.box)
    >>> album = predictor(["anna-1.jpg", "anna-2.jpg"])  # a list of faces for each picture  # doctest: +SKIP
    >>> predictor(frame, neutral="anna-at-rest.jpg")  # an array, H×W×3 RGB  # doctest: +SKIP

    ``model`` is a run's folder, or any image classification model: a folder, or a name of the Hugging Face Hub.
    ``neutral`` is what a paired model compares faces with where a call does not say: ``auto`` (each person's most
    neutral picture among those of the call, and the training's average for people without), ``mean`` (that average),
    or a picture. ``device``, ``runtime``, ``detector`` (``none``: pictures are faces already cropped),
    ``detector_model`` and ``faces`` mean what they do for ``fer predict``.

    Raises :class:`~fer_cli.errors.FerError`: its kinds say what cannot be had.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        neutral: Picture = AUTO,
        device: str = "auto",
        runtime: Runtime = "auto",
        detector: Literal["auto", "none"] = "auto",
        detector_model: Path | None = None,
        faces: Faces = "all",
    ):
        self._model = open_model(model, device=device, runtime=runtime)
        self._device, self._neutral = device, neutral
        face_crop = self._model.classifier.preprocessing.face_crop
        cropped = detector == "none" or face_crop.get("detector") == "none"
        self._looker = Looker(face_crop, None if cropped else find_detector_model(detector_model), faces=faces)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart."""
        return self._model.classifier.classes

    @overload
    def __call__(self, pictures: Picture, neutral: Picture | None = None) -> list[FacePrediction]: ...
    @overload
    def __call__(self, pictures: Sequence[Picture], neutral: Picture | None = None) -> list[list[FacePrediction]]: ...

    def __call__(self, pictures, neutral=None):
        """The faces of a picture, the largest first and none if there is none; of several pictures, a list each.

        A path, a Pillow image and an array of the same pixels give equal results. Raises
        :class:`~fer_cli.errors.PictureError`, which names it, for a picture that cannot be read.
        """
        if isinstance(pictures, Picture):
            return self([pictures], neutral)[0]
        source = self._source(pictures, self._neutral if neutral is None else neutral)
        found: list[list[FacePrediction]] = []
        for outcome in predict(_shots(pictures), self._looker, self._model.classifier, source):
            found.append(
                [
                    FacePrediction(
                        each.label,
                        each.confidence,
                        each.probabilities,
                        None if each.face is None else each.face.box,
                        None if each.face is None else each.face.landmarks,
                        each.neutral,
                        each.neutral_confidence,
                    )
                    for each in outcome.predictions
                ]
            )
        return found

    def _source(self, pictures: Sequence[Picture], neutral: Picture) -> NeutralSource | None:
        if not self._model.classifier.paired:
            return None
        if not isinstance(neutral, str | Path):
            return _Given(self._looker.crops(decode(neutral))[0])
        makes = Neutrals(NeutralChoice(str(neutral)), self._model, device=self._device)
        return makes(self._looker, lambda: _shots(pictures))


class _Given:
    """A neutral face given as pixels."""

    def __init__(self, crop: Crop):
        self._neutral = Neutral("given", pixels=crop.pixels)

    def __call__(self, shot: Shot, number: int, crop: Crop) -> Neutral:
        return self._neutral


def _shots(pictures: Sequence[Picture]) -> Iterator[Shot]:
    for index, picture in enumerate(pictures):
        path = Path(picture) if isinstance(picture, str | Path) else Path(f"picture {index}")
        try:
            yield Shot(index, path, pixels=decode(picture))
        except PictureError as error:
            raise PictureError(f"{path}: {error.message}.") from error
