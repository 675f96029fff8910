"""Whether a training runs at the speed of its network, and whether its memory grows with the dataset.

    python benchmarks/loader.py step [--size 112] [--batch 32] [--augment light]
    python benchmarks/loader.py augmentation
    python benchmarks/loader.py memory [--rows 300000]

The first trains a MobileNetV3-Large on noise and prints the images/s of its steps, with loading, augmentation and all
that a trainer does, beside those of the bare step (forward, backward, optimizer) on one batch that is in memory, as a
ratio. One is timed beside the other, several times, so that what else the machine does falls on both. The second prints
the milliseconds that augmenting and normalising a batch takes. The third trains one epoch of a tiny network on so many
crops of 32 pixels, hard links to a few pictures, and prints the peak of the resident memory in each quarter of
the epoch (Linux). Datasets and runs go to ./benchmarks-out.
"""

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from fer_cli.dataset.prepare import Journal, begin, finish
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import COLUMNS
from fer_cli.embeddings.inputs import Collator
from fer_cli.labels import EXPRESSIONS
from fer_cli.models import DifferenceConfig, DifferenceModel, Preprocessing
from fer_cli.protocol import Protocol
from fer_cli.training.augmentation import augmentation
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe

OUT = Path("benchmarks-out")
CLASSES = tuple(EXPRESSIONS[:7])
#: How many rows share a picture; a file system allows some 65,000 links to a file.
LINKS = 20_000
MIB = 2**20


def noise(name: str, rows: int, size: int, pictures: int) -> PreparedDataset:
    """A dataset of ``rows`` crops of noise that are links to so many ``pictures``, in an owners' split."""
    folder = OUT / "data" / f"{name}-{rows}-{size}"
    if (folder / "dataset.json").is_file():
        return PreparedDataset.open(folder)
    shutil.rmtree(folder, ignore_errors=True)
    settings = {"corpus": name, "rows": rows}
    begin(folder, settings, overwrite=False)
    generator, journal, table = np.random.default_rng(0), Journal(folder), []
    with journal:
        for number in range(rows):
            file_name = f"images/{number // 1000:04d}/{number:07d}.png"
            path, source = folder / file_name, folder / f"images/0000/{number % pictures:07d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number < pictures:
                Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)
            else:
                os.link(source, path)
            journal.add(file_name, sha256="0", aligned_by="none", faces_found=1)
            split = "train" if number % 50 else ("val" if number % 100 else "test")
            row = {"file_name": file_name, "label": CLASSES[number % 7], "frame": "0", "role": "apex", "split": split}
            table.append(row | ({"role": "neutral"} if row["label"] == "neutral" else {}))
    metadata = pd.DataFrame(table, columns=list(COLUMNS))
    card = {
        "version": 1,
        "corpus": name,
        "settings": settings,
        "protocol": Protocol("Noise", CLASSES, "last frame", 0, "id-step").to_dict(),
        "crop": {"size": size, "margin": 0.15, "detector": "none"},
    }
    finish(folder, metadata, card, journal, keep=set(metadata["file_name"]))
    return PreparedDataset.open(folder)


def step(size: int, batch: int, augment: str, attempts: int) -> None:
    """A training's images/s beside the bare step's."""
    dataset = noise("loader", 50 * batch, size, pictures=50 * batch)
    recipe = DifferenceRecipe(
        features="target", encoder="scratch", epochs=2, batch_size=batch, augment=augment, logger=("none",)
    )
    network = DifferenceModel(DifferenceConfig(features="target", tune_encoder=True, num_labels=7)).train()
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    pictures = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(7, (batch,))

    def bare() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pictures).logits, labels).backward()
        optimizer.step()

    ratios = []
    for _ in range(attempts):
        trained, alone = Steps(), Steps()

        def watch(
            stage: str,
            done: int,
            total: int | None,
            /,
            trained: Steps = trained,
            alone: Steps = alone,
            **facts: float | str,
        ) -> None:
            # The first epoch decodes, as no later one does. The bare step takes turns with ten steps of the training.
            if stage == "training" and done > total // 2 + 2:
                trained.end()
                if done % 10 == 0:
                    for _step in range(8):
                        bare()
                        alone.end()
                    trained.stop()
                    alone.stop()

        shutil.rmtree(OUT / "loader-run", ignore_errors=True)
        fit(recipe, dataset, OUT / "loader-run", device="cpu", progress=watch)
        rates = [[batch / seconds for seconds in steps.medians()] for steps in (trained, alone)]
        ratios.append([ours / theirs for ours, theirs in zip(*rates, strict=True)])
        print(
            f"training {rates[0][0]:.1f} images/s, bare step {rates[1][0]:.1f}: ratio {ratios[-1][0]:.2f}; a second of "
            f"processor time {rates[0][1]:.1f} and {rates[1][1]:.1f}: ratio {ratios[-1][1]:.2f}",
            flush=True,
        )
    clock, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(
        f"ratio {clock:.2f} by the clock, {processor:.2f} by processor time, which other programs do not change: "
        f"MobileNetV3-Large at {size}, batch {batch}, augmentation {augment}"
    )


class Steps:
    """The durations of steps that follow each other, by the clock and in processor time."""

    def __init__(self):
        self._last: tuple[float, float] | None = None
        self._durations: list[tuple[float, float]] = []

    def end(self) -> None:
        """A step ends here, and the next begins."""
        now = time.perf_counter(), time.process_time()
        if self._last is not None:
            self._durations.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def stop(self) -> None:
        """The next step does not begin here."""
        self._last = None

    def medians(self) -> list[float]:
        """Median seconds of a step, by the clock and in processor time."""
        return [statistics.median(column) for column in zip(*self._durations, strict=True)]


def augmented() -> None:
    """Milliseconds of an augmented and normalised batch."""
    for size, batch in ((64, 128), (112, 64), (224, 32)):
        pictures = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
        for name in ("none", "light", "paper", "wild"):
            collator, seconds = Collator(Preprocessing(size), vary=augmentation(name).batch), []
            for _ in range(15):
                begun = time.perf_counter()
                collator.prepare({"pixel_values": pictures}, training=True)
                seconds.append(time.perf_counter() - begun)
            print(f"{batch} pictures of {size}×{size}, {name}: {statistics.median(seconds) * 1000:.0f} ms", flush=True)


def memory(rows: int) -> None:
    """The peak of the resident memory in each quarter of an epoch."""
    dataset = noise("memory", rows, 32, pictures=max(100, rows // LINKS + 1))
    shutil.rmtree(OUT / "memory-run", ignore_errors=True)
    recipe = ViTSERecipe(
        backbone="tiny", size=32, epochs=1, batch_size=128, augment="light", warmup=0.0, logger=("none",)
    )
    peaks, before = [0.0] * 4, resident()

    def watch(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if stage == "training":
            quarter = min(3, 4 * (done - 1) // total)
            peaks[quarter] = max(peaks[quarter], resident())

    begun = time.perf_counter()
    fit(recipe, dataset, OUT / "memory-run", device="cpu", progress=watch)
    print(f"{rows} rows, {time.perf_counter() - begun:.0f} s; {before:.0f} MiB before the training")
    print("peak by quarter of the epoch: " + ", ".join(f"{peak:.0f} MiB" for peak in peaks))
    print(f"growth from the first quarter to the last: {peaks[3] - peaks[0]:.0f} MiB")


def resident() -> float:
    """This process's resident memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["step", "augmentation", "memory"])
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--augment", default="light")
    parser.add_argument("--attempts", type=int, default=3)
    parser.add_argument("--rows", type=int, default=300_000)
    arguments = parser.parse_args()
    if arguments.which == "step":
        step(arguments.size, arguments.batch, arguments.augment, arguments.attempts)
    elif arguments.which == "augmentation":
        augmented()
    else:
        memory(arguments.rows)
