"""Running a frozen encoder once over a dataset's crops."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import EMBEDDINGS
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.store import Embeddings
from fer_cli.errors import DiskFullError
from fer_cli.files import locked
from fer_cli.models.fingerprint import fingerprint
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent

BATCH = 32


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
    """What ``encoder`` makes of every crop of ``dataset``, and of augmented ``views`` of them.

    They are kept in a file in the dataset's folder, found again by the fingerprints of the encoder, the preprocessing,
    the dataset and the kind of device; where that folder cannot be written they are computed and not kept. Raises
    :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
    """
    names = dataset.metadata["file_name"].tolist()
    crops = crops or Crops(dataset.path, kept_bytes=0)
    owners = dataset.metadata["subject"].fillna(dataset.metadata["file_name"]).tolist()
    key = _key(encoder, dataset, preprocessing, device)

    def computed(key: str, variants: list[Callable[[int], Tensor]], stage: str) -> Embeddings:
        file = _file(dataset, key)
        # Another process that computes the same is waited for, and what it stored is taken.
        with locked(file, "computing", wait=True):
            found = Embeddings.load(file, key)
            if found is None:
                found = Embeddings(names, _run(encoder, variants, len(names), preprocessing, device, stage, progress))
                # On a disk that may only be read, or is full, the next training computes them again.
                with suppress(OSError, DiskFullError):
                    found.save(file, key)
            return found

    def plain(place: int) -> Tensor:
        return preprocessing.resize(crops[names[place]])

    def view(number: int) -> Callable[[int], Tensor]:
        def varied(place: int) -> Tensor:
            drawn = hashlib.sha256(f"{views.seed} {number} {owners[place]}".encode()).digest()
            torch.manual_seed(int.from_bytes(drawn[:7], "big"))
            return views.transform(plain(place)[None])[0]

        return varied

    embeddings = computed(key, [plain], "embedding")
    if views is not None and views.count:
        with torch.random.fork_rng(devices=[]):
            varied = computed(
                f"{key} {views.name} {views.transform} {views.count} {views.seed}",
                [view(number) for number in range(views.count)],
                "embedding augmented views",
            )
        embeddings = embeddings.beside(varied)
    return embeddings


def _file(dataset: PreparedDataset, key: str) -> Path:
    return dataset.path / EMBEDDINGS / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"


def _key(encoder: nn.Module, dataset: PreparedDataset, preprocessing: Preprocessing, device: torch.device) -> str:
    pixels = f"{preprocessing.size} {preprocessing.mean} {preprocessing.std}"
    # Devices round differently: what one made must not stand in for what another would make.
    return f"encoder {fingerprint(encoder)} pixels {pixels} dataset {dataset.fingerprint} device {device.type}"


@torch.inference_mode()
def _run(
    encoder: nn.Module,
    variants: list[Callable[[int], Tensor]],
    count: int,
    preprocessing: Preprocessing,
    device: torch.device,
    stage: str,
    progress: Progress,
) -> Tensor:
    encoder = encoder.to(device=device, memory_format=torch.channels_last).eval()
    parts, total = [], count * len(variants)
    for variant in variants:
        for start in range(0, count, BATCH):
            batch = torch.stack([variant(place) for place in range(start, min(start + BATCH, count))])
            parts.append(encoder(preprocessing.normalise(batch).to(device)).float().cpu())
            progress(stage, sum(map(len, parts)), total)
    return torch.cat(parts).view(len(variants), count, -1)
