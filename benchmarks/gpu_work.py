"""Work for a GPU to do: its sizes, the drawn faces that it is done on, and the waiting for a device."""

import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers

from benchmarks.budget import Row
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import METADATA
from fer_cli.dataset.tensors import Crops
from fer_cli.models import TINY_VIT, VIT_B16, IdentityConfig, IdentityModel
from fer_cli.models.vit_se import ViTSEModel
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.vit_se import ViTSERecipe


@dataclass(frozen=True)
class Job:
    """Sizes of the work, where it is done, and ``until`` when (by ``time.time``)."""

    device: torch.device
    out: Path
    small: bool
    until: float = math.inf

    @property
    def size(self) -> int:
        """The pictures' side in pixels."""
        return 32 if self.small else 224

    @property
    def batch(self) -> int:
        """Pictures a step."""
        return 4 if self.small else 64

    @property
    def network(self) -> str:
        """The name of the convolutional encoder."""
        return "mobilenet_v3_small" if self.small else "mobilenet_v3_large"

    @property
    def steps(self) -> dict[str, int]:
        """How many steps are measured; an epoch of the repeated faces has as many."""
        return {"warm_up": 1, "window": 2, "windows": 2} if self.small else {"warm_up": 10, "window": 5, "windows": 8}

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.time()

    @cached_property
    def dataset(self) -> PreparedDataset:
        """The drawn faces."""
        return PreparedDataset.open(self.out / "data" / "drawn")

    @cached_property
    def repeated(self) -> PreparedDataset:
        """The same faces many times under other names, which last for an epoch of training steps."""
        return PreparedDataset.open(self.out / "data" / "repeated")

    def vit_se(self, **settings: Any) -> ViTSERecipe:
        """A recipe of one epoch."""
        backbone = TINY_VIT if self.small else VIT_B16
        own = {"backbone": backbone, "size": self.size, "batch_size": self.batch, "epochs": 1, "logger": ("none",)}
        return ViTSERecipe(pretrained=False, **{**own, **settings})

    def model(self) -> ViTSEModel:
        """A ViT-SE with the weights of a seed, on the CPU."""
        transformers.set_seed(0)
        return self.vit_se().build(BuildContext(self.dataset.protocol.classes, self.size))

    def folder(self, name: str) -> Path:
        """A new folder for a run."""
        shutil.rmtree(self.out / "runs" / name, ignore_errors=True)
        return self.out / "runs" / name


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def exact() -> None:
    """Have products of float32 computed in float32, and not in TF32."""
    for backend in (torch.backends, torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.cudnn.conv):
        backend.fp32_precision = "ieee"


def pictures(job: Job) -> Iterator[Row]:
    """Draw faces, prepare them, and repeat them."""
    begun = time.perf_counter()
    subjects, folds, copies = (3, 3, 2) if job.small else (8, 8, 26)
    corpus, settings = Synthetic(subjects=subjects, frames=4), Preparation(size=job.size, folds=folds)
    drawn = PreparedDataset.open(prepare(corpus, job.out / "corpus", job.out / "data" / "drawn", settings).path)
    folder = job.out / "data" / "repeated"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(drawn.path, folder, copy_function=os.link)
    (folder / METADATA).unlink()
    rows, tables = drawn.metadata, [drawn.metadata]
    apexes = rows[rows["role"] == "apex"]
    for number in range(1, copies):
        copied = apexes.assign(
            file_name=[name.replace(".png", f"_{number}.png") for name in apexes["file_name"]],
            sequence=apexes["sequence"] + f"_{number}",
        )
        for old, new in zip(apexes["file_name"], copied["file_name"], strict=True):
            os.link(folder / old, folder / new)
        tables.append(copied)
    pd.concat(tables).to_csv(folder / METADATA, index=False)
    # Decoded once, into a file where they are many, as the first training of a dataset does.
    Crops.of(job.repeated, job.size)
    IdentityModel(IdentityConfig(num_labels=2)).save_pretrained(job.out / "identity")
    note = f"{len(rows)} crops of {job.size} pixels; {len(job.repeated.metadata)} names for them"
    yield Row("pictures", "drawn, prepared, decoded", time.perf_counter() - begun, "s", note)
