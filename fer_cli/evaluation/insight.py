"""What was asked of a run beyond its scores: what its embeddings keep of identity, what its answers rest on, a map."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.bootstrap import drawn_again, interval
from fer_cli.evaluation.embedding_map import EmbeddingMap, map_embeddings
from fer_cli.evaluation.encoded import DIFFERENCE, IDENTITY, encode
from fer_cli.evaluation.explain import Explanation, choose, explain
from fer_cli.evaluation.identity_probe import probe_identity
from fer_cli.models.classifier import Classifier
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import Run


@dataclass(frozen=True)
class Asked:
    """What to look into: the identity probe, so many explanations, the map of the embeddings."""

    identity_probe: bool = False
    explanations: int = 0
    embedding_map: bool = False

    def of_fold(self, place: int, folds: int) -> "Asked":
        """What to ask of one of so many folds: a share of the explanations, and of the first the map of its encoder."""
        share = self.explanations // folds + (place < self.explanations % folds)
        return Asked(self.identity_probe, share, self.embedding_map and place == 0)


@dataclass(frozen=True)
class MapOf:
    """A map of one embedding, with the expression and the person of each of its points, and the fold it is of."""

    embedding: str
    map: EmbeddingMap
    labels: np.ndarray
    subjects: np.ndarray
    fold: int


@dataclass(frozen=True)
class Insight:
    """What was found.

    ``probes`` has a row a fold and embedding: ``fold, embedding`` and an identity probe's fields. ``sharing`` counts
    the subjects of whom several sequences are compared with one and the same neutral face: their difference vectors
    have it in common, on both sides of the probe.
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
        for embedding, own in self.probes.groupby("embedding", sort=False):
            named = np.concatenate(own["named"].map(np.array).tolist())
            low, high = interval(drawn_again(partial(_means, named), len(named))["mean"])
            means = {name: own[name].mean() for name in ("chance", "auc", "eer")}
            sums = {name: own[name].sum() for name in ("subjects", "pictures")}
            found = {"identification": named.mean(), "low": float(low), "high": float(high)}
            rows.append({"embedding": embedding, **found, **means, **sums})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        if self.probes is None:
            return {}
        return {
            "identity_probe": self.probes_over_folds().to_dict(orient="records"),
            "identity_probe_folds": self.probes.drop(columns="named").to_dict(orient="records"),
        }


def _means(named: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of what is ``named`` of each subject, under each of R draws of the subjects."""
    return {"mean": draws @ named / len(named)}


#: For those who ask nothing beyond the scores.
NOTHING_ASKED, NO_INSIGHT = Asked(), Insight()


def look_into(
    asked: Asked,
    run: Run,
    dataset: PreparedDataset,
    predictions: pd.DataFrame,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> Insight:
    """Look into what ``run`` makes of the faces of ``dataset`` that it was tested on, whose ``predictions`` name them.

    Raises :class:`~fer_cli.errors.DatasetError` if a probe is asked for and there are too few people for it, or a crop
    cannot be read.
    """
    if asked == NOTHING_ASKED:
        return NO_INSIGHT
    classifier, crops = Classifier.load(run.path, device), Crops(dataset.path)
    rows = dataset.metadata.set_index("file_name", drop=False).loc[predictions["file_name"]].reset_index(drop=True)
    probes, sharing, maps, explanations = None, 0, (), ()
    if asked.identity_probe or asked.embedding_map:
        encoded = encode(run, classifier, dataset, rows, crops=crops, progress=progress)
        if asked.identity_probe:
            found = {name: _probe(embeddings, rows) for name, embeddings in encoded.items()}
            sharing = _sharing(rows) if DIFFERENCE in encoded else 0
            probes = pd.DataFrame([{"fold": run.fold, "embedding": name, **probe} for name, probe in found.items()])
        if asked.embedding_map:
            maps = tuple(_map(name, encoded[name], rows, run.fold) for name in encoded if name != IDENTITY)
    if asked.explanations:
        paired = predictions.assign(neutral_file_name=rows["neutral_file_name"].to_numpy())
        explanations = tuple(explain(classifier, choose(paired, asked.explanations), crops, progress=progress))
    return Insight(probes, sharing, explanations, maps)


def together(insights: Sequence[Insight]) -> Insight:
    """The folds' insights as one."""
    probes = [insight.probes for insight in insights if insight.probes is not None]
    return Insight(
        pd.concat(probes, ignore_index=True) if probes else None,
        sum(insight.sharing for insight in insights),
        tuple(each for insight in insights for each in insight.explanations),
        tuple(each for insight in insights for each in insight.maps),
    )


def _probe(embeddings: np.ndarray, rows: pd.DataFrame) -> dict[str, float]:
    known = rows.astype(object).where(rows.notna(), None)
    return probe_identity(embeddings, known["subject"], known["sequence"], known["label"]).to_dict()


def _sharing(rows: pd.DataFrame) -> int:
    """How many subjects have fewer neutral faces than sequences."""
    known = rows.assign(sequence=rows["sequence"].fillna(rows["file_name"])).groupby("subject")
    return int((known["neutral_file_name"].nunique() < known["sequence"].nunique()).sum())


def _map(name: str, embeddings: np.ndarray, rows: pd.DataFrame, fold: int) -> MapOf:
    found = map_embeddings(embeddings)
    shown = rows.iloc[found.places]
    subjects = shown["subject"].fillna("not named").to_numpy(dtype=str)
    return MapOf(name, found, shown["label"].to_numpy(dtype=str), subjects, fold)
