"""Embeddings of a dataset's crops by frozen encoders: computed once, stored in the dataset's folder, found again."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import EMBEDDINGS
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DatasetError, DiskFullError
from fer_cli.files import locked, written_whole
from fer_cli.models.loading import fingerprint, save_tensors
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent

_TENSOR = "embeddings"


class Embeddings:
    """Embeddings of named crops: ``table`` is V×N×D, V views of N crops, the first view being the crop as it is."""

    def __init__(self, names: Sequence[str], table: Tensor):
        if table.dim() != 3 or table.shape[1] != len(names):
            raise ValueError(f"{len(names)} names for a table of {tuple(table.shape)}")
        self.names = tuple(names)
        self.table = table
        self._row = {name: row for row, name in enumerate(self.names)}

    def of(self, names: Iterable[str]) -> Tensor:
        """V×n×D: the views of the n named crops, in the order of ``names``; raises ``KeyError`` for an unknown one."""
        return self.table[:, [self._row[name] for name in names]]

    def concatenate(self, others: "Embeddings") -> "Embeddings":
        """These views followed by those of ``others``, of the same crops."""
        return Embeddings(self.names, torch.cat([self.table, others.of(self.names)]))

    def save(self, path: Path, key: str) -> None:
        """Write them to ``path``, whole or not at all, with the ``key`` that they are found by."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            save_tensors({_TENSOR: self.table}, part, {"key": key, "names": json.dumps(self.names)})

    @classmethod
    def load(cls, path: Path, key: str) -> "Embeddings | None":
        """What :meth:`save` wrote to ``path`` under ``key``; None if that is not there, or is not whole."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != key:
                    return None
                found = cls(json.loads(metadata["names"]), file.get_tensor(_TENSOR))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
            return None
        return found if torch.isfinite(found.table).all() else None


@dataclass(frozen=True)
class Views:
    """Augmented views to embed: ``count`` of each crop, drawn by ``transform`` from ``seed``.

    ``transform`` takes and gives N×3×H×W uint8; ``name`` and the transform's ``repr`` tell it from others. In each view
    all crops of a subject are varied alike, so that a difference between a face and its neutral face comes from the
    face.
    """

    count: int
    seed: int
    name: str
    transform: Callable[[Tensor], Tensor]


def batch_size(device: torch.device) -> int:
    """How many pictures a network without gradients takes at once: a GPU has many cores to keep busy."""
    return 32 if device.type == "cpu" else 256


def inference_dtype(device: torch.device) -> torch.dtype | None:
    """The numbers that ``device`` multiplies in where no gradient is needed; None leaves them float32.

    float16 has the precision of TF32, and two to eight times its speed. A processor keeps float32, so that its numbers
    are the same on all processors.
    """
    return torch.float16 if device.type in ("cuda", "xpu") else None


@torch.inference_mode()
def encode(
    network: Callable[..., Tensor],
    batches: Iterable[Mapping[str, Tensor]],
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """What ``network`` gives for ``batches`` of its inputs by name; N×D float32, on the CPU.

    Pictures, ``pixel_values`` and ``neutral_pixel_values``, are B×3×S×S uint8 of the network's size, and normalised on
    ``device``. The network computes in :func:`inference_dtype`; a batch whose numbers are too large or too small for
    that is computed again in float32, and one that a GPU has no memory for by halves. ``progress`` is told how many are
    done after each batch.
    """
    parts, done = [], 0
    for batch in batches:
        inputs = normalised({name: values.to(device) for name, values in batch.items()}, preprocessing)
        dtype = inference_dtype(device)
        output = _run(network, inputs, device, dtype)
        if dtype is not None and not _within(output, dtype):
            output = _run(network, inputs, device, None)
        parts.append(output)
        done += len(output)
        progress(done)
    return torch.cat(parts)


def _within(output: Tensor, dtype: torch.dtype) -> bool:
    """Whether ``dtype`` holds these numbers: finite, and the largest of them with all its digits."""
    most = output.abs().max()
    return bool(torch.isfinite(most) and most >= torch.finfo(dtype).smallest_normal)


def normalised(inputs: Mapping[str, Tensor], preprocessing: Preprocessing) -> dict[str, Tensor]:
    """The ``inputs`` of a network with their pictures as it takes them: …×3×S×S float32 for uint8."""
    return {
        name: preprocessing.normalise(values) if name.endswith("pixel_values") else values
        for name, values in inputs.items()
    }


def _run(
    network: Callable[..., Tensor], inputs: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    count = len(next(iter(inputs.values())))
    try:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            return network(**inputs).float().cpu()
    except torch.OutOfMemoryError:
        if count < 2:
            raise
    halves = [
        {name: values[part] for name, values in inputs.items()} for part in (slice(count // 2), slice(count // 2, None))
    ]
    return torch.cat([_run(network, half, device, dtype) for half in halves])


def encode_crops(
    encoder: Callable[[Tensor], Tensor],
    names: Sequence[str],
    crops: Crops,
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Progress = silent,
) -> Tensor:
    """The embeddings, N×D, of the named ``crops`` by ``encoder``, as :func:`encode` computes them; nothing is stored.

    Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
    """
    return _encode_pictures(
        encoder,
        map(preprocessing.resize, crops.batches(names, batch_size(device))),
        preprocessing,
        device,
        lambda done: progress("embedding", done, len(names)),
    )


def _encode_pictures(
    encoder: Callable[[Tensor], Tensor],
    pictures: Iterable[Tensor],
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Callable[[int], None],
) -> Tensor:
    if isinstance(encoder, nn.Module):
        encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch's stub lacks it
    batches = ({"pixel_values": batch} for batch in pictures)
    return encode(lambda pixel_values: encoder(pixel_values), batches, preprocessing, device, progress)


def embed(
    encoder: nn.Module,
    dataset: PreparedDataset,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    crops: Crops | None = None,
    views: Views | None = None,
    progress: Progress = silent,
) -> Embeddings:
    """The embeddings of every crop of ``dataset`` by ``encoder``, and of augmented ``views`` of them.

    They are stored in a file in the dataset's folder, found again by the fingerprints of the encoder, the
    preprocessing, the dataset and the kind of device; where that folder cannot be written they are computed and not
    stored. Of a draw of another dataset they are that one's, for the crops are the same. Raises
    :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
    """
    names = dataset.metadata["file_name"].tolist()
    original = dataset
    # Where that is gone, a draw stands for itself.
    with suppress(DatasetError):
        original = dataset.original
    if original is not dataset:
        found = embed(encoder, original, preprocessing, device=device, views=views, progress=progress)
        return Embeddings(names, found.of(names))
    crops = crops or Crops(dataset.path, kept_bytes=0)
    owners = dataset.metadata["subject"].fillna(dataset.metadata["file_name"]).tolist()
    key = _key(encoder, dataset, preprocessing, device)

    def plain() -> Iterator[Tensor]:
        return map(preprocessing.resize, crops.batches(names, batch_size(device)))

    def view(views: Views, number: int) -> Iterator[Tensor]:
        place = 0
        for batch in plain():
            varied = []
            for picture in batch:
                drawn = hashlib.sha256(f"{views.seed} {number} {owners[place]}".encode()).digest()
                torch.manual_seed(int.from_bytes(drawn[:7], "big"))
                varied.append(views.transform(picture[None])[0])
                place += 1
            yield torch.stack(varied)

    def load_or_compute(key: str, variants: list[Callable[[], Iterator[Tensor]]], stage: str) -> Embeddings:
        file = dataset.path / EMBEDDINGS / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
        # Another process that computes the same is waited for, and what it stored is taken.
        with locked(file, "computing", wait=True):
            found = Embeddings.load(file, key)
            if found is None:
                tables, total = [], len(variants) * len(names)
                for number, variant in enumerate(variants):
                    before = number * len(names)
                    tables.append(
                        _encode_pictures(
                            encoder,
                            variant(),
                            preprocessing,
                            device,
                            partial(_tell, progress, stage, before, total),
                        )
                    )
                found = Embeddings(names, torch.stack(tables))
                # On a disk that may only be read, or is full, the next training computes them again.
                with suppress(OSError, DiskFullError):
                    found.save(file, key)
            return found

    embeddings = load_or_compute(key, [plain], "embedding")
    if views is not None and views.count:
        with torch.random.fork_rng(devices=[]):
            varied = load_or_compute(
                f"{key} {views.name} {views.transform} {views.count} {views.seed}",
                [partial(view, views, number) for number in range(views.count)],
                "embedding augmented views",
            )
        embeddings = embeddings.concatenate(varied)
    return embeddings


def _tell(progress: Progress, stage: str, before: int, total: int, done: int) -> None:
    progress(stage, before + done, total)


def _key(encoder: nn.Module, dataset: PreparedDataset, preprocessing: Preprocessing, device: torch.device) -> str:
    pixels = f"{preprocessing.size} {preprocessing.mean} {preprocessing.std}" + (" grey" if preprocessing.grey else "")
    # Devices round differently: what one computed must not stand in for what another would compute.
    dtype = inference_dtype(device)
    computed = device.type if dtype is None else f"{device.type} {dtype}"
    return f"encoder {fingerprint(encoder)} pixels {pixels} dataset {dataset.fingerprint} device {computed}"
