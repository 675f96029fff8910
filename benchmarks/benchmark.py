"""One benchmark of all recipes on drawn, imitated, posed and press faces: its specification, and what it needs.

    python benchmarks/benchmark.py --acted DATA --london DATA --wild DATA
    fer benchmark benchmarks-out/benchmark/benchmark.toml --out benchmarks-out/benchmark/results --allow-shared

The first line draws two corpora, one whose resting brows and mouths look like expressions, prepares both, and writes
the specification; the second computes it, on two cores in less than an hour, and again goes on where it was stopped.
The others are prepared datasets of 64-pixel crops with a margin of 0.05: expressions imitated on the portraits of the
Face Research Lab London Set, these portraits themselves (neutral or smiling), and press photographs of people whom
the packaged model was not trained on (fold 0 of all of them, see docs/pretrained.md). The first two show the same
people, which is why ``--allow-shared`` is needed.
"""

import argparse
from pathlib import Path

from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset

OUT = Path("benchmarks-out/benchmark")
#: As the packaged model takes its faces.
CROPS = {"size": 64, "margin": 0.05}
SUBJECTS, FOLDS = 24, 4
SPECIFICATION = """\
title = "Drawn, imitated, posed and press faces"
metric = "unweighted_average_recall"
neutral = ["given"]

[datasets]
{datasets}

[[recipes]]
name = "HOG"
train = "baseline"
features = "target"

[[recipes]]
name = "HOG-both"
train = "baseline"
features = "both"

[[recipes]]
name = "target"
train = "difference"
features = "target"

[[recipes]]
name = "difference"
train = "difference"
features = "difference"

[[recipes]]
name = "both"
train = "difference"
features = "both"

[[recipes]]
name = "two-stages"
train = "disentangled"
identity = "subjects"
epochs = {epochs}
patience = 0

[[recipes]]
name = "packaged"
run = "faces"

[evaluations.within]
folds = {folds}

[evaluations.cross-corpus]
"""


def drawn(name: str, seed: int, confound: float) -> Path:
    """The folder of a prepared dataset of drawn people, of whom ``confound`` have resting faces like expressions."""
    corpus = Synthetic(subjects=SUBJECTS, frames=4, seed=seed, confound=confound)
    return prepare(corpus, OUT / "corpora" / name, OUT / "data" / name, Preparation(folds=FOLDS, **CROPS)).path


def main() -> None:
    """Write the specification of the datasets named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("acted", "london", "wild"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--epochs", type=int, default=3, help="of each of the two stages")
    options = parser.parse_args()
    # Other people in each: the numbers that name them are the same.
    folders = {"drawn": drawn("drawn", 0, 0.0), "confounded": drawn("confounded", 1, 1.0)}
    folders |= {name: PreparedDataset.open(getattr(options, name)).path for name in ("acted", "london", "wild")}
    datasets = "\n".join(f'{name} = "{path.resolve()}"' for name, path in folders.items())
    (OUT / "benchmark.toml").write_text(
        SPECIFICATION.format(datasets=datasets, folds=FOLDS, epochs=options.epochs), encoding="utf-8"
    )
    print(f"fer benchmark {OUT / 'benchmark.toml'} --out {OUT / 'results'} --allow-shared")


if __name__ == "__main__":
    main()
