"""Analyses on request: identity left in the embeddings, saliency, a map of the embeddings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from torch import Tensor, nn

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.analysis.embeddings import (
    DIFFERENCE,
    IDENTITY,
    EmbeddingMap,
    encode,
    map_embeddings,
    probe_identity,
)
from fer_cli.evaluation.bootstrap import interval, resample
from fer_cli.models.inference import Classifier
from fer_cli.options import DEFAULT_SESSION, Session
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import Run

#: How much of an overlay is the colour where the saliency is highest.
OPACITY = 0.6


@dataclass(frozen=True)
class Explanation:
    """The saliency of one face.

    ``saliency``, S×S, goes from 0 to 1, which is the most of this face (all 0: nothing speaks for the prediction);
    ``overlay``, S×S×3 uint8, is the face with it laid over. ``method`` made it: Grad-CAM is of the class ``predicted``,
    attention rollout of no class in particular.
    """

    file_name: str
    label: str
    predicted: str
    confidence: float
    method: str
    saliency: np.ndarray
    overlay: np.ndarray


def choose(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """``count`` rows worth explaining: of each class the surest mistake, the surest right prediction, and so on."""
    right = predictions["label"] == predictions["predicted"]
    ordered = predictions.assign(right=right).sort_values(["confidence", "file_name"], ascending=[False, True])
    ordered["turn"] = ordered.groupby(["label", "right"]).cumcount()
    return ordered.sort_values(["turn", "right"], kind="stable").head(count).drop(columns=["right", "turn"])


def explain(
    classifier: Classifier, predictions: pd.DataFrame, crops: Crops, *, progress: Progress = silent
) -> list[Explanation]:
    """Explain each of the N ``predictions``: ``file_name, label, predicted, confidence`` and ``neutral_file_name``.

    The last is needed for a paired model only, whose saliency is that of the target face, its neutral face being what
    it is. Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
    """
    explanations, model = [], classifier.model

    def pixels(crop: Tensor) -> Tensor:
        return classifier.preprocessing(crop[None]).to(classifier.device)

    for row in predictions.to_dict(orient="records"):
        crop = crops[row["file_name"]]
        neutral = pixels(crops[row["neutral_file_name"]]) if classifier.paired else None
        coarse = model.saliency(pixels(crop), classifier.classes.index(row["predicted"]), neutral)
        saliency = _fitted(coarse, (crop.shape[-2], crop.shape[-1]))
        overlay = _overlay(crop.permute(1, 2, 0).numpy(), saliency)
        facts: dict[str, Any] = {name: row[name] for name in ("file_name", "label", "predicted", "confidence")}
        explanations.append(Explanation(**facts, method=model.saliency_method, saliency=saliency, overlay=overlay))
        progress("explaining", len(explanations), len(predictions))
    return explanations


def _fitted(coarse: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The map at the crop's size, its highest value 1."""
    fine = nn.functional.interpolate(coarse[None, None].float().cpu(), size=size, mode="bicubic", align_corners=False)
    values: np.ndarray = fine[0, 0].clamp(min=0).numpy()
    return values / values.max() if values.max() > 0 else values


def _overlay(face: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    colour = 255 * matplotlib.colormaps["inferno"](saliency)[..., :3]
    opacity = OPACITY * saliency[..., None]
    return (face * (1 - opacity) + colour * opacity).round().astype(np.uint8)


@dataclass(frozen=True)
class AnalysisOptions:
    """What to analyze: the identity probe, so many explanations, the map of the embeddings."""

    identity_probe: bool = False
    explanations: int = 0
    embedding_map: bool = False

    def of_fold(self, place: int, folds: int) -> "AnalysisOptions":
        """The options of one of so many folds: a share of the explanations, and of the first the map of its encoder."""
        share = self.explanations // folds + (place < self.explanations % folds)
        return AnalysisOptions(self.identity_probe, share, self.embedding_map and place == 0)


@dataclass(frozen=True)
class MapOf:
    """A map of one embedding, with the expression and the person of each of its points, and the fold it is of."""

    embedding: str
    map: EmbeddingMap
    labels: np.ndarray
    subjects: np.ndarray
    fold: int


@dataclass(frozen=True)
class Analysis:
    """The results of the analyses that were asked for.

    ``probes`` has a row a fold and embedding: ``fold, embedding`` and an identity probe's fields. ``sharing`` counts
    the subjects with the same neutral face for several sequences: their difference vectors have it in common, on both
    sides of the probe.
    """

    probes: pd.DataFrame | None = None
    sharing: int = 0
    explanations: tuple[Explanation, ...] = ()
    maps: tuple[MapOf, ...] = ()

    def probes_over_folds(self) -> pd.DataFrame:
        """A row an ``embedding``: ``identification, low, high, chance, auc, eer, subjects, pictures``.

        ``identification`` is the mean over the subjects of all folds, with its interval; ``chance``, ``auc`` and
        ``eer`` are the folds' means.
        """
        rows = []
        probes = pd.DataFrame({"embedding": []}) if self.probes is None else self.probes
        for embedding, own in probes.groupby("embedding", sort=False):
            named = np.concatenate(own["named"].map(np.array).tolist())
            means = resample(partial(_weighted_mean, named), len(named))["mean"]
            low, high = interval(means)
            over_folds = {name: own[name].mean() for name in ("chance", "auc", "eer")}
            sums = {name: own[name].sum() for name in ("subjects", "pictures")}
            probe = {"identification": named.mean(), "low": float(low), "high": float(high)}
            rows.append({"embedding": embedding, **probe, **over_folds, **sums})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The analyses as JSON holds them."""
        if self.probes is None:
            return {}
        return {
            "identity_probe": self.probes_over_folds().to_dict(orient="records"),
            "identity_probe_folds": self.probes.drop(columns="named").to_dict(orient="records"),
        }


#: No analysis was asked for.
NO_ANALYSIS = Analysis()


def analyze(
    options: AnalysisOptions,
    run: Run,
    dataset: PreparedDataset,
    predictions: pd.DataFrame,
    session: Session = DEFAULT_SESSION,
) -> Analysis:
    """Analyze what ``run`` makes of the faces of ``dataset`` that ``predictions`` name.

    Raises :class:`~fer_cli.errors.DatasetError` if a probe is asked for and there are too few people for it, or a crop
    cannot be read.
    """
    if options == AnalysisOptions():
        return NO_ANALYSIS
    classifier, crops = Classifier.load(run.path, session.device), Crops(dataset.path)
    rows = dataset.metadata.set_index("file_name", drop=False).loc[predictions["file_name"]].reset_index(drop=True)
    probes, sharing = None, 0
    maps: tuple[MapOf, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    if options.identity_probe or options.embedding_map:
        encoded = encode(run, classifier, dataset, rows, crops=crops, progress=session.progress)
        if options.identity_probe:
            results = {name: _probe(embeddings, rows) for name, embeddings in encoded.items()}
            sharing = _sharing(rows) if DIFFERENCE in encoded else 0
            probes = pd.DataFrame([{"fold": run.fold, "embedding": name, **probe} for name, probe in results.items()])
        if options.embedding_map:
            maps = tuple(_map(name, encoded[name], rows, run.fold) for name in encoded if name != IDENTITY)
    if options.explanations:
        paired = predictions.assign(neutral_file_name=rows["neutral_file_name"].to_numpy())
        explanations = tuple(
            explain(classifier, choose(paired, options.explanations), crops, progress=session.progress)
        )
    return Analysis(probes, sharing, explanations, maps)


def _weighted_mean(values: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": draws @ values / len(values)}


def merge(analyses: Sequence[Analysis]) -> Analysis:
    """The analyses of all folds as one."""
    probes = [each.probes for each in analyses if each.probes is not None]
    return Analysis(
        pd.concat(probes, ignore_index=True) if probes else None,
        sum(each.sharing for each in analyses),
        tuple(one for each in analyses for one in each.explanations),
        tuple(one for each in analyses for one in each.maps),
    )


def _probe(embeddings: np.ndarray, rows: pd.DataFrame) -> dict[str, float]:
    rows = rows.astype(object).where(rows.notna(), None)
    subjects, sequences, labels = (rows[name].tolist() for name in ("subject", "sequence", "label"))
    return asdict(probe_identity(embeddings, subjects, sequences, labels))


def _sharing(rows: pd.DataFrame) -> int:
    """How many subjects have fewer neutral faces than sequences."""
    by_subject = rows.assign(sequence=rows["sequence"].fillna(rows["file_name"])).groupby("subject")
    return int((by_subject["neutral_file_name"].nunique() < by_subject["sequence"].nunique()).sum())


def _map(name: str, embeddings: np.ndarray, rows: pd.DataFrame, fold: int) -> MapOf:
    result = map_embeddings(embeddings)
    rows = rows.iloc[result.places]
    subjects = rows["subject"].fillna("not named").to_numpy(dtype=str)
    return MapOf(name, result, rows["label"].to_numpy(dtype=str), subjects, fold)
