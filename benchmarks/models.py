"""The three models on the same folds: target, difference, both, and the two stages, each mean ± deviation and pooled.

    python benchmarks/models.py confounded      drawn faces whose resting brows and mouths look like expressions
    python benchmarks/models.py acted FOLDER    (NNN/<expression>/0.jpg … 3.jpg) real faces, imitated expressions

The encoder of all of them starts from weights trained on other drawn people. It is frozen, but in stage 1, which trains
it beside an identity encoder of the training subjects. FOLDER holds expressions imitated on the Face Research Lab
London Set (DeBruine & Jones 2017, CC BY 4.0); the detector's file is taken from FER_YUNET. Everything is written to,
and taken up again from, ./benchmarks-out.
"""

import argparse
import sys
import time
from pathlib import Path

from fer_cli.corpora.base import Corpus
from fer_cli.corpora.image_folder import ImageFolder
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import FerError, RunError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.runs.run import CrossValidation, Run
from fer_cli.training.cross_validation import cross_validate
from fer_cli.training.fit import fit
from fer_cli.training.recipes.base import Recipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe

OUT = Path("benchmarks-out")
SMALL = {"backbone": "mobilenet_v3_small", "size": 112}


def dataset_of(corpus: Corpus, root: Path, name: str, **settings: str) -> PreparedDataset:
    """The prepared dataset called ``name``, prepared now unless it is there already."""
    return PreparedDataset.open(prepare(corpus, root, OUT / "data" / name, Preparation(**settings)).path)


def drawn_encoder() -> str:
    """The folder of a run trained on drawn people who are in none of the datasets below."""
    out = OUT / "runs" / "other-people"
    # Neutral is a class too, so that the encoder knows a resting face.
    dataset = dataset_of(Synthetic(subjects=100, frames=4, seed=1), OUT / "other-people", "other-people", classes="8")
    try:
        return str(Run.open(out).path)
    except RunError:
        recipe = DifferenceRecipe(features="target", encoder="scratch", epochs=20, lr=2e-3, **SMALL)
        return str(fit(recipe, dataset, out).path)


def cross_validated(recipe: Recipe, dataset: PreparedDataset, name: str) -> CrossValidation:
    """The cross-validation called ``name``, trained now unless it is there already."""
    out = OUT / "runs" / name
    try:
        return CrossValidation.open(out)
    except RunError:
        return cross_validate(recipe, dataset, out)


def table(dataset: PreparedDataset, name: str) -> None:
    """Train and test each model on every fold, and print what they come to."""
    encoder = drawn_encoder()
    stage_1 = OUT / "runs" / f"{name}-stage1"
    recipes: dict[str, Recipe] = {
        features: DifferenceRecipe(features=features, pairs_only=True, encoder=encoder)
        for features in ("target", "difference", "both")
    }
    # A few epochs, for each fold trains two encoders of its own.
    recipes["stage 1"] = DisentangledRecipe(stage=1, encoder=encoder, identity="subjects", epochs=3)
    recipes["stage 2"] = DisentangledRecipe(stage=2, encoder=str(stage_1))
    print(dataset.protocol.name)
    for model, recipe in recipes.items():
        begun = time.monotonic()
        result = cross_validated(recipe, dataset, f"{name}-{model.replace(' ', '')}")
        evaluation = evaluate(result)
        mean, deviation = evaluation.over_folds()
        recall = evaluation.over_folds("unweighted_average_recall")
        print(
            f"{model:11} accuracy {mean:.3f} ± {deviation:.3f} over {len(evaluation.folds)} folds, pooled "
            f"{evaluation.value():.3f} of {len(evaluation.predictions)}; unweighted average recall "
            f"{recall[0]:.3f} ± {recall[1]:.3f}; {time.monotonic() - begun:.0f} s",
            flush=True,
        )


def confounded() -> None:
    """Drawn faces at rest that look like expressions: without the neutral face, a face and a mood are one."""
    corpus = Synthetic(subjects=40, frames=4, confound=1.0)
    table(dataset_of(corpus, OUT / "confounded", "confounded"), "confounded")


def acted(folder: Path) -> None:
    """Seven imitated expressions of real faces."""
    table(dataset_of(ImageFolder(pattern="{subject}/{label}/{frame}.jpg"), folder, "acted"), "acted")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["confounded", "acted"])
    parser.add_argument("folder", type=Path, nargs="?", help="where acted's pictures are")
    arguments = parser.parse_args()
    if arguments.which == "acted" and arguments.folder is None:
        parser.error("acted: which FOLDER?")
    try:
        confounded() if arguments.which == "confounded" else acted(arguments.folder)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
