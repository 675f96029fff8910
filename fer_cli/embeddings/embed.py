"""Embeddings of a dataset's crops by frozen encoders: computed once, stored in the dataset's folder, found again."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import EMBEDDINGS
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DiskFullError
from fer_cli.files import locked, written_whole
from fer_cli.models.loading import fingerprint, save_tensors
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent

BATCH = 32
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


@torch.inference_mode()
def encode(
    encoder: Callable[[Tensor], Tensor],
    picture: Callable[[int], Tensor],
    count: int,
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Run ``encoder`` over ``count`` pictures in batches; gives the embeddings, N×D, on the CPU.

    ``picture(n)`` is 3×S×S uint8 of the network's size; a module is moved to ``device`` and switched to evaluation
    mode. ``progress`` is told how many are done after each batch.
    """
    if isinstance(encoder, nn.Module):
        encoder = encoder.to(device=device, memory_format=torch.channels_last).eval()
    parts = []
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        batch = torch.stack([picture(place) for place in range(start, stop)])
        parts.append(encoder(preprocessing.normalise(batch).to(device)).float().cpu())
        progress(stop)
    return torch.cat(parts)


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
    return encode(
        encoder,
        lambda place: preprocessing.resize(crops[names[place]]),
        len(names),
        preprocessing,
        device,
        lambda done: progress("embedding", done, len(names)),
    )


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
    stored. Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
    """
    names = dataset.metadata["file_name"].tolist()
    crops = crops or Crops(dataset.path, kept_bytes=0)
    owners = dataset.metadata["subject"].fillna(dataset.metadata["file_name"]).tolist()
    key = _key(encoder, dataset, preprocessing, device)

    def load_or_compute(key: str, variants: list[Callable[[int], Tensor]], stage: str) -> Embeddings:
        file = dataset.path / EMBEDDINGS / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
        # Another process that computes the same is waited for, and what it stored is taken.
        with locked(file, "computing", wait=True):
            found = Embeddings.load(file, key)
            if found is None:
                tables, total = [], len(variants) * len(names)
                for number, variant in enumerate(variants):
                    before = number * len(names)
                    tables.append(
                        encode(
                            encoder,
                            variant,
                            len(names),
                            preprocessing,
                            device,
                            lambda done, before=before: progress(stage, before + done, total),
                        )
                    )
                found = Embeddings(names, torch.stack(tables))
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

    embeddings = load_or_compute(key, [plain], "embedding")
    if views is not None and views.count:
        with torch.random.fork_rng(devices=[]):
            varied = load_or_compute(
                f"{key} {views.name} {views.transform} {views.count} {views.seed}",
                [view(number) for number in range(views.count)],
                "embedding augmented views",
            )
        embeddings = embeddings.concatenate(varied)
    return embeddings


def _key(encoder: nn.Module, dataset: PreparedDataset, preprocessing: Preprocessing, device: torch.device) -> str:
    pixels = f"{preprocessing.size} {preprocessing.mean} {preprocessing.std}"
    if preprocessing.zoom != 1:
        pixels += f" {preprocessing.zoom}"
    # Devices round differently: what one computed must not stand in for what another would compute.
    return f"encoder {fingerprint(encoder)} pixels {pixels} dataset {dataset.fingerprint} device {device.type}"
