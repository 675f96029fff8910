"""Matching of an album's faces with the people of a store: known ones are recognised, the others become new people."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from fer_cli.embeddings.neutral import distances, unit
from fer_cli.errors import FerError
from fer_cli.prediction.people.store import PeopleStore

#: Faces whose embeddings are added up, or compared with all people, at once.
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Gallery:
    """The people of a store, as the rows of ``people``: ``numbers`` P, and unit ``centroids`` P×D."""

    numbers: np.ndarray
    centroids: np.ndarray

    @classmethod
    def of(cls, store: PeopleStore) -> "Gallery":
        """The people that are in the store now."""
        numbers, totals = store.centroids()
        return cls(numbers, unit(totals) if len(numbers) else totals)

    def nearest(self, faces: np.ndarray, threshold: float) -> np.ndarray:
        """The row of ``people`` nearest to each of N×D unit ``faces``; 0 where none is nearer than ``threshold``."""
        if not len(self.numbers):
            return np.zeros(len(faces), np.int64)
        if faces.shape[1] != self.centroids.shape[1]:
            raise FerError(
                f"The people store is damaged: its embeddings have {self.centroids.shape[1]} numbers in place of "
                f"{faces.shape[1]}.",
                hint="Put a copy of it in its place, or name another DIR.",
            )
        found = np.empty(len(faces), np.int64)
        for start in range(0, len(faces), CHUNK):
            apart = distances(faces[start : start + CHUNK], self.centroids)
            place = apart.argmin(axis=1)
            found[start : start + CHUNK] = np.where(apart.min(axis=1) < threshold, self.numbers[place], 0)
        return found

    def distance(self, face: np.ndarray, number: int) -> float:
        """The cosine distance, 0 to 2, between a unit face, D, and a row of ``people``."""
        [place] = np.flatnonzero(self.numbers == number)
        return float(np.clip(1 - face @ self.centroids[place], 0, 2))


def person_confidence(distance: float, threshold: float) -> float:
    """How sure a person is, from 0 to 1: ``1 - distance / (2 · threshold)``, and 0 from twice the threshold.

    ``distance`` is the cosine distance between the face and the mean of the person's faces, this one included: 1 is
    a face equal to that mean, 0.5 one as far away as two people may be. It orders faces; it is no probability.
    """
    return max(0.0, 1.0 - distance / (2 * threshold))


def face_digest(crop: np.ndarray) -> bytes:
    """The digest of a crop's pixels, so that a face is counted once however often its picture is met."""
    return hashlib.blake2b(np.ascontiguousarray(crop).tobytes(), digest_size=16).digest()


class DigestIndex:
    """The place of each of N digests, by its first eight bytes; ``keys`` are these as N uint64, little-endian."""

    def __init__(self, keys: np.ndarray):
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def place(self, digest: bytes) -> int | None:
        """The place of ``digest``, the first of equal ones; None where it is not there."""
        key = np.uint64(int.from_bytes(digest[:8], "little"))
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        return int(self._order[place])


def match_faces(
    store: PeopleStore,
    digests: Sequence[bytes],
    embeddings: np.ndarray,
    clusters: np.ndarray,
    *,
    threshold: float,
    centre: np.ndarray | None,
    today: date,
    album: int,
) -> np.ndarray:
    """The row of ``people`` of each of an album's N faces, new faces counted; within a transaction of the store.

    ``embeddings`` are N×D (a memmap will do), ``clusters`` N numbers of the album's own people. A face that was counted
    before stays with its person. The new faces of a cluster together join the person whose centroid is nearest to
    theirs and nearer than ``threshold``; if there is none, the one whom most known faces of the cluster belong to; else
    they become a new person. Two clusters may join the same person, and the order of clusters does not matter.
    Whoever has new faces was seen in the ``album`` of this number.
    """
    parts = np.zeros(len(digests), np.int64)
    new = np.zeros(len(digests), bool)
    met: set[bytes] = set()
    votes: dict[int, Counter[int]] = {}
    for row, digest in enumerate(digests):
        stored = store.person_of(digest)
        if stored is not None:
            parts[row] = stored
            votes.setdefault(int(clusters[row]), Counter())[stored] += 1
        elif digest not in met:
            # A copy of a picture counts once.
            met.add(digest)
            new[row] = True
    totals = _totals(embeddings, clusters, new, centre)
    found = Gallery.of(store).nearest(unit(totals), threshold) if len(totals) else np.zeros(0, np.int64)
    joined = np.zeros(len(totals), np.int64)
    rows = np.flatnonzero(new)
    rows = rows[np.argsort(clusters[rows], kind="stable")]
    names, starts = np.unique(clusters[rows], return_index=True)
    for cluster, members in zip(names.tolist(), np.split(rows, starts[1:]), strict=bool(len(rows))):
        part = int(found[cluster])
        if not part and cluster in votes:
            part = votes[cluster].most_common(1)[0][0]
        part = part or store.add_person(embeddings.shape[1], today)
        store.count(part, (digests[row] for row in members), totals[cluster], today, album)
        joined[cluster] = part
    for place in np.flatnonzero(parts == 0).tolist():
        parts[place] = joined[clusters[place]] if new[place] else store.person_of(digests[place]) or 0
    return parts


def _totals(embeddings: np.ndarray, clusters: np.ndarray, new: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
    """Of each cluster the sum of its new faces' embeddings of length one, C×D."""
    totals = np.zeros((int(clusters.max()) + 1 if len(clusters) else 0, embeddings.shape[1]), np.float32)
    for start in range(0, len(clusters), CHUNK):
        chosen = new[start : start + CHUNK]
        faces = unit(embeddings[start : start + CHUNK], centre)
        np.add.at(totals, clusters[start : start + CHUNK][chosen], faces[chosen])
    return totals
