"""Embeddings of the tested faces by each encoder of a run, and their map in the plane."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.embed import embed, encode_crops
from fer_cli.errors import ModelError
from fer_cli.models.inference import Classifier
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import Run, runs_in

EMOTION, IDENTITY, DIFFERENCE = "emotion encoder", "identity encoder", "difference vector"
#: The input of a model that its frozen identity encoder computes.
_IDENTITY = "identity_embeddings"


def encode(
    run: Run,
    classifier: Classifier,
    dataset: PreparedDataset,
    rows: pd.DataFrame,
    *,
    crops: Crops,
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """The embeddings of N ``rows`` of ``dataset``, N×D each, by what made them, of those that the ``run`` has.

    ``emotion encoder``: the face, as the classifier's own encoder embeds it (of ViT-SE: gated). ``difference vector``:
    that less the neutral face's, of a paired model. ``identity encoder``: the face, as the identity encoder embeds it
    that this run, or the stage of it that trained the emotion encoder, was trained with.
    """
    targets = rows["file_name"].tolist()
    # A neutral face is compared with several others, and embedded once.
    names = list(dict.fromkeys([*targets, *(rows["neutral_file_name"] if classifier.paired else [])]))

    def made_by(input_name: str, of: Classifier, wanted: list[str]) -> Tensor:
        frozen = of.model.frozen.get(input_name)
        if frozen is None:
            return encode_crops(of.model.eval().features, wanted, crops, of.preprocessing, of.device, progress)
        embeddings = embed(frozen, dataset, of.preprocessing, device=of.device, crops=crops, progress=progress)
        return embeddings.of(wanted)[0]

    table = made_by("embeddings", classifier, names)
    place = {name: index for index, name in enumerate(names)}
    faces = table[[place[name] for name in targets]]
    encoded = {EMOTION: faces}
    if classifier.paired:
        encoded[DIFFERENCE] = faces - table[[place[name] for name in rows["neutral_file_name"]]]
    disentangled = _with_identity(run, classifier)
    if disentangled is not None:
        encoded[IDENTITY] = made_by(_IDENTITY, disentangled, targets)
    return {name: values.numpy() for name, values in encoded.items()}


def _with_identity(run: Run, classifier: Classifier) -> Classifier | None:
    """The model with an identity encoder: the run's own, or that of the stage inside or before it; None without."""
    if _IDENTITY in classifier.model.frozen:
        return classifier
    folders = runs_in(run.path)
    start = run.card["recipe"].get("encoder")
    if start and Path(start).is_dir():
        folders += [Path(start) / f"fold{run.fold}", Path(start)]
    for folder in folders:
        try:
            disentangled = Classifier.load(folder, str(classifier.device))
        except ModelError:
            # Not every run that another starts from is a classifier of ours: the identity encoder's own is none.
            continue
        if _IDENTITY in disentangled.model.frozen:
            return disentangled
    return None


#: From so many pictures on the map is t-SNE's; fewer have too few neighbours for it, and get PCA's.
ENOUGH_FOR_TSNE = 60
#: Of more pictures than these, so many are drawn.
MOST_POINTS = 1000
#: t-SNE sees so many principal components, which keeps its distances from being noise (as its authors do).
COMPONENTS = 50


@dataclass(frozen=True)
class EmbeddingMap:
    """``places``: the N pictures on the map, in order; ``points``: P×2, each from 0 to 1; ``method``, named."""

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
    scaled = StandardScaler().fit_transform(embeddings[places])
    if not scaled.any():
        return EmbeddingMap(places, np.full((len(places), 2), 0.5), "every picture has the same embedding")
    components = min(COMPONENTS, *scaled.shape)
    spread = PCA(components, random_state=seed).fit_transform(scaled)
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
