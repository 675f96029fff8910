"""The pipeline from frames to faces to probabilities, its steps in parallel."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import cv2
import numpy as np
import torch
from torch import Tensor

from fer_cli.errors import PictureError, UsageError
from fer_cli.faces.align import OVERSAMPLING, CropTemplate, align_five
from fer_cli.faces.cascade import CASCADE, ChosenDetector, DetectorChoice, choose_detector, is_cropped, open_detector
from fer_cli.faces.crop import Crop, crop_face, crop_faces, crop_largest
from fer_cli.faces.decode import MAX_PIXELS, decode
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.parallel import ThreadedMap
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Skipped, crop_of
from fer_cli.prediction.tracking import thumbnail, tracked
from fer_cli.progress import Progress, silent

#: Faces given to the network at once. More of them leave a processor's caches, and each thread has a batch of its own.
BATCH = 8
#: Batches under way, for each thread.
BATCHES = 2
#: Pictures handed to a thread at once, where they are all there: a handover takes as long as a twentieth of the work.
TOGETHER = 4
#: A note on a face that was turned upright.
TURNED = "it lies on its side or upside down: taken as turned by {} degrees"
TOO_LARGE = "too large for this machine"


class FaceClassifier(Protocol):
    """A model of crops: :class:`~fer_cli.models.inference.Classifier`, or one of another runtime.

    ``probabilities`` is called by several threads at once, each of which may compute on one core, and always with
    :data:`BATCH` faces: a batch is filled up, so that a face's probabilities do not depend on its neighbours.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def paired(self) -> bool:
        """Whether a face is compared with its person's neutral face."""

    def probabilities(self, crops: Tensor, neutrals: Tensor | None = None) -> np.ndarray:
        """B×classes for B×3×H×W uint8 crops, and where ``paired`` as many neutral crops.

        A classifier that also takes ``neutral_embeddings`` (B×D float32) in place of ``neutrals`` can be given a finder
        of :class:`Neutral` with embeddings.
        """


class FaceExtractor:
    """Detection and cropping of faces, as the model's ``face_crop`` states; any number of threads may call it at once.

    ``detector_model`` is YuNet's file, ``cascade`` for the cascade, or None where each picture is a face already
    cropped. ``quick`` is as of :class:`~fer_cli.faces.detect.Detector`: for models of single faces, for those that
    compare two see the least shift of one. Raises :class:`~fer_cli.errors.DetectorError` if it is not YuNet's file.
    """

    def __init__(
        self,
        face_crop: Mapping[str, Any],
        detector_model: ChosenDetector,
        *,
        faces: Literal["all", "largest"] = "all",
        max_pixels: int = MAX_PIXELS,
        quick: bool = False,
    ):
        self._template = CropTemplate(face_crop["size"], face_crop["margin"])
        self._largest = faces == "largest"
        self._max_pixels = max_pixels
        self._detector = open_detector(detector_model, quick=quick)
        self._quick = OVERSAMPLING if quick else None
        self._aligns = False

    def aligning(self) -> "FaceExtractor":
        """This extractor, giving each face with landmarks its ``aligned`` crop too, for an identity encoder."""
        other = copy(self)
        other._aligns = True
        return other

    @classmethod
    def of(
        cls,
        face_crop: Mapping[str, Any],
        detector: DetectorChoice,
        detector_model: Path | None,
        *,
        progress: Progress = silent,
        **settings: Any,
    ) -> "FaceExtractor":
        """The extractor with the detector's file found or downloaded, where faces are to be detected."""
        cropped = is_cropped(face_crop, detector)
        return cls(face_crop, None if cropped else choose_detector(detector, detector_model, progress), **settings)

    def __call__(self, frame: Frame) -> FrameResult:
        """The faces of ``frame``, without probabilities; an unusable picture is skipped without an exception."""
        bare = frame
        if frame.pixels is not None or frame.data is not None:
            seen = frame.pixels if frame.number is not None else None
            bare = replace(frame, pixels=None, data=None, thumbnail=None if seen is None else thumbnail(seen))
        if frame.problem is not None:
            return FrameResult(bare, skipped=(Skipped(frame.problem),))
        if frame.end:
            return FrameResult(bare)
        notes: list[Skipped] = []
        try:
            pixels = frame.pixels
            if pixels is None:
                pixels = decode(
                    frame.path if frame.data is None else frame.data,
                    max_pixels=self._max_pixels,
                    note=lambda text: notes.append(Skipped(text, fault=False)),
                )
            crops = self.crops(pixels)
            faces = [crop.face if self._aligns else None for crop in crops]
            aligned = [None if face is None else align_five(pixels, face.landmarks) for face in faces]
        except PictureError as error:
            # A face that leaves the view of a camera is no fault of the video.
            return FrameResult(bare, skipped=(*notes, Skipped(error.message, fault=frame.number is None)))
        except (MemoryError, cv2.error):
            return FrameResult(bare, skipped=(*notes, Skipped(TOO_LARGE)))
        for number, crop in enumerate(crops):
            # A video on its side would have a note for every frame.
            if frame.number is None and crop.face is not None and crop.face.turn:
                notes.append(Skipped(TURNED.format(crop.face.turn), fault=False, face=number))
        return FrameResult(bare, tuple(map(_face, range(len(crops)), crops, aligned)), tuple(notes))

    def crops(self, pixels: np.ndarray) -> list[Crop]:
        """A crop of each face in H×W×3 uint8 RGB ``pixels``, the largest first, or of the largest alone.

        Raises :class:`~fer_cli.errors.PictureError` if there is none.
        """
        if self._detector is None:
            return [crop_face(pixels, self._template)]
        if self._largest:
            return [crop_largest(pixels, self._template, self._detector, quick=self._quick)]
        return crop_faces(pixels, self._template, self._detector, quick=self._quick)

    def largest(self, picture: Any) -> np.ndarray:
        """The crop of the largest face, size×size×3 uint8 RGB, of a picture's path, Pillow image or pixels.

        Raises :class:`~fer_cli.errors.PictureError` if it cannot be read or has none.
        """
        return self.crops(decode(picture, max_pixels=self._max_pixels))[0].pixels


def settle_detector(
    face_crop: Mapping[str, Any], options: PredictOptions, progress: Progress = silent
) -> PredictOptions:
    """The options with ``cascade`` for ``auto`` where faces are to be detected and YuNet's file cannot be had.

    Raises :class:`~fer_cli.errors.DetectorError` as :func:`~fer_cli.faces.cascade.choose_detector` does.
    """
    if options.detector != "auto" or is_cropped(face_crop, options.detector):
        return options
    cascade = choose_detector("auto", options.detector_model, progress) == CASCADE
    return replace(options, detector=CASCADE) if cascade else options


def _face(number: int, crop: Crop, aligned: np.ndarray | None) -> FacePrediction:
    face = crop.face
    if face is None:
        return FacePrediction(number, crop=crop.pixels, aligned=aligned)
    return FacePrediction(
        number, box=face.box, landmarks=face.landmarks, detection=face.score, crop=crop.pixels, aligned=aligned
    )


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """A neutral face to compare a face with.

    ``pixels`` is its crop, size×size×3 uint8 RGB; or ``embedding`` holds the D float32 numbers that the model's encoder
    makes of it. ``name`` is what the output's column says. ``confidence`` is the probability that it is neutral, where
    it was found and not given.
    """

    name: str
    pixels: np.ndarray | None = None
    embedding: np.ndarray | None = None
    confidence: float | None = None


class NeutralFinder(Protocol):
    """Neutral faces of people: fitted once, then asked for each face."""

    def fit(self, frames: Iterable[Frame] | None, extract: FaceExtractor) -> None:
        """Prepare for ``frames``, all that will be predicted on; None where they can be read only once."""

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral | Skipped:
        """The neutral face for ``face`` of ``frame``, or why there is none; called in order, by one thread."""


#: What gives the faces of a frame, without probabilities: a :class:`FaceExtractor`, or one that adds to them.
Extract = Callable[[Frame], FrameResult]
#: Called with a frame and each of its faces, in the order of the frames, by one thread: the face with its person.
Identify = Callable[[Frame, FacePrediction], FacePrediction]


def extract_faces(frames: Iterable[Frame], extract: FaceExtractor) -> Iterator[FrameResult]:
    """The faces of each frame with their tracks, in order, on all cores; the first half of :func:`predict`."""
    with ThreadedMap() as threads:
        # Without ticks there is a result each time.
        yield from (result for result in tracked(threads.in_order(extract, frames)) if result is not None)


def predict(
    frames: Iterable[Frame],
    extract: Extract,
    classifier: FaceClassifier,
    finder: NeutralFinder | None = None,
    at_once: int | None = None,
    identify: Identify | None = None,
    together: int = 1,
) -> Iterator[FrameResult]:
    """A result for every frame, in order, on ``at_once`` threads or all cores; a few batches are in memory.

    ``identify`` gives each face its person, before the ``finder`` is asked. ``together`` frames are handed to a thread
    at once: more than one where none has to be waited for.

    Raises :class:`~fer_cli.errors.UsageError` if the classifier is paired and there is no ``finder``, fitted already.
    """
    if classifier.paired and finder is None:
        raise UsageError(
            "This model compares a face with the same person's neutral face, and none was given.",
            hint="Give it a finder of neutral faces, as --neutral does, or use a run trained with --features target.",
        )
    with ThreadedMap(at_once) as threads:
        batches: deque[Future[list[FrameResult]]] = deque()
        waiting: list[tuple[FrameResult, list[Neutral]]] = []
        faces = 0

        def send() -> None:
            nonlocal waiting, faces
            if waiting:
                batches.append(threads.submit(_classify, waiting, classifier))
            waiting, faces = [], 0

        for result in tracked(threads.in_order(extract, frames, ticks=True, together=together)):
            if result is None:
                # A camera's next picture may be long in coming: what is there need not wait for it.
                send()
            else:
                if identify is not None:
                    result = replace(result, faces=tuple(identify(result.frame, face) for face in result.faces))
                alone = finder is None or not classifier.paired
                waiting.append((result, []) if alone else _with_neutrals(result, cast(NeutralFinder, finder)))
                faces += len(waiting[-1][0].faces)
            if _enough(faces, len(waiting)):
                send()
            while batches and (batches[0].done() or len(batches) > BATCHES * threads.threads):
                yield from batches.popleft().result()
        send()
        while batches:
            yield from batches.popleft().result()


def _enough(faces: int, frames: int) -> bool:
    """Whether to classify now: pictures of several faces wait for a while until whole batches come out."""
    return (faces > 0 and faces % BATCH == 0) or max(faces, frames) >= 4 * BATCH


def _with_neutrals(result: FrameResult, finder: NeutralFinder) -> tuple[FrameResult, list[Neutral]]:
    """The result without the faces that have no neutral face, and the neutral face of each of the others."""
    faces, neutrals, skipped = [], [], list(result.skipped)
    for face in result.faces:
        neutral = finder.neutral_for(result.frame, face)
        if isinstance(neutral, Skipped):
            skipped.append(neutral._replace(face=face.number))
        else:
            faces.append(replace(face, neutral=neutral.name, neutral_confidence=neutral.confidence))
            neutrals.append(neutral)
    return FrameResult(result.frame, tuple(faces), tuple(skipped)), neutrals


def _classify(waiting: list[tuple[FrameResult, list[Neutral]]], classifier: FaceClassifier) -> list[FrameResult]:
    crops = [crop_of(face) for result, _ in waiting for face in result.faces]
    neutrals = [neutral for _, those in waiting for neutral in those]
    rows = iter(_probabilities(crops, neutrals, classifier).tolist())
    return [
        replace(
            result,
            faces=tuple(
                replace(face, probabilities=dict(zip(classifier.classes, next(rows), strict=True)))
                for face in result.faces
            ),
        )
        for result, _ in waiting
    ]


def _probabilities(crops: list[np.ndarray], neutrals: list[Neutral], classifier: Any) -> np.ndarray:
    """N×classes. A picture of a crowd may hold many more faces than a batch, and neutral faces may be of two kinds."""
    found = np.empty((len(crops), len(classifier.classes)))
    embedded = [neutral.embedding is not None for neutral in neutrals] or [False] * len(crops)
    for kind in (False, True):
        places = [place for place, is_embedded in enumerate(embedded) if is_embedded == kind]
        for start in range(0, len(places), BATCH):
            chosen = places[start : start + BATCH]
            filled = chosen + chosen[-1:] * (BATCH - len(chosen))
            batch = to_tensor([crops[place] for place in filled])
            others = [neutrals[place] for place in filled] if neutrals else []
            if kind:
                vectors = np.stack([each.embedding for each in others if each.embedding is not None])
                shares = classifier.probabilities(batch, neutral_embeddings=torch.from_numpy(vectors))
            elif neutrals:
                pixels = [each.pixels for each in others if each.pixels is not None]
                shares = classifier.probabilities(batch, to_tensor(pixels))
            else:
                shares = classifier.probabilities(batch)
            found[chosen] = shares[: len(chosen)]
    return found


def to_tensor(crops: list[np.ndarray]) -> Tensor:
    """B×3×H×W uint8 of B crops, H×W×3."""
    batch = np.empty((len(crops), 3, *crops[0].shape[:2]), np.uint8)
    for crop, planes in zip(crops, batch, strict=True):
        # In half the time of a copy of all of them, transposed; of large crops in a sixth.
        cv2.split(crop, list(planes))
    return torch.from_numpy(batch)
