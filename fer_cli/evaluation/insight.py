"""What was asked of a run beyond its scores: what its embeddings keep of identity, what its answers rest on, a map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.embedding_map import EmbeddingMap, map_embeddings
from fer_cli.evaluation.encoded import IDENTITY, encode
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
    """What was found. ``probes`` has a row a fold and embedding: ``fold, embedding`` and an identity probe's fields."""

    probes: pd.DataFrame | None = None
    explanations: tuple[Explanation, ...] = ()
    maps: tuple[MapOf, ...] = ()

    def probes_over_folds(self) -> pd.DataFrame:
        """A row an embedding: the means over the folds of ``identification, chance, auc, eer``, and the sums of people
        and pictures."""  # fmt: skip
        how = {
            **dict.fromkeys(("identification", "chance", "auc", "eer"), "mean"),
            **dict.fromkeys(("subjects", "pictures"), "sum"),
        }
        return self.probes.groupby("embedding", sort=False).agg(how).reset_index()

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        if self.probes is None:
            return {}
        return {"identity_probe": self.probes.astype(object).where(self.probes.notna(), None).to_dict(orient="records")}


def look_into(
    asked: Asked,
    run: Run,
    classifier: Classifier,
    dataset: PreparedDataset,
    rows: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    progress: Progress = silent,
) -> Insight:
    """Look into what ``run`` makes of the ``rows`` of ``dataset``, of which ``predictions`` has the same, in order.

    Raises :class:`~fer_cli.errors.DatasetError` if a probe is asked for and there are too few people for it, or a crop
    cannot be read.
    """
    crops = Crops(dataset.path)
    probes, maps, explanations = None, (), ()
    if asked.identity_probe or asked.embedding_map:
        encoded = encode(run, classifier, dataset, rows, crops=crops, progress=progress)
        who = rows["subject"].fillna("nobody known").to_numpy(dtype=str), rows["label"].to_numpy(dtype=str)
        if asked.identity_probe:
            probes = pd.DataFrame(
                [{"fold": run.fold, "embedding": name, **_probe(encoded[name], rows)} for name in encoded]
            )
        if asked.embedding_map:
            maps = tuple(_map(name, encoded[name], *who, run.fold) for name in encoded if name != IDENTITY)
    if asked.explanations:
        paired = predictions.assign(neutral_file_name=rows["neutral_file_name"].to_numpy())
        chosen = choose(paired, asked.explanations)
        explanations = tuple(explain(classifier, chosen, crops, progress=progress))
    return Insight(probes, explanations, maps)


def together(insights: Sequence[Insight]) -> Insight:
    """The folds' insights as one."""
    probes = [insight.probes for insight in insights if insight.probes is not None]
    return Insight(
        pd.concat(probes, ignore_index=True) if probes else None,
        tuple(each for insight in insights for each in insight.explanations),
        tuple(each for insight in insights for each in insight.maps),
    )


def _probe(embeddings: np.ndarray, rows: pd.DataFrame) -> dict[str, float]:
    subjects, sequences = (
        rows[name].astype(object).where(rows[name].notna(), None) for name in ("subject", "sequence")
    )
    return probe_identity(embeddings, subjects, sequences, rows["label"]).to_dict()


def _map(name: str, embeddings: np.ndarray, subjects: np.ndarray, labels: np.ndarray, fold: int) -> MapOf:
    found = map_embeddings(embeddings)
    return MapOf(name, found, labels[found.places], subjects[found.places], fold)
