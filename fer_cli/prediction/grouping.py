"""Whose face is whose: grouping faces by identity, without being told how many people there are."""

from collections.abc import Iterator

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from fer_cli.embeddings.neutral import distances, unit

#: Faces clustered at once. Agglomerative clustering compares all pairs: of this many 2 million, in some 150 MB.
AT_ONCE = 2000


def group(
    embeddings: np.ndarray, threshold: float, *, centre: np.ndarray | None = None, at_once: int = AT_ONCE
) -> np.ndarray:
    """N group numbers, from 0 in the order of the groups' first faces, for N×D ``embeddings`` (a memmap will do).

    Agglomerative clustering with average linkage: groups are joined while the mean cosine distance of their faces, less
    ``centre``, is below ``threshold``. Of more than ``at_once`` faces the first are clustered; of each further so many,
    those nearer than ``threshold`` to the middle of a group join the nearest, and the others are clustered in turn.
    Memory depends on ``at_once`` and on the number of groups, not on N; so does, above ``at_once``, the result on the
    faces' order.
    """
    labels = np.empty(len(embeddings), np.int64)
    sums = np.empty((0, embeddings.shape[1]), np.float32)
    for start, part in _parts(embeddings, at_once):
        faces = unit(part, centre)
        found = _nearest(faces, sums, threshold)
        strange = np.flatnonzero(found < 0)
        if len(strange):
            found[strange] = len(sums) + _cluster(faces[strange], threshold)
        new = max(int(found.max()) + 1 - len(sums), 0)
        sums = np.concatenate([sums, np.zeros((new, sums.shape[1]), np.float32)])
        np.add.at(sums, found, faces)
        labels[start : start + len(part)] = found
    return labels


def _parts(embeddings: np.ndarray, at_once: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(embeddings), at_once):
        yield start, embeddings[start : start + at_once]


def _nearest(faces: np.ndarray, sums: np.ndarray, threshold: float) -> np.ndarray:
    """The group whose middle is nearest to each face, -1 where none is nearer than ``threshold``."""
    if not len(sums):
        return np.full(len(faces), -1)
    apart = distances(faces, unit(sums))
    nearest = apart.argmin(axis=1)
    return np.where(apart[np.arange(len(faces)), nearest] < threshold, nearest, -1)


def _cluster(faces: np.ndarray, threshold: float) -> np.ndarray:
    """Clusters numbered in the order of their first faces."""
    if len(faces) == 1:
        return np.zeros(1, np.int64)
    clustering = AgglomerativeClustering(
        n_clusters=None, distance_threshold=threshold, metric="precomputed", linkage="average"
    )
    found = clustering.fit_predict(distances(faces, faces).clip(min=0))
    _, first, place = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]
