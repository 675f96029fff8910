"""Crops of a prepared dataset as tensors."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fer_cli.errors import DatasetError
from fer_cli.files import open_regular

#: Decoded crops are kept in memory up to this many bytes (about 14,000 crops of 224×224), so that a corpus of the
#: usual size is decoded once rather than once an epoch.
KEPT_BYTES = 2 * 1024**3


class Crops:
    """The crops of the dataset in ``folder``, by file name, decoded when first asked for."""

    def __init__(self, folder: Path, *, kept_bytes: int = KEPT_BYTES):
        self._folder = folder
        self._room = kept_bytes
        self._kept: dict[str, Tensor] = {}
        self._shape: tuple[int, ...] | None = None

    def __getitem__(self, name: str) -> Tensor:
        """The crop as 3×H×W uint8 RGB.

        Raises :class:`~fer_cli.errors.DatasetError` if it cannot be read or has another size than the first one read.
        """
        if name in self._kept:
            return self._kept[name]
        try:
            with open_regular(self._folder / name) as file, Image.open(file, formats=["PNG"]) as picture:
                pixels = np.array(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(
                f"The crop {self._folder / name} cannot be read: {error}.",
                hint="Type the fer prepare line of this dataset again: it makes anew what is missing.",
            ) from error
        self._shape = self._shape or pixels.shape
        if pixels.shape != self._shape:
            (height, width, _), (others, *_) = pixels.shape, self._shape
            raise DatasetError(
                f"The crop {self._folder / name} has {width}×{height} pixels, others have {others}×{others}.",
                hint="Remove it, and type the fer prepare line of this dataset again.",
            )
        crop = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        if crop.nbytes <= self._room:
            self._room -= crop.nbytes
            self._kept[name] = crop
        return crop


class Faces(Dataset):
    """Rows of a dataset as tensors: a face, its class index, and with ``paired`` the same person's neutral face.

    An item is a dict of ``pixel_values`` (3×H×W uint8), ``labels`` (an int) and, with ``paired``,
    ``neutral_pixel_values``. ``class_index`` maps a class's name to its index. ``transform`` takes and gives the
    item's one or two pictures as one N×3×H×W stack, so that what it varies it varies alike: a difference between a face
    and its neutral face must come from the face. ``extra`` holds further inputs, a row of each a row of ``rows``.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        crops: Crops,
        class_index: Mapping[str, int],
        *,
        paired: bool,
        transform: Callable[[Tensor], Tensor] | None = None,
        extra: Mapping[str, Tensor] | None = None,
        soft_labels: Tensor | None = None,
    ):
        self._crops = crops
        self._transform = transform
        self._targets = rows["file_name"].tolist()
        self._neutrals = rows["neutral_file_name"].tolist() if paired else None
        self._labels = [class_index[label] for label in rows["label"]] if soft_labels is None else soft_labels
        self._extra = dict(extra or {})

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        names = {"pixel_values": self._targets[index]}
        if self._neutrals is not None:
            names["neutral_pixel_values"] = self._neutrals[index]
        pictures = torch.stack([self._crops[name] for name in names.values()])
        if self._transform is not None:
            pictures = self._transform(pictures)
        extra = {name: values[index] for name, values in self._extra.items()}
        return {**dict(zip(names, pictures, strict=True)), **extra, "labels": self._labels[index]}
