"""Inputs of a model: pictures, and the embeddings that stand in for its frozen encoders."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedModel

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops, Faces
from fer_cli.embeddings.embed import Embeddings, Views, embed
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent

#: The input that replaces the pictures; any other is added to them.
WHOLE = "embeddings"


class EmbeddedFaces(Dataset):
    """Rows of a dataset as embeddings: a face's, its class index, and with ``paired`` the neutral face's.

    With ``varied`` an item is one of the embeddings' views, drawn anew each time, the same for a face and its neutral
    face; else it is the first. Batches are taken at once: ``embeddings`` B×D, ``neutral_embeddings`` B×D, ``labels`` B.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        embeddings: Embeddings,
        class_index: Mapping[str, int],
        *,
        paired: bool,
        varied: bool = False,
        soft_labels: Tensor | None = None,
    ):
        views = slice(None) if varied else slice(1)
        self._tables = {"embeddings": embeddings.of(rows["file_name"])[views]}
        if paired:
            self._tables["neutral_embeddings"] = embeddings.of(rows["neutral_file_name"])[views]
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
    """Stacks samples into a batch, as the network takes it."""

    def __init__(self, preprocessing: Preprocessing):
        self._preprocessing = preprocessing

    def __call__(self, samples: list[dict[str, Any]] | dict[str, Tensor]) -> dict[str, Tensor]:
        """``pixel_values`` and ``neutral_pixel_values``, B×3×S×S normalised; whatever else samples have; ``labels``, B.

        A batch of embeddings comes whole, and stays as it is.
        """
        if isinstance(samples, dict):
            return samples
        batch = {name: self._stack(name, [sample[name] for sample in samples]) for name in samples[0]}
        return {**batch, "labels": torch.stack([torch.as_tensor(sample["labels"]) for sample in samples])}

    def _stack(self, name: str, values: list[Any]) -> Tensor:
        if name.endswith("pixel_values"):
            return self._preprocessing.normalise(torch.stack(values))
        return torch.stack([torch.as_tensor(value) for value in values])


def embed_frozen(
    model: PreTrainedModel,
    dataset: PreparedDataset,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    crops: Crops,
    views: Views | None = None,
    progress: Progress = silent,
) -> dict[str, Embeddings]:
    """The embeddings of ``model``'s frozen encoders, by the name of the input that each stands in for.

    ``views`` are embedded only for an encoder in place of which no picture is seen: with pictures, which are augmented
    themselves, an embedding is that of the picture as it is.
    """
    return {
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


def model_inputs(
    model: PreTrainedModel,
    rows: pd.DataFrame,
    crops: Crops,
    frozen: Mapping[str, Embeddings],
    *,
    transform: Any = None,
    varied: bool = False,
    extra: Mapping[str, Tensor] | None = None,
    soft_labels: Tensor | None = None,
) -> Dataset:
    """``rows`` as ``model`` takes them, labels by its own ``label2id``, what is ``frozen`` standing in for encoders.

    ``transform`` and ``varied`` augment pictures and embeddings in training; ``extra`` are further inputs by row.
    """
    index = model.config.label2id
    if WHOLE in frozen:
        return EmbeddedFaces(rows, frozen[WHOLE], index, paired=model.paired, varied=varied, soft_labels=soft_labels)
    stored = {name: embeddings.of(rows["file_name"])[0] for name, embeddings in frozen.items()}
    return Faces(
        rows,
        crops,
        index,
        paired=model.paired,
        transform=transform,
        extra={**stored, **(extra or {})},
        soft_labels=soft_labels,
    )
