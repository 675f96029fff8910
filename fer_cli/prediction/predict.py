"""From pictures to faces to probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_cli.errors import PictureError, UsageError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.crop import Crop, crop_face, crop_faces
from fer_cli.faces.decode import decode
from fer_cli.faces.detect import Detector, Face
from fer_cli.faces.detector_model import find_detector_model
from fer_cli.models.classifier import Classifier
from fer_cli.progress import Progress, silent

#: Faces a step: enough to keep a processor busy, few enough for any memory.
BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """What a model makes of one face.

    ``number`` counts the faces of a picture from 0, the largest first. ``face`` is None where the whole picture was
    taken as the face. ``probabilities`` has one a class, by name.
    """

    path: Path
    number: int
    face: Face | None
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of :attr:`label`."""
        return self.probabilities[self.label]


@dataclass(frozen=True)
class Missed:
    """A picture that gave no prediction, and why. ``fault`` is False where that is by rule."""

    path: Path
    reason: str
    fault: bool = True


class Predictor:
    """A trained model with the cropping it was trained with.

    >>> predictor = Predictor(Classifier.load("runs/difference-ckplus-fold0"))  # doctest: +SKIP
    >>> for outcome in predictor.predict(pictures([Path("images")]), Path("neutral.jpg")):  # doctest: +SKIP
    ...     print(outcome)
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        detect: bool = True,
        detector_model: Path | None = None,
    ):
        self._classifier = classifier
        crop = classifier.preprocessing.face_crop
        self._template = CropTemplate(crop["size"], crop["margin"])
        self._detect = detect
        self._detector_model = detector_model
        self._loaded: Detector | None = None

    def predict(
        self, paths: Sequence[Path], neutral: Path | None = None, *, progress: Progress = silent
    ) -> Iterator[Prediction | Missed]:
        """A prediction for every face of every picture, in order, as they come.

        ``neutral`` is a picture of the same person's neutral face; it is no target itself. Raises
        :class:`~fer_cli.errors.UsageError` if the model needs one and there is none,
        :class:`~fer_cli.errors.PictureError` if it cannot be used; other pictures that cannot be are
        :class:`Missed`.
        """
        reference = self._reference(neutral, progress)
        waiting: list[tuple[Path, int, Crop] | Missed] = []
        faces = 0
        for done, path in enumerate(paths, start=1):
            if reference is not None and path.exists() and path.samefile(neutral):
                waiting.append(Missed(path, "it is the neutral picture itself", fault=False))
            else:
                found = self._faces(path, self._detector(progress))
                waiting += found
                faces += len(found)
            if faces >= BATCH or done == len(paths):
                yield from self._classify(waiting, reference)
                waiting, faces = [], 0
            progress("predicting", done, len(paths))

    def _reference(self, neutral: Path | None, progress: Progress) -> Tensor | None:
        if not self._classifier.paired:
            return None
        if neutral is None:
            raise UsageError(
                "This model compares a face with the same person's neutral face, and none was given.",
                mend="Type --neutral PICTURE, or use a run trained with --features target.",
            )
        try:
            # Decoded first: a mistyped name should not wait for the detector.
            pixels = decode(neutral)
            return _tensor([crop_face(pixels, self._template, detector=self._detector(progress))])
        except PictureError as error:
            raise PictureError(f"The neutral picture {neutral} cannot be used: {error.message}.") from error

    def _detector(self, progress: Progress) -> Detector | None:
        if self._detect and self._loaded is None:
            self._loaded = Detector(find_detector_model(self._detector_model, progress))
        return self._loaded

    def _faces(self, path: Path, detector: Detector | None) -> list[tuple[Path, int, Crop]] | list[Missed]:
        try:
            pixels = decode(path)
            if detector is None:
                crops = [crop_face(pixels, self._template)]
            else:
                crops = crop_faces(pixels, self._template, detector)
        except PictureError as error:
            return [Missed(path, error.message)]
        return [(path, number, crop) for number, crop in enumerate(crops)]

    def _classify(
        self, waiting: list[tuple[Path, int, Crop] | Missed], reference: Tensor | None
    ) -> Iterator[Prediction | Missed]:
        crops = [entry[2] for entry in waiting if not isinstance(entry, Missed)]
        rows = iter(self._probabilities(crops, reference))
        for entry in waiting:
            if isinstance(entry, Missed):
                yield entry
                continue
            path, number, crop = entry
            named = dict(zip(self._classifier.classes, map(float, next(rows)), strict=True))
            yield Prediction(path, number, crop.face, named)

    def _probabilities(self, crops: list[Crop], reference: Tensor | None) -> np.ndarray:
        parts = [np.empty((0, len(self._classifier.classes)))]
        # A picture of a crowd may hold many more faces than a batch.
        for start in range(0, len(crops), BATCH):
            faces = _tensor(crops[start : start + BATCH])
            neutrals = None if reference is None else reference.expand(len(faces), -1, -1, -1)
            parts.append(self._classifier.probabilities(faces, neutrals))
        return np.concatenate(parts)


def _tensor(crops: list[Crop]) -> Tensor:
    """B×3×H×W uint8."""
    return torch.from_numpy(np.stack([crop.pixels for crop in crops])).permute(0, 3, 1, 2).contiguous()
