"""Inputs of a model: pictures, and the embeddings that stand in for its frozen encoders."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fer_cli.dataset.pairing import neutral_pictures
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import BatchedDataset, Crops, Faces
from fer_cli.embeddings.embed import Embeddings, Views, embed, normalised
from fer_cli.models.base import TrainedModel
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent

#: The input that replaces the pictures; any other is added to them.
WHOLE = "embeddings"
#: The mean embedding of several neutral pictures of a person, by the picture that is compared with them.
NEUTRALS = "neutral_embeddings"


class EmbeddedFaces(BatchedDataset):
    """Rows of a dataset as embeddings: a face's, its class index, and with ``paired`` the neutral face's.

    The neutral face's embedding is that of the row's own neutral picture, or, with ``neutrals``, what these hold for
    the row. With ``varied`` an item is one of the embeddings' views, drawn anew each time, the same for a face and its
    neutral face; else it is the first. Batches are taken at once: ``embeddings`` B×D, ``neutral_embeddings`` B×D,
    ``labels`` B, or B×C where ``soft_labels`` are given, N×C.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        embeddings: Embeddings,
        class_index: Mapping[str, int],
        *,
        paired: bool,
        varied: bool = False,
        neutrals: Embeddings | None = None,
        soft_labels: Tensor | None = None,
    ):
        views = slice(None) if varied else slice(1)
        self._tables = {WHOLE: embeddings.of(rows["file_name"])[views]}
        if paired and neutrals is not None:
            self._tables[NEUTRALS] = neutrals.of(rows["file_name"])[views]
        elif paired:
            self._tables[NEUTRALS] = embeddings.of(rows["neutral_file_name"])[views]
        hard = torch.tensor([class_index[label] for label in rows["label"]])
        self._labels = hard if soft_labels is None else soft_labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        places = torch.tensor(indices)
        count = len(self._tables["embeddings"])
        view = torch.randint(count, (len(indices),)) if count > 1 else torch.zeros(len(indices), dtype=torch.long)
        return {**{name: table[view, places] for name, table in self._tables.items()}, "labels": self._labels[places]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}


class Collator:
    """Stacks samples into a batch, and makes of it on the network's device what the network takes.

    ``vary`` augments a batch's pictures in training: it takes and gives a batch whose pictures are B×3×S×S uint8, and
    may give them as floats from 0 to 1. ``mix`` takes the normalised pictures and the labels of a training batch, and
    gives mixtures of both: torchvision's MixUp, say.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        vary: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
        mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ):
        self._preprocessing = preprocessing
        self._vary = vary
        self._mix = mix

    def __call__(self, samples: list[dict[str, Any]] | dict[str, Tensor]) -> dict[str, Tensor]:
        """The samples' inputs, each B×…: pictures as they are, uint8, a quarter of what the network takes; ``labels``.

        A batch that comes whole stays as it is.
        """
        if isinstance(samples, dict):
            return samples
        return {name: torch.stack([torch.as_tensor(sample[name]) for sample in samples]) for name in samples[0]}

    def prepare(self, batch: Mapping[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """The network's inputs from a batch, on the batch's device: pictures augmented in ``training``, normalised."""
        batch = dict(batch)
        if training and self._vary is not None:
            batch = self._vary(batch)
        batch = normalised(batch, self._preprocessing)
        if training and self._mix is not None:
            batch["pixel_values"], batch["labels"] = self._mix(batch["pixel_values"], batch["labels"])
        return batch


def embed_frozen(
    model: TrainedModel,
    dataset: PreparedDataset,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    crops: Crops,
    views: Views | None = None,
    progress: Progress = silent,
) -> dict[str, Embeddings]:
    """The embeddings of ``model``'s frozen encoders, by the name of the input that each stands in for.

    For a model that compares with several neutral pictures of a person, their means are added as :data:`NEUTRALS`.
    ``views`` are embedded only for an encoder in place of which no picture is seen: with pictures, which are augmented
    themselves, an embedding is that of the picture as it is.
    """
    frozen = {
        name: embed(
            encoder,
            dataset,
            preprocessing,
            device=device,
            crops=crops,
            views=views if name == WHOLE else None,
            progress=progress,
        )
        for name, encoder in model.frozen.items()
    }
    count = getattr(model.config, "neutrals", 1)
    if WHOLE in frozen and model.paired and count > 1:
        frozen[NEUTRALS] = mean_neutrals(frozen[WHOLE], neutral_pictures(dataset.metadata, count))
    return frozen


def mean_neutrals(embeddings: Embeddings, pictures: Mapping[str, Sequence[str]]) -> Embeddings:
    """The mean embedding of each picture's neutral ``pictures``, all by names of crops, view by view."""
    names = [name for name, neutrals in pictures.items() if neutrals]
    total = torch.zeros(len(embeddings.table), len(names), embeddings.table.shape[-1])
    most = max((len(pictures[name]) for name in names), default=0)
    for place in range(most):
        has = torch.tensor([place < len(pictures[name]) for name in names])
        total[:, has] += embeddings.of([pictures[name][place] for name in names if place < len(pictures[name])])
    counts = torch.tensor([len(pictures[name]) for name in names], dtype=torch.float32)
    return Embeddings(names, total / counts[:, None])


def standardise(model: TrainedModel, rows: pd.DataFrame, frozen: Mapping[str, Embeddings]) -> None:
    """Give ``model`` the statistics of the training ``rows``, of pictures as they are and not of augmented views."""
    fit = getattr(model, "standardise", None)
    if fit is None:
        return
    inputs = EmbeddedFaces(
        rows, frozen[WHOLE], model.config.label2id, paired=model.paired, neutrals=frozen.get(NEUTRALS)
    )
    batch = inputs.__getitems__(list(range(len(inputs))))
    fit(batch[WHOLE], batch.get(NEUTRALS))


def model_inputs(
    model: TrainedModel,
    rows: pd.DataFrame,
    crops: Crops,
    frozen: Mapping[str, Embeddings],
    *,
    varied: bool = False,
    extra: Mapping[str, Tensor] | None = None,
    soft_labels: Tensor | None = None,
) -> BatchedDataset:
    """``rows`` as ``model`` takes them, labels by its own ``label2id``, what is ``frozen`` standing in for encoders.

    ``varied`` takes augmented views of embeddings in training. ``extra`` are further inputs by row, ``soft_labels``,
    N×C, what stands in for the labels.
    """
    index = model.config.label2id
    if WHOLE in frozen:
        neutrals = frozen.get(NEUTRALS)
        return EmbeddedFaces(
            rows,
            frozen[WHOLE],
            index,
            paired=model.paired,
            varied=varied,
            neutrals=neutrals,
            soft_labels=soft_labels,
        )
    stored = {name: embeddings.of(rows["file_name"])[0] for name, embeddings in frozen.items()}
    return Faces(rows, crops, index, paired=model.paired, extra={**stored, **(extra or {})}, soft_labels=soft_labels)
