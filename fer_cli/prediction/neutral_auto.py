"""The neutral face of people whose neutral face nobody named: found among their own pictures, or the average one."""

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.faces.crop import Crop
from fer_cli.models.classifier import Classifier
from fer_cli.prediction.given_neutral import Neutral
from fer_cli.prediction.grouping import group
from fer_cli.prediction.look import Looker
from fer_cli.prediction.neutral_choice import MEAN
from fer_cli.prediction.neutral_identity import IdentityEncoder
from fer_cli.prediction.neutral_scorer import ByClassifier, ByDistance
from fer_cli.prediction.pipeline import look_at
from fer_cli.prediction.shots import Shot
from fer_cli.progress import Progress, silent

BATCH = 8


class MeanNeutral:
    """The training people's average neutral face, for everybody."""

    def __init__(self, mean: NeutralMean):
        self._neutral = Neutral(MEAN, embedding=mean.mean.numpy())

    def __call__(self, shot: Shot, number: int, crop: Crop) -> Neutral:
        """The average neutral face."""
        return self._neutral


@dataclass(frozen=True)
class People:
    """What was found of who is shown: ``faces`` of ``people``, of whom ``served`` have a neutral face of their own.

    Of the others, ``once`` were seen once, and ``unsure`` had no face that is neutral for certain. ``confidence`` is
    the median of those that serve, None where there are no probabilities.
    """

    faces: int
    people: int
    served: int
    once: int
    unsure: int
    confidence: float | None


class AutoNeutral:
    """For each face the most neutral face of the same person; for a person without one, the average neutral face.

    A person seen once has none, for a picture is never its own neutral, and so has the neutral face itself. Made by
    :func:`find_neutrals`.
    """

    def __init__(self, faces: "_Faces", labels: np.ndarray, mean: NeutralMean):
        self._mean = MeanNeutral(mean)
        self._faces = faces
        keys = np.array(faces.keys, np.uint64)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._labels = labels
        self._serving = _most_neutral(labels, np.array(faces.scores), np.array(faces.certain, bool))
        self.people = self._count()

    def __call__(self, shot: Shot, number: int, crop: Crop) -> Neutral:
        """The neutral face of whoever is face ``number`` of ``shot``."""
        key = _key(shot, number)
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            # It was not there when faces were grouped.
            return self._mean(shot, number, crop)
        row = int(self._order[place])
        serving = int(self._serving[self._labels[row]])
        if serving < 0 or serving == row:
            return self._mean(shot, number, crop)
        return self._faces.neutral(serving)

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


def find_neutrals(
    shots: Iterable[Shot],
    looker: Looker,
    classifier: Classifier,
    identity: IdentityEncoder,
    scorer: ByClassifier | ByDistance,
    mean: NeutralMean,
    *,
    progress: Progress = silent,
) -> AutoNeutral:
    """Look at every shot once, group the faces into people, and find each one's most neutral face.

    Embeddings are kept as float16 in temporary files; in memory stay some 30 bytes a face, and what
    :func:`~fer_cli.prediction.grouping.group` needs.
    """
    own = identity.network is classifier.model.encoder
    faces = _Faces(own, scorer.confident)
    waiting: list[tuple[Shot, int, np.ndarray]] = []

    def embed() -> None:
        crops = torch.from_numpy(np.stack([pixels for _, _, pixels in waiting])).permute(0, 3, 1, 2).contiguous()
        embeddings = classifier.embed(crops)
        found = scorer(crops, embeddings)
        people = embeddings.numpy() if own else identity.embed(crops)
        for place, (shot, number, _) in enumerate(waiting):
            faces.add(shot, number, embeddings[place].numpy(), people[place], found.scores[place], found.certain[place])
        waiting.clear()

    for seen in look_at(shots, looker):
        for number, crop in enumerate(seen.crops):
            waiting.append((seen.shot, number, crop.pixels))
            if len(waiting) == BATCH:
                embed()
        progress("looking for neutral faces", seen.shot.index + 1, None)
    if waiting:
        embed()
    labels = group(faces.identities(), identity.threshold, centre=identity.centre)
    return AutoNeutral(faces, labels, mean)


class _Faces:
    """All faces met, a row each: what is long goes to temporary files."""

    def __init__(self, own: bool, confident: bool):
        self.confident = confident
        self.keys, self.scores, self.certain = array("Q"), array("d"), bytearray()
        self._names, self._name_ends = _temporary(), array("Q", [0])
        self._own = _Rows()
        self._identities = self._own if own else _Rows()

    def add(self, shot: Shot, number: int, own: np.ndarray, identity: np.ndarray, score: float, certain: bool) -> None:
        name = os.fsencode(_name(shot, number))
        self._names.write(name)
        self._name_ends.append(self._name_ends[-1] + len(name))
        self._own.add(own)
        if self._identities is not self._own:
            self._identities.add(identity)
        self.keys.append(_key(shot, number))
        self.scores.append(float(score))
        self.certain.append(bool(certain))

    def identities(self) -> np.ndarray:
        return self._identities.table()

    def neutral(self, row: int) -> Neutral:
        start, end = self._name_ends[row : row + 2]
        self._names.seek(start)
        name = os.fsdecode(self._names.read(end - start))
        confidence = self.scores[row] if self.confident else None
        return Neutral(name, embedding=self._own.table()[row].astype(np.float32), confidence=confidence)


class _Rows:
    """Rows of float16 in a temporary file."""

    def __init__(self):
        self._file, self._width, self._table = _temporary(), 0, None

    def add(self, row: np.ndarray) -> None:
        self._width = len(row)
        self._file.write(row.astype(np.float16).tobytes())

    def table(self) -> np.ndarray:
        """N×D; no row can be added after."""
        if self._table is None:
            self._file.flush()
            empty = not self._width
            self._table = (
                np.empty((0, 1), np.float16)
                if empty
                else np.memmap(self._file, np.float16, mode="r").reshape(-1, self._width)
            )
        return self._table


def _temporary() -> BinaryIO:
    """A file that is gone as soon as nobody holds it."""
    return tempfile.TemporaryFile()


def _most_neutral(labels: np.ndarray, scores: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """For each group the row of its most neutral certain face, -1 where it has one face only or none is certain."""
    serving = np.full(labels.max() + 1 if len(labels) else 0, -1)
    rows = np.flatnonzero(certain)
    # The last written wins: the best, and of equals the first met.
    rows = rows[np.lexsort((-rows, scores[rows]))]
    serving[labels[rows]] = rows
    serving[np.bincount(labels, minlength=len(serving)) == 1] = -1
    return serving


def _name(shot: Shot, number: int) -> str:
    """The picture's path, with the frame of a video and the face of a group."""
    frame = "" if shot.frame is None else f" frame {shot.frame}"
    return f"{shot.path}{frame}" + (f" face {number}" if number else "")


def _key(shot: Shot, number: int) -> int:
    told = os.fsencode(shot.path) + f" {shot.frame} {number}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")
