"""Real faces: neutral against smiling over subject-independent folds.

    python benchmarks/real_faces.py FOLDER   (neutral/NNN.jpg, smiling/NNN.jpg)

FOLDER holds the Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0). The detector's file is taken from
FER_YUNET. Everything is written to, and taken up again from, ./benchmarks-out.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fer_cli.corpora.image_folder import ImageFolder
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import FerError, RunError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.runs.run import Run
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe

OUT = Path("benchmarks-out")
SMALL = {"backbone": "mobilenet_v3_small", "size": 112}
#: An encoder that has seen drawn faces only.
DRAWN = DifferenceRecipe(features="target", encoder="scratch", epochs=20, lr=2e-3, **SMALL)


def trained(recipe: DifferenceRecipe, dataset: PreparedDataset, name: str) -> Run:
    """The run called ``name``, trained now unless it is there already."""
    out = OUT / "runs" / name
    try:
        return Run.open(out)
    except RunError:
        return fit(recipe, dataset, out)


def drawn_encoder() -> str:
    """The folder of a run trained on the synthetic corpus."""
    # Neutral is a class, for it is what a smile is to be told from.
    settings = Preparation(classes="8")
    prepared = prepare(Synthetic(subjects=100, frames=4), OUT / "synthetic", OUT / "data" / "synthetic", settings)
    return str(trained(DRAWN, PreparedDataset.open(prepared.path), "drawn").path)


def accuracies(recipe: DifferenceRecipe, dataset: PreparedDataset, name: str, folds: range) -> Iterator[float]:
    """The held-out accuracy of each fold, as each is trained."""
    for fold in folds:
        run = trained(dataclasses.replace(recipe, fold=fold), dataset, f"{name}-fold{fold}")
        yield evaluate(run).value()


def smiles(folder: Path) -> None:
    """Neutral against happiness, single pictures, ten folds."""
    corpus = ImageFolder(pattern="{label}/{subject}.jpg", rename=("smiling=happiness",))
    dataset = PreparedDataset.open(prepare(corpus, folder, OUT / "data" / "london").path)
    base = DifferenceRecipe(features="target", encoder="scratch", epochs=30, **SMALL)
    drawn = dataclasses.replace(base, encoder=drawn_encoder(), tune_encoder=True)
    for name, recipe in (("smiles-drawn", drawn), ("smiles-scratch", base)):
        figures = []
        for accuracy in accuracies(recipe, dataset, name, range(dataset.protocol.folds)):
            figures.append(accuracy)
            print(f"{name} fold {len(figures) - 1}: {accuracy:.3f}", flush=True)
        print(f"{name}: mean {np.mean(figures):.3f}, deviation {np.std(figures, ddof=1):.3f} over {len(figures)} folds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    begun = time.monotonic()
    try:
        smiles(arguments.folder)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
    print(f"{time.monotonic() - begun:.0f} s")
