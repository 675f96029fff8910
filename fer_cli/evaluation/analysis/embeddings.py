"""Embeddings of the tested faces by each encoder of a run: their map in the plane, and the identity left in them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.embed import embed, encode_crops
from fer_cli.errors import DatasetError, ModelError
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


#: Pairs grow with the square of the pictures: of more, so many are drawn.
MOST_PICTURES = 2000


@dataclass(frozen=True)
class IdentityProbe:
    """How well subjects can be identified from an embedding.

    ``identification`` is the accuracy of the linear probe, the mean over the ``subjects`` of the part of their
    ``pictures`` that it names rightly, which ``named`` holds; by chance that is ``chance``, one in so many subjects.
    ``auc`` and ``eer`` are of verification: the area under the ROC curve and the equal error rate over ``same`` pairs
    of one person and ``different`` pairs of two; by chance both are 0.5, and NaN where no pair of one kind is left.
    """

    identification: float
    chance: float
    auc: float
    eer: float
    subjects: int
    pictures: int
    same: int
    different: int
    named: tuple[float, ...]


def probe_identity(
    embeddings: np.ndarray,
    subjects: Sequence[str | None],
    sequences: Sequence[str | None],
    labels: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> IdentityProbe:
    """Probe ``embeddings``, N×D, of pictures of the ``subjects``, taken in the ``sequences`` (None: a single picture).

    Enrolment and probe frames are apart: each subject's sequences are dealt to two halves by ``seed``; a standardised
    logistic regression is fitted on one half and tested on the other, and the other way round. Subjects with one
    sequence, and pictures without a subject, are excluded.

    Verification compares standardised embeddings by their cosine, over pairs of different sequences. With ``labels``
    (N expressions) both kinds of pairs show two different expressions: else most pairs of one person would, and those
    of two would not, so that the expression told them apart.

    Of more than :data:`MOST_PICTURES` pictures so many are drawn, by ``seed`` too.

    Raises ``ValueError`` if the lengths differ or a number is not finite, and
    :class:`~fer_cli.errors.DatasetError` if fewer than two subjects have two sequences.
    """
    embeddings = np.asarray(embeddings, dtype=np.float64)
    rows = pd.DataFrame({"subject": list(subjects), "sequence": list(sequences)})
    rows["label"] = None if labels is None else list(labels)
    if embeddings.ndim != 2 or len(embeddings) != len(rows) or not np.isfinite(embeddings).all():
        raise ValueError(f"{len(rows)} pictures, and embeddings of shape {embeddings.shape} or with no finite numbers")
    rows["sequence"] = rows["sequence"].where(rows["sequence"].notna(), "picture " + rows.index.astype(str))
    generator = np.random.default_rng(seed)
    if len(rows) > MOST_PICTURES:
        drawn = np.sort(generator.choice(len(rows), MOST_PICTURES, replace=False))
        rows, embeddings = rows.iloc[drawn], embeddings[drawn]
    included = rows["subject"].notna() & (rows.groupby("subject")["sequence"].transform("nunique") > 1)
    rows, embeddings = rows[included].reset_index(drop=True), embeddings[included.to_numpy()]
    if rows["subject"].nunique() < 2:
        raise DatasetError(
            "The identity probe is tested on other sequences than it learns from, and fewer than two of the subjects "
            "tested have two sequences or pictures.",
            hint="Type no --identity-probe, or evaluate on a dataset with more pictures of each person.",
        )
    right = _name(embeddings, rows, _halves(rows, generator)) == rows["subject"].to_numpy(dtype=str)
    named = pd.Series(right).groupby(rows["subject"]).mean()
    auc, eer, same, different = _verify(embeddings, rows)
    return IdentityProbe(
        identification=float(named.mean()),
        chance=1 / len(named),
        auc=auc,
        eer=eer,
        subjects=len(named),
        pictures=len(rows),
        same=same,
        different=different,
        named=tuple(named),
    )


def _halves(rows: pd.DataFrame, generator: np.random.Generator) -> np.ndarray:
    """0 or 1 a row: each subject's sequences shuffled, and dealt to the two in turn."""
    once = rows[["subject", "sequence"]].drop_duplicates()
    once = once.iloc[generator.permutation(len(once))]
    once["half"] = once.groupby("subject").cumcount() % 2
    return rows.merge(once, on=["subject", "sequence"])["half"].to_numpy()


def _name(embeddings: np.ndarray, rows: pd.DataFrame, half: np.ndarray) -> np.ndarray:
    """The subject that the probe names for each row, having learned from the other half."""
    subjects = rows["subject"].to_numpy(dtype=str)
    named = np.empty_like(subjects)
    for tested in (0, 1):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        with warnings.catch_warnings():
            # A probe that has not quite settled names nearly the same people.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(embeddings[half != tested], subjects[half != tested])
        named[half == tested] = probe.predict(embeddings[half == tested])
    return named


def _verify(embeddings: np.ndarray, rows: pd.DataFrame) -> tuple[float, float, int, int]:
    """The AUC, the EER, and how many pairs of one person and of two they are over."""
    directions = StandardScaler().fit_transform(embeddings)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    one, other = np.triu_indices(len(rows), 1)
    subject, sequence, label = (pd.factorize(rows[name])[0] for name in ("subject", "sequence", "label"))
    same = subject[one] == subject[other]
    compared = ~(same & (sequence[one] == sequence[other])) & ((label[one] != label[other]) | (label[one] < 0))
    same, alike = same[compared], (directions @ directions.T)[one[compared], other[compared]]
    if same.all() or not same.any():
        return float("nan"), float("nan"), int(same.sum()), int((~same).sum())
    accepted, detected, _ = roc_curve(same, alike)
    return (
        float(roc_auc_score(same, alike)),
        _equal_error_rate(accepted, detected),
        int(same.sum()),
        int((~same).sum()),
    )


def _equal_error_rate(accepted: np.ndarray, detected: np.ndarray) -> float:
    """Where the ROC curve, between its points a straight line, accepts as many strangers as it rejects of one's own."""
    return float(np.interp(0, accepted + detected - 1, accepted))
