"""How fast training is, as ratios measured in one run.

    python benchmarks/training.py folds     ten folds of 30 epochs on 981 pairs of 224×224, the frozen encoder included
    python benchmarks/training.py stage1    a step of stage 1 beside the bare step of its emotion encoder

The first is set against the published schedule, which runs the encoder for both faces of every pair in every epoch; a
few of its steps are timed and the rest reckoned. The weights are random: they do not change how long anything takes.
Drawn faces, and all that is made of them, go to ./benchmarks-out.
"""

import argparse
import dataclasses
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import EMBEDDINGS, METADATA
from fer_cli.models import DifferenceConfig, DifferenceModel, IdentityConfig, IdentityModel
from fer_cli.training.cross_validation import cross_validate
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe

OUT = Path("benchmarks-out")
PAIRS, SIZE, BATCH, EPOCHS = 981, 224, 32, 30


def pairs() -> PreparedDataset:
    """CK+'s number of pairs, drawn, without any embeddings."""
    prepared = prepare(
        Synthetic(subjects=47, frames=4), OUT / "speed-corpus", OUT / "data" / "speed", Preparation(size=SIZE)
    )
    dataset = PreparedDataset.open(prepared.path)
    apexes = dataset.metadata.index[dataset.metadata["neutral_file_name"].notna()]
    if len(apexes) > PAIRS:
        dataset.metadata.drop(apexes[PAIRS:]).to_csv(prepared.path / METADATA, index=False)
    shutil.rmtree(prepared.path / EMBEDDINGS, ignore_errors=True)
    return PreparedDataset.open(prepared.path)


def each_step(step: Callable[[], None], times: int) -> list[float]:
    """Seconds that each of some steps takes, after two to warm up."""
    seconds = []
    for number in range(times + 2):
        begun = time.perf_counter()
        step()
        if number >= 2:
            seconds.append(time.perf_counter() - begun)
    return seconds


def folds() -> None:
    """Ten-fold cross-validation of difference with a frozen MobileNetV3-Large."""
    dataset, encoder = pairs(), OUT / "speed-encoder"
    model = DifferenceModel(DifferenceConfig(num_labels=7))
    model.save_pretrained(encoder)
    shutil.rmtree(OUT / "speed-folds", ignore_errors=True)
    recipe = DifferenceRecipe(encoder=str(encoder), epochs=EPOCHS, patience=0, batch_size=BATCH)
    begun = time.perf_counter()
    cross_validate(recipe, dataset, OUT / "speed-folds", device="cpu")
    ours = time.perf_counter() - begun

    network = model.train().to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(network.head.parameters())
    faces, labels = torch.randn(2, BATCH, 3, SIZE, SIZE), torch.randint(7, (BATCH,))

    def published() -> None:
        optimizer.zero_grad()
        # Both encoders run for every pair, as published; no gradient is kept.
        network(faces[0], faces[1], labels=labels).loss.backward()
        optimizer.step()

    step = statistics.median(each_step(published, 5))
    steps = sum(-(-sum(run.values()) // BATCH) for run in _sides(dataset)) * EPOCHS
    print(f"ten folds, {PAIRS} pairs of {SIZE}×{SIZE}, {EPOCHS} epochs: {ours:.1f} s, embeddings included")
    print(f"published schedule: {BATCH / step:.1f} pairs/s, {steps} steps: {steps * step / 3600:.2f} h (reckoned)")
    print(f"ratio {steps * step / ours:.0f}")


def _sides(dataset: PreparedDataset) -> list[dict[str, int]]:
    """How many pairs each fold trains on and chooses the epoch by."""
    split = [dataset.split(fold, paired=True) for fold in range(dataset.protocol.folds)]
    return [{side: len(rows[side]) for side in ("train", "val")} for rows in split]


def stage1() -> None:
    """A step of stage 1, identity encoder and all, beside the bare training step of a MobileNetV3-Large."""
    dataset, identity = pairs(), OUT / "speed-identity"
    IdentityModel(IdentityConfig(backbone="mobilenet_v3_large", num_labels=2)).save_pretrained(identity)
    recipe = DisentangledRecipe(
        stage=1, encoder="scratch", identity=str(identity), epochs=1, batch_size=BATCH, warmup=0.0, logger=("none",)
    )
    network = DifferenceModel(DifferenceConfig(features="target", tune_encoder=True, num_labels=7)).train()
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    faces = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(7, (BATCH,))

    def bare() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(faces).logits, labels).backward()
        optimizer.step()

    ratios = []
    # One beside the other, three times, so that what else the machine does falls on both.
    for attempt in range(3):
        alone = each_step(bare, 8)
        ours = _steps_of(dataclasses.replace(recipe, seed=attempt), dataset, OUT / "speed-stage1")
        alone += each_step(bare, 8)
        rates = [BATCH / statistics.median(seconds) for seconds in (ours, alone)]
        ratios.append(rates[0] / rates[1])
        print(f"stage 1 {rates[0]:.1f} images/s, bare step {rates[1]:.1f} images/s: ratio {ratios[-1]:.2f}", flush=True)
    print(f"ratio {statistics.median(ratios):.2f} (the published code: 1.3 images/s)")


def _steps_of(recipe: DisentangledRecipe, dataset: PreparedDataset, out: Path) -> list[float]:
    """Seconds of each training step of a run, without the first two."""
    ends: list[float] = []

    def watch(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if stage == "training":
            ends.append(time.perf_counter())

    shutil.rmtree(out, ignore_errors=True)
    fit(recipe, dataset, out, device="cpu", progress=watch)
    return [after - before for before, after in pairwise(ends[2:])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["folds", "stage1"])
    arguments = parser.parse_args()
    sys.exit({"folds": folds, "stage1": stage1}[arguments.which]())
