"""Cells of a benchmark side by side: how many times the rate of one after the other, on as many cores.

    python benchmarks/side_by_side.py [--data DATA] [--cells 4] [--epochs 2] [--rounds 1]

Cells that train a network each, on a prepared dataset of small crops (drawn here unless given), in turn:

- one after the other in one process of one thread,
- one after the other in one process with a thread a core,
- side by side, a process of one thread on each core, as ``fer benchmark`` does.

Starting the processes and importing torch are included. The ways take turns over ``--rounds``; medians are printed.
Everything is written to a folder that is removed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from fer_cli.benchmark.cells import Cell
from fer_cli.benchmark.engines import attempt
from fer_cli.benchmark.runner import compute_cell
from fer_cli.benchmark.specification import Specification, expand
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.distributed import cores
from fer_cli.pools import Workers

SPECIFICATION = """
seeds = [{seeds}]
[datasets]
data = "{data}"
[[recipes]]
name = "classifier"
train = "classifier"
encoder = "scratch"
backbone = "resnet18_small"
size = 64
epochs = {epochs}
patience = 0
[evaluations.within]
folds = 3
"""


def seconds(specification: Specification, cells: list[Cell], processes: int, threads: int) -> float:
    """How long ``cells`` take in so many ``processes`` of ``threads`` each."""
    waiting, running = list(cells), 0
    shares = {"OMP_NUM_THREADS": str(threads), "LOCAL_WORLD_SIZE": str(processes)}
    with tempfile.TemporaryDirectory() as folder, Workers([shares] * processes) as workers:
        work = partial(compute_cell, specification, Path(folder))
        begun = time.perf_counter()
        while waiting or running:
            for worker in workers.idle[: len(waiting)]:
                workers.submit(worker, attempt, work, waiting.pop(0), "cpu", "")
                running += 1
            for message in workers.wait():
                if message.kind == "progress":
                    continue
                if message.kind == "died" or message.value.result.status != "done":
                    sys.exit(f"a cell failed: {message.value}")
                running -= 1
        return time.perf_counter() - begun


def main() -> None:
    """Measure the three ways."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a prepared dataset; default: 12 drawn people")
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data
        if data is None:
            drawn = Preparation(size=64, margin=0.05, folds=3)
            data = prepare(Synthetic(subjects=12, frames=4), folder / "corpus", folder / "data", drawn).path
        text = SPECIFICATION.format(
            seeds=", ".join(map(str, range(options.cells))), data=data.resolve(), epochs=options.epochs
        )
        (folder / "benchmark.toml").write_text(text)
        specification = Specification.open(folder / "benchmark.toml")
        cells = [cell for cell in expand(specification) if cell.recipe == "classifier"]
        ways = {
            "one process of one thread": (1, 1),
            f"one process of {cores()} threads": (1, cores()),
            f"{cores()} processes of one thread": (cores(), 1),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, numbers in ways.items():
                taken[way].append(seconds(specification, cells, *numbers))
                print(f"{way}: {taken[way][-1]:.1f} s for {len(cells)} cells", flush=True)
    *others, side_by_side = (statistics.median(each) for each in taken.values())
    for way, other in zip(ways, others, strict=False):
        print(f"{list(ways)[-1]}: {other / side_by_side:.2f} times the rate of {way}")


if __name__ == "__main__":
    main()
