"""Faces of an album: what the encoders make of each, in temporary files, from a first look at all pictures."""

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from fer_cli.models.inference import Classifier
from fer_cli.prediction.neutral.identity import IdentityEncoder
from fer_cli.prediction.neutral.scoring import ClassifierScorer, DistanceScorer
from fer_cli.prediction.pipeline import BATCH, FaceExtractor, Neutral, extract_faces, to_tensor
from fer_cli.prediction.results import FacePrediction, Frame, crop_of
from fer_cli.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class Encoders:
    """What embeds and scores a face: the model's own encoder, the ``identity`` encoder, and the ``scorer``.

    A published model need not have an encoder of its own; without a ``scorer`` no face is neutral for certain.
    """

    classifier: Classifier
    identity: IdentityEncoder
    scorer: ClassifierScorer | DistanceScorer | None

    @property
    def shared(self) -> bool:
        """Whether people are told apart by the model's own encoder."""
        return self.identity.network is getattr(self.classifier.model, "encoder", None)

    @property
    def confident(self) -> bool:
        """Whether scores are probabilities."""
        return self.scorer is not None and self.scorer.confident

    def __call__(self, faces: Sequence[FacePrediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of B faces the model's embeddings B×W (W is 0 without an encoder), the identities B×D, scores, certainties.

        A score says how neutral a face is; where it is certain, the face may serve as neutral.
        """
        batch = to_tensor([crop_of(face) for face in faces])
        has_encoder = hasattr(self.classifier.model, "encoder")
        own = self.classifier.embed(batch) if has_encoder else batch.new_empty((len(faces), 0)).float()
        people = own.numpy() if self.shared else self.identity.embed_faces(faces)
        if self.scorer is None:
            return own.numpy(), people, np.zeros(len(faces)), np.zeros(len(faces), bool)
        scores = self.scorer(batch, own)
        return own.numpy(), people, scores.scores, scores.certain


class EmbeddedFaces:
    """All faces, a row each; embeddings and names are in temporary files, which vanish when they are closed."""

    def __init__(self, encoders: Encoders):
        self.confident = encoders.confident
        self.keys, self.scores, self.certain = array("Q"), array("d"), bytearray()
        self._aligns, self._unaligned = encoders.identity.aligned, 0
        self._names = Blobs()
        self._own = Rows()
        self._identities = self._own if encoders.shared else Rows()

    def __len__(self) -> int:
        return len(self.keys)

    def add(
        self, frame: Frame, face: FacePrediction, own: np.ndarray, identity: np.ndarray, score: float, certain: bool
    ) -> None:
        """Add a face, with its row of what :class:`Encoders` returns."""
        self._names.add(os.fsencode(face_name(frame, face.number)))
        self._own.add(own)
        if self._identities is not self._own:
            self._identities.add(identity)
        self.keys.append(face_key(frame, face.number))
        self.scores.append(float(score))
        self.certain.append(bool(certain))
        self._unaligned += self._aligns and face.aligned is None

    @property
    def note(self) -> str:
        """A line on faces that the identity encoder did not see as it should; empty where there are none."""
        if not self._unaligned:
            return ""
        return (
            f"identity  {self._unaligned} of {len(self)} faces have no landmarks: their crops are resized in place of "
            "being aligned, and tell people apart worse"
        )

    def identities(self) -> np.ndarray:
        """N×D float16; no face can be added after."""
        return self._identities.table()

    def name(self, row: int) -> str:
        """The picture's path, with the frame of a video and the face of a group."""
        return os.fsdecode(self._names[row])

    def embedding(self, row: int) -> np.ndarray:
        """W float32, the model's own embedding."""
        return self._own.table()[row].astype(np.float32)

    def neutral(self, row: int) -> Neutral:
        """The face as a neutral one to compare with."""
        confidence = self.scores[row] if self.confident else None
        return Neutral(self.name(row), embedding=self.embedding(row), confidence=confidence)


class Blobs:
    """Strings of bytes in a temporary file."""

    def __init__(self) -> None:
        self._file, self._ends = _temporary(), array("Q", [0])

    def add(self, content: bytes) -> None:
        """Add one; none can be added after one was read."""
        self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))

    def __getitem__(self, row: int) -> bytes:
        start, end = self._ends[row : row + 2]
        self._file.seek(start)
        return self._file.read(end - start)


class Rows:
    """Rows of float16 in a temporary file."""

    def __init__(self) -> None:
        self._file, self._width, self._count = _temporary(), 0, 0
        self._table: np.ndarray | None = None

    def add(self, row: np.ndarray) -> None:
        """Add a row, as wide as the others."""
        self._width = len(row)
        self._count += 1
        self._file.write(row.astype(np.float16).tobytes())

    def table(self) -> np.ndarray:
        """N×D; no row can be added after."""
        if not self._width:
            return np.empty((self._count, 0), np.float16)
        if self._table is None:
            self._file.flush()
            self._table = np.memmap(self._file, np.float16, mode="r").reshape(-1, self._width)
        return self._table


def embed_faces(
    frames: Iterable[Frame],
    extract: FaceExtractor,
    encoders: Encoders,
    faces: EmbeddedFaces,
    progress: Progress = silent,
) -> None:
    """Extract every face of ``frames`` once, and add what ``encoders`` make of it to ``faces``, in order."""
    waiting: list[tuple[Frame, FacePrediction]] = []

    def embed() -> None:
        for (frame, face), *row in zip(waiting, *encoders([face for _, face in waiting]), strict=True):
            faces.add(frame, face, *row)
        waiting.clear()

    for result in extract_faces(frames, extract.aligning() if encoders.identity.aligned else extract):
        for face in result.faces:
            waiting.append((result.frame, face))
            if len(waiting) == BATCH:
                embed()
        progress("searching for neutral faces", result.frame.index + 1, None)
    if waiting:
        embed()


def face_name(frame: Frame, number: int) -> str:
    """The picture's path, with the frame of a video and the face of a group."""
    of_video = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.path}{of_video}" + (f" face {number}" if number else "")


def face_key(frame: Frame, number: int) -> int:
    """A number that tells the face from all others of an album."""
    name = os.fsencode(frame.path) + f" {frame.number} {number}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile()
