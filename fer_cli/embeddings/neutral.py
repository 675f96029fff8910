"""The average neutral face of a run's training subjects, and the distance between two of them."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.embed import Embeddings, encode_crops
from fer_cli.errors import DiskFullError, RunError
from fer_cli.files import written_whole
from fer_cli.labels import NEUTRAL
from fer_cli.models.loading import save_tensors
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.runs.run import Run

FILE = "neutral.safetensors"
#: How many people, and pictures of each, the distance between people is measured by.
PEOPLE, A_PERSON = 200, 8
#: The part of the people who have a double nearer than the threshold.
DOUBLES = 0.1


@dataclass(frozen=True, eq=False)
class NeutralMean:
    """The average neutral face in a run's own embedding: ``mean`` D, over ``subjects`` people of its training.

    ``threshold`` is the distance (:func:`distances`) below which two faces are taken for one person's: nine in ten
    people of the validation fold are farther from whoever is most like them. None where that fold names fewer than two.
    """

    mean: Tensor
    subjects: int
    threshold: float | None = None

    def save(self, folder: Path) -> None:
        """Write ``neutral.safetensors`` into the run's ``folder``."""
        metadata = {"subjects": str(self.subjects)}
        if self.threshold is not None:
            metadata["threshold"] = repr(self.threshold)
        with written_whole(folder / FILE) as part:
            save_tensors({"mean": self.mean}, part, metadata)

    @classmethod
    def load(cls, folder: Path) -> "NeutralMean | None":
        """What :meth:`save` wrote; None where there is none.

        Raises :class:`~fer_cli.errors.RunError` if the file is not what was written.
        """
        if not (folder / FILE).is_file():
            return None
        try:
            with safe_open(folder / FILE, framework="pt") as file:
                metadata = file.metadata()
                threshold = float(metadata["threshold"]) if "threshold" in metadata else None
                mean = file.get_tensor("mean")
                if mean.dim() != 1 or not mean.is_floating_point() or not torch.isfinite(mean).all():
                    raise ValueError("the mean is no vector of finite numbers")
                if threshold is not None and not 0 <= threshold <= 2:
                    raise ValueError(f"the threshold {threshold} is no cosine distance")
                return cls(mean.float(), int(metadata["subjects"]), threshold)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder / FILE} is not what fer wrote: {error}.", hint="Remove it.") from error


def neutral_mean(
    encoder: nn.Module,
    dataset: PreparedDataset,
    preprocessing: Preprocessing,
    *,
    subjects: set[str],
    fold: int,
    device: torch.device,
    embeddings: Embeddings | None = None,
) -> NeutralMean | None:
    """The average of what ``encoder`` makes of the neutral faces of the training ``subjects``, each counted alike.

    ``fold`` is the one held out for the test, of which nothing is read; the next one round gives the threshold.
    ``embeddings`` are what the encoder made of all crops, where that is known. None where no neutral face of the
    subjects is known.
    """
    rows = dataset.metadata
    resting = rows[(rows["label"] == NEUTRAL) & rows["subject"].isin(subjects)]
    if resting.empty:
        return None
    crops = Crops(dataset.path, kept_bytes=0)

    def embedded(chosen: pd.DataFrame) -> Tensor:
        names = chosen["file_name"].tolist()
        return embeddings.of(names)[0] if embeddings else encode_crops(encoder, names, crops, preprocessing, device)

    means = pd.DataFrame(embedded(resting).numpy()).groupby(resting["subject"].to_numpy()).mean()
    mean = torch.from_numpy(means.to_numpy().mean(axis=0)).float()
    threshold = None
    if dataset.protocol.folds:
        others = rows[(rows["fold"] == (fold + 1) % dataset.protocol.folds) & ~rows["subject"].isin(subjects)]
        others = others[others["subject"].isin(sorted(others["subject"].unique())[:PEOPLE])]
        others = others.groupby("subject").head(A_PERSON)
        if others["subject"].nunique() > 1:
            threshold = _threshold(embedded(others) - mean, others["subject"].to_numpy())
    return NeutralMean(mean, len(means), threshold)


def of_run(run: Run, encoder: nn.Module, preprocessing: Preprocessing, device: torch.device) -> NeutralMean:
    """The average neutral face of ``run``; of a run trained before runs stored it, computed from its dataset.

    Raises :class:`~fer_cli.errors.RunError` where the dataset is gone or shows no neutral face of the training people.
    """
    stored = NeutralMean.load(run.path)
    if stored is not None:
        if len(stored.mean) != encoder.width:
            raise RunError(
                f"{run.path / FILE} is of another encoder: it has {len(stored.mean)} numbers in place of "
                f"{encoder.width}.",
                hint="Remove it.",
            )
        return stored
    path = Path(run.card["dataset"]["path"])
    hint = "Type --neutral PICTURE, or train the run again."
    if not path.is_dir():
        raise RunError(
            f"{run.path} has no {FILE}, and the dataset that it was trained on is no longer there.", hint=hint
        )
    subjects = set(run.card["subjects"]["train"])
    found = neutral_mean(
        encoder, PreparedDataset.open(path), preprocessing, subjects=subjects, fold=run.fold, device=device
    )
    if found is None:
        raise RunError(f"{path} shows no neutral face of the people whom {run.path} was trained on.", hint=hint)
    # On a disk that may only be read it is found again the next time.
    with suppress(OSError, DiskFullError):
        found.save(run.path)
    return found


def unit(embeddings: np.ndarray, centre: np.ndarray | None = None) -> np.ndarray:
    """N×D embeddings less ``centre``, each of length one; those of length zero stay so."""
    centred = embeddings.astype(np.float32) if centre is None else embeddings.astype(np.float32) - centre
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """N×M cosine distances, 0 to 2, between N×D and M×D embeddings of length one."""
    return 1 - one @ other.T


def _threshold(centred: Tensor, subjects: np.ndarray) -> float:
    faces = unit(centred.numpy())
    apart = distances(faces, faces)
    apart[subjects[:, None] == subjects[None, :]] = np.inf
    # The median of a person, for one odd picture makes no double; a part of the people, for twins do not decide.
    doubles = pd.Series(apart.min(axis=1)).groupby(subjects).median()
    return float(doubles.quantile(DOUBLES))
