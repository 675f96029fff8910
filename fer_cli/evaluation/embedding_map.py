"""A map of embeddings: pictures as points of a plane, those near each other that the embedding takes for alike."""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

#: From so many pictures on the map is t-SNE's; fewer have too few neighbours for it, and get PCA's.
ENOUGH_FOR_TSNE = 60
#: Of more pictures than these, so many are drawn.
MOST_POINTS = 1000
#: t-SNE sees so many principal components, which keeps its distances from being noise (as its authors do).
COMPONENTS = 50


@dataclass(frozen=True)
class EmbeddingMap:
    """``places``: which of the N pictures are shown, in order; ``points``: P×2, each from 0 to 1; ``method``, named."""

    places: np.ndarray
    points: np.ndarray
    method: str


def map_embeddings(embeddings: np.ndarray, *, seed: int = 0) -> EmbeddingMap:
    """Lay N embeddings, N×D, out in the plane.

    t-SNE (L. van der Maaten and G. Hinton, JMLR 9, 2008) from :data:`ENOUGH_FOR_TSNE` pictures on, PCA below; both see
    the numbers standardised. Raises ``ValueError`` if there are fewer than two, or a number is not finite.
    """
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if len(embeddings) < 2 or not np.isfinite(embeddings).all():
        raise ValueError(f"no map can be made of {len(embeddings)} embeddings, or of numbers that are not finite")
    generator = np.random.default_rng(seed)
    places = np.arange(len(embeddings))
    if len(places) > MOST_POINTS:
        places = np.sort(generator.choice(len(places), MOST_POINTS, replace=False))
    shown = StandardScaler().fit_transform(embeddings[places])
    if not shown.any():
        return EmbeddingMap(places, np.full((len(places), 2), 0.5), "every picture has the same embedding")
    components = min(COMPONENTS, *shown.shape)
    spread = PCA(components, random_state=seed).fit_transform(shown)
    if len(places) < ENOUGH_FOR_TSNE:
        plane = np.zeros((len(places), 2))
        plane[:, : min(2, components)] = spread[:, :2]
        return EmbeddingMap(places, _to_unit(plane), "PCA, the first two components")
    perplexity = min(30, (len(places) - 1) / 3)
    plane = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(spread)
    return EmbeddingMap(places, _to_unit(plane), f"t-SNE, perplexity {perplexity:.0f}, seed {seed}")


def _to_unit(plane: np.ndarray) -> np.ndarray:
    low, reach = plane.min(axis=0), np.ptp(plane, axis=0)
    # One scale for both, so that distances stay comparable.
    return (plane - low - reach / 2) / reach.max() + 0.5
