"""Crops of a prepared dataset as tensors: decoded once, kept in memory or in one file, given by whole batches."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info
from torchvision.transforms.v2 import functional

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import DECODED, MADE_ANEW
from fer_cli.distributed import cores
from fer_cli.errors import DatasetError, DiskFullError
from fer_cli.files import locked, open_regular, written_whole
from fer_cli.progress import Progress, silent

T = TypeVar("T")

#: Decoded crops are kept in memory up to this many bytes (about 3,500 crops of 224×224, 43,000 of 64×64); those of a
#: larger dataset are decoded into a file, which the system keeps in memory as far as there is room.
KEPT_BYTES = 512 * 1024**2
#: The part of the free disk that a file of decoded crops may take.
FREE_SHARE = 0.5
#: How many crops are decoded at a time on the way to the file.
_CHUNK = 256


class Crops:
    """The crops of the dataset in ``folder``, by file name, decoded when first asked for.

    ``size`` is the side in pixels that they are resized to, averaged over what a smaller pixel covers; None leaves
    them as they are. Up to ``kept_bytes`` of them are kept in memory. ``decoded`` holds them already. It can be
    pickled, for processes that load; what it keeps in memory stays behind.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int | None = None,
        kept_bytes: int = KEPT_BYTES,
        decoded: "DecodedCrops | None" = None,
    ):
        self._folder = folder
        self._size = size
        self._kept_bytes = kept_bytes
        self._decoded = decoded
        self._kept: dict[str, Tensor] = {}
        self._shape: tuple[int, ...] | None = None
        #: Whether each crop is decoded but once, however often it is asked for.
        self.decoded_once = decoded is not None

    @classmethod
    def of(cls, dataset: PreparedDataset, size: int, *, progress: Progress = silent) -> "Crops":
        """The crops of ``dataset`` for many passes over them: kept in memory where they fit there, else in a file.

        Where there is no room for that file, each crop is decoded whenever it is asked for, and ``progress`` is told
        so in a ``note``. Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
        """
        needed = len(dataset.metadata) * 3 * size * size
        if needed <= KEPT_BYTES:
            crops = cls(dataset.path, size=size)
            crops.decoded_once = True
            return crops
        decoded = DecodedCrops.of(dataset, size, progress=progress)
        return cls(dataset.path, size=size, kept_bytes=0, decoded=decoded)

    def __getitem__(self, name: str) -> Tensor:
        """The crop as 3×H×W uint8 RGB.

        Raises :class:`~fer_cli.errors.DatasetError` if it cannot be read or has another size than the first one read.
        """
        if self._decoded is not None:
            return self._decoded.read([name])[0]
        if name in self._kept:
            return self._kept[name]
        return self._keep(name, self._decode(name))

    def batch(self, names: Sequence[str]) -> Tensor:
        """The named crops, N×3×H×W uint8, decoded on all cores; raises as :meth:`__getitem__` does."""
        if self._decoded is not None:
            return self._decoded.read(names)
        missing = [name for name in dict.fromkeys(names) if name not in self._kept]
        # A process that loads is one of several, and takes one core.
        decode = map if len(missing) < 2 or get_worker_info() is not None else _threads().map
        decoded = zip(missing, decode(self._decode, missing), strict=True)
        found = {name: self._keep(name, pixels) for name, pixels in decoded}
        return torch.stack([found[name] if name in found else self._kept[name] for name in names])

    def batches(self, names: Sequence[str], count: int) -> Iterator[Tensor]:
        """The named crops by ``count``, each batch being decoded while the one before it is worked on."""
        return prefetched(lambda part: self.batch([names[place] for place in part]), len(names), count)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def _decode(self, name: str) -> np.ndarray:
        try:
            with open_regular(self._folder / name) as file, Image.open(file, formats=["PNG"]) as picture:
                return np.array(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(f"The crop {self._folder / name} cannot be read: {error}.", hint=MADE_ANEW) from error

    def _keep(self, name: str, pixels: np.ndarray) -> Tensor:
        self._shape = self._shape or pixels.shape
        if pixels.shape != self._shape:
            (height, width, _), (others, *_) = pixels.shape, self._shape
            raise DatasetError(
                f"The crop {self._folder / name} has {width}×{height} pixels, others have {others}×{others}.",
                hint="Remove it, and type the fer prepare line of this dataset again.",
            )
        crop = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        if self._size is not None and crop.shape[1:] != (self._size, self._size):
            crop = functional.resize(crop, [self._size, self._size], antialias=True)
        worker = get_worker_info()
        room = self._kept_bytes // (1 if worker is None else worker.num_workers)
        if crop.nbytes * (len(self._kept) + 1) <= room:
            self._kept[name] = crop
        return crop


class DecodedCrops:
    """The decoded crops of a dataset in one file: N×3×S×S uint8, in the order of its rows.

    The file is one that ``numpy.load(path, mmap_mode="r")`` maps. Here its rows are read at their places, so that no
    process holds more of it than a batch, and a file cut short is an error instead of a killed process.
    """

    def __init__(self, path: Path, names: Sequence[str], size: int):
        """Open the file at ``path``; raises ``ValueError`` or ``OSError`` if it is not one of these crops."""
        shape = (len(names), 3, size, size)
        with open_regular(path):
            table = np.lib.format.open_memmap(path, mode="r")
        if table.dtype != np.uint8 or table.shape != shape or not table.flags.c_contiguous:
            raise ValueError(f"{table.dtype} of {table.shape} in place of uint8 of {shape}")
        self._path, self._begin, self._shape = path, int(table.offset), shape[1:]
        self._row = {name: row for row, name in enumerate(names)}

    @classmethod
    def of(cls, dataset: PreparedDataset, size: int, *, progress: Progress = silent) -> "DecodedCrops | None":
        """The file of the crops of ``dataset`` at ``size`` pixels a side, made where it is not there or not current.

        None where it would take more than half of the free disk, or cannot be written: ``progress`` is told so in a
        ``note``. Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
        """
        names = dataset.metadata["file_name"].tolist()
        folder = dataset.path / DECODED
        path = folder / f"{size}-{dataset.fingerprint[:24]}.npy"
        needed = len(names) * 3 * size * size
        try:
            folder.mkdir(exist_ok=True)
            # Another process that decodes the same is waited for, and its file is taken.
            with locked(path, "decoding", wait=True):
                with suppress(OSError, ValueError):
                    return cls(path, names, size)
                for old in folder.glob(f"{size}-*.npy"):
                    old.unlink()
                free = shutil.disk_usage(folder).free
                if needed > free * FREE_SHARE:
                    why = f"{needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free"
                    progress("decoding", 0, len(names), note=_undecoded(f"decoded they would take {why}"))
                    return None
                with written_whole(path) as part:
                    _write_decoded(Crops(dataset.path, size=size, kept_bytes=0), names, size, part, progress)
                return cls(path, names, size)
        except (OSError, DiskFullError) as error:
            progress("decoding", 0, len(names), note=_undecoded(f"{folder} cannot be written ({error})"))
            return None

    def read(self, names: Sequence[str]) -> Tensor:
        """The named crops, N×3×S×S uint8.

        Raises :class:`~fer_cli.errors.DatasetError` if the file is gone, or shorter than it was.
        """
        batch = np.empty((len(names), *self._shape), dtype=np.uint8)
        flat = batch.reshape(len(names), -1)
        try:
            # Opened for each batch, which costs nothing next to reading it: no process or thread shares a position.
            with self._path.open("rb", buffering=0) as file:
                for place, name in enumerate(names):
                    file.seek(self._begin + self._row[name] * flat.shape[1])
                    if file.readinto(flat[place]) != flat.shape[1]:
                        raise OSError("the file ends too early")
        except OSError as error:
            raise DatasetError(
                f"The decoded crops in {self._path} cannot be read: {error}.",
                hint="Type the same line again: the file is made anew where it is missing.",
            ) from error
        return torch.from_numpy(batch)


class BatchedDataset(Dataset[dict[str, Any]]):
    """The base of datasets that know their length and take a batch at once."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        raise NotImplementedError


class Faces(BatchedDataset):
    """Rows of a dataset as tensors: a face, its class index, and with ``paired`` the same person's neutral face.

    An item is a dict of ``pixel_values`` (3×H×W uint8), ``labels`` (an int) and, with ``paired``,
    ``neutral_pixel_values``; batches are taken at once. ``class_index`` maps a class's name to its index. With
    ``soft_labels``, N×C float32, ``labels`` are a row of these. ``extra`` holds further inputs, a row of each a row of
    ``rows``.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        crops: Crops,
        class_index: Mapping[str, int],
        *,
        paired: bool,
        extra: Mapping[str, Tensor] | None = None,
        soft_labels: Tensor | None = None,
    ):
        self._crops = crops
        self._targets = rows["file_name"].tolist()
        self._neutrals = rows["neutral_file_name"].tolist() if paired else None
        hard = torch.tensor([class_index[label] for label in rows["label"]])
        self._labels = hard if soft_labels is None else soft_labels
        self._extra = dict(extra or {})

    @property
    def decoded_once(self) -> bool:
        """Whether each crop is decoded but once, however often it is asked for."""
        return self._crops.decoded_once

    def __len__(self) -> int:
        return len(self._targets)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The batch of the items at ``indices``: each input B×…, ``labels`` B, or B×C where they are soft."""
        places = torch.as_tensor(list(indices))
        names = {"pixel_values": [self._targets[index] for index in indices]}
        if self._neutrals is not None:
            names["neutral_pixel_values"] = [self._neutrals[index] for index in indices]
        pictures = {name: self._crops.batch(wanted) for name, wanted in names.items()}
        extra = {name: values[places] for name, values in self._extra.items()}
        return {**pictures, **extra, "labels": self._labels[places]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = {name: values[0] for name, values in self.__getitems__([index]).items()}
        return {**item, "labels": item["labels"] if item["labels"].dim() else int(item["labels"])}


def prefetched(load: Callable[[range], T], total: int, count: int) -> Iterator[T]:
    """What ``load`` gives for the places 0 to ``total`` by ``count``, the next being loaded in another thread."""
    parts = [range(start, min(start + count, total)) for start in range(0, total, count)]
    with ThreadPoolExecutor(1, "fer-prefetch") as ahead:
        coming = [ahead.submit(load, part) for part in parts[:1]]
        for part in [*parts[1:], None]:
            if not coming:
                return
            loaded = coming.pop().result()
            if part is not None:
                coming.append(ahead.submit(load, part))
            yield loaded


@cache
def _threads_of(process: int) -> ThreadPoolExecutor:
    # Pillow lets go of Python's lock while it decodes. A forked process has none of its parent's threads.
    return ThreadPoolExecutor(cores(), "fer-decode")


def _threads() -> ThreadPoolExecutor:
    return _threads_of(os.getpid())


def _undecoded(why: str) -> str:
    return f"Crops are decoded anew in every epoch: {why}."


def _write_decoded(crops: Crops, names: Sequence[str], size: int, path: Path, progress: Progress) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(names), 3, size, size)}
    done = 0
    # Not written through a map: on a full disk that ends the process instead of raising.
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for batch in crops.batches(names, _CHUNK):
            file.write(batch.numpy().data)
            done += len(batch)
            progress("decoding", done, len(names))
