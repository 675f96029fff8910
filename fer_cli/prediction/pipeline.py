"""From shots to faces to probabilities, the steps overlapping."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fer_cli.errors import UsageError
from fer_cli.faces.crop import Crop
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.prediction.given_neutral import Neutral, NeutralSource, NoNeutral
from fer_cli.prediction.look import Looker, Seen
from fer_cli.prediction.outcomes import Missed, Outcome, Prediction
from fer_cli.prediction.overlap import Overlap
from fer_cli.prediction.shots import Shot

#: Faces given to the network at once. More of them leave a processor's caches, and each thread has a batch of its own.
BATCH = 8
#: Batches under way, for each thread.
BATCHES = 2


class FaceClassifier(Protocol):
    """What gives probabilities for crops: :class:`~fer_cli.models.classifier.Classifier`, or another runtime.

    ``probabilities`` is called by several threads at once, each of which may compute on one core, and always with
    :data:`BATCH` faces: what is lacking is filled up, so that a face's probabilities do not depend on those beside it.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def paired(self) -> bool:
        """Whether a face is compared with its person's neutral face."""

    def probabilities(self, crops: Tensor, neutrals: Tensor | None = None) -> np.ndarray:
        """B×classes for B×3×H×W uint8 crops, and where ``paired`` as many neutral crops.

        A classifier that also takes ``neutral_embeddings`` (B×D float32) in place of ``neutrals`` can be given a source
        of :class:`~fer_cli.prediction.given_neutral.Neutral` with embeddings.
        """


def look_at(shots: Iterable[Shot], looker: Looker) -> Iterator[Seen]:
    """What is seen in each shot, in order, on all cores; the first half of :func:`predict`."""
    with Overlap() as overlap:
        yield from overlap.in_order(looker, shots)


def predict(
    shots: Iterable[Shot], looker: Looker, classifier: FaceClassifier, neutral: NeutralSource | None = None
) -> Iterator[Outcome]:
    """An outcome for every shot, in order, as they come; no more than a few batches are in memory.

    Raises :class:`~fer_cli.errors.UsageError` if the classifier compares with a neutral face and ``neutral`` is None.
    """
    if classifier.paired and neutral is None:
        raise UsageError(
            "This model compares a face with the same person's neutral face, and none was given.",
            hint="Give it a source of neutral faces, as --neutral does, or use a run trained with --features target.",
        )
    with Overlap() as overlap:
        batches: deque[Future[list[Outcome]]] = deque()
        waiting: list[_Waiting] = []
        faces = 0

        def send() -> None:
            nonlocal waiting, faces
            if waiting:
                batches.append(overlap.submit(_classified, waiting, classifier))
            waiting, faces = [], 0

        for seen in overlap.in_order(looker, shots, ticks=True):
            if seen is None:
                # A camera's next picture may be long in coming: what there is need not wait for it.
                send()
            else:
                waiting.append(_Waiting(seen, neutral if classifier.paired else None))
                faces += len(waiting[-1].faces)
            if _enough(faces, len(waiting)):
                send()
            while batches and (batches[0].done() or len(batches) > BATCHES * overlap.threads):
                yield from batches.popleft().result()
        send()
        while batches:
            yield from batches.popleft().result()


def _enough(faces: int, shots: int) -> bool:
    """Whether to classify now: pictures of several faces wait for a while until whole batches come out."""
    return (faces > 0 and faces % BATCH == 0) or max(faces, shots) >= 4 * BATCH


class _Waiting:
    """A shot whose faces wait to be classified: ``faces`` holds the number, the crop and the neutral face of each."""

    def __init__(self, seen: Seen, source: NeutralSource | None):
        self.shot, self.missed = seen.shot, list(seen.missed)
        self.faces: list[tuple[int, Crop, Neutral | None]] = []
        for number, crop in enumerate(seen.crops):
            neutral = None if source is None else source(seen.shot, number, crop)
            if isinstance(neutral, NoNeutral):
                self.missed.append(Missed(self.shot.path, neutral.reason, neutral.fault, number, self.shot.frame))
            else:
                self.faces.append((number, crop, neutral))


def _classified(waiting: list[_Waiting], classifier: FaceClassifier) -> list[Outcome]:
    faces = [(crop, neutral) for each in waiting for _, crop, neutral in each.faces]
    rows = iter(_probabilities(faces, classifier))
    outcomes = []
    for each in waiting:
        shot = each.shot
        predictions = [
            Prediction(
                shot.path,
                number,
                crop.face,
                dict(zip(classifier.classes, map(float, next(rows)), strict=True)),
                neutral.served if neutral is not None else "",
                shot.frame,
                shot.time,
                crop.pixels,
                neutral.confidence if neutral is not None else None,
            )
            for number, crop, neutral in each.faces
        ]
        outcomes.append(Outcome(shot, tuple(predictions), tuple(each.missed)))
    return outcomes


def _probabilities(faces: Sequence[tuple[Crop, Neutral | None]], classifier: FaceClassifier) -> np.ndarray:
    """N×classes. A picture of a crowd may hold many more faces than a batch, and neutral faces may be of two kinds."""
    found = np.empty((len(faces), len(classifier.classes)))
    embedded = [neutral is not None and neutral.embedding is not None for _, neutral in faces]
    for kind in (False, True):
        places = [place for place, is_embedded in enumerate(embedded) if is_embedded == kind]
        for start in range(0, len(places), BATCH):
            chosen = places[start : start + BATCH]
            filled = chosen + chosen[-1:] * (BATCH - len(chosen))
            crops = _tensor([faces[place][0].pixels for place in filled])
            neutrals = [faces[place][1] for place in filled]
            if kind:
                embeddings = torch.from_numpy(np.stack([neutral.embedding for neutral in neutrals]))
                shares = classifier.probabilities(crops, neutral_embeddings=embeddings)
            elif classifier.paired:
                shares = classifier.probabilities(crops, _tensor([neutral.pixels for neutral in neutrals]))
            else:
                shares = classifier.probabilities(crops)
            found[chosen] = shares[: len(chosen)]
    return found


def _tensor(crops: list[np.ndarray]) -> Tensor:
    """B×3×H×W uint8."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
