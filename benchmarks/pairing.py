"""Models of pairs and of single faces beside HOG features and a linear SVM, on the same crops, pairs and folds.

    fer train difference --ablation --cv --data DATASET --out RUNS
    python benchmarks/pairing.py DATASET RUNS [RUN …]

The runs are cross-validations on DATASET, or folders of several. HOG (Dalal & Triggs, CVPR 2005): 8 orientations, cells
of 8 pixels, blocks of 2×2; C=1. Each row has the accuracy and the average recall with the interval of a bootstrap over
subjects, and the p of the paired randomisation test against the faces alone by the first run and by HOG, and against
the better of HOG's two models of pairs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.feature import hog
from sklearn.svm import LinearSVC

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import FerError
from fer_cli.evaluation.bootstrap import bootstrap
from fer_cli.evaluation.compare import variants
from fer_cli.evaluation.metrics import LabelledPredictions, compared_metrics
from fer_cli.evaluation.results import StoredEvaluation
from fer_cli.evaluation.significance import exchange_test

METRICS = ("accuracy", "unweighted_average_recall")


def features_of(dataset: PreparedDataset, names: pd.Series) -> np.ndarray:
    """The HOG features of the crops called ``names``, N×D; each crop is read once."""
    crops, found = Crops(dataset.path), {}
    for name in names.unique():
        grey = crops[name].float().mean(dim=0).numpy()
        found[name] = hog(grey, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    return np.stack([found[name] for name in names])


def by_hog(dataset: PreparedDataset, samples: pd.Index) -> dict[str, pd.DataFrame]:
    """The predictions of ``samples`` (file names) by SVMs of the face, the difference and both, fold by fold."""
    rows = dataset.metadata.set_index("file_name").loc[samples]
    faces, neutrals = features_of(dataset, rows.index.to_series()), features_of(dataset, rows["neutral_file_name"])
    inputs = {
        "target": faces,
        "difference": faces - neutrals,
        "both": np.hstack([faces, faces - neutrals]),
    }
    tables = {}
    for name, values in inputs.items():
        predicted = pd.Series(index=rows.index, dtype=object)
        for fold in rows["fold"].unique():
            test = (rows["fold"] == fold).to_numpy()
            machine = LinearSVC(C=1, max_iter=10_000).fit(values[~test], rows["label"][~test])
            predicted[test] = machine.predict(values[test])
        tables[f"HOG + SVM, {name}"] = rows[["subject", "label"]].assign(predicted=predicted)
    return tables


def report(tables: dict[str, pd.DataFrame], classes: tuple[str, ...], against: list[str]) -> None:
    """Print a row a model, with its tests against the models ``against``."""
    predictions = {
        name: LabelledPredictions.of(table, classes, with_probabilities=False) for name, table in tables.items()
    }
    confusions = {name: each.confusions() for name, each in predictions.items()}
    functions = {metric.name: metric.function for metric in compared_metrics() if metric.name in METRICS}
    print("| model | accuracy | average recall | " + " | ".join(f"p, {name}" for name in against) + " |")
    print("| --- |" + " --- |" * (2 + len(against)))
    for name, own in confusions.items():

        def values(draws: np.ndarray, own: np.ndarray = own) -> dict[str, np.ndarray]:
            summed = np.einsum("ru,uij->rij", draws, own.astype(float))
            return {metric: function(summed) for metric, function in functions.items()}

        found = bootstrap(values, len(own)).table(list(METRICS))
        cells = [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in found.itertuples()]
        tests = [
            "–" if other == name else f"{exchange_test(confusions[other], own)['accuracy']:.4f}" for other in against
        ]
        print(f"| {name} | {' | '.join(cells + tests)} |")


def main(folder: Path, runs: list[Path]) -> None:
    """Print the table for the dataset in ``folder``."""
    dataset = PreparedDataset.open(folder)
    opened = [StoredEvaluation.open(each) for path in runs for each in variants(path) or [path]]
    samples = opened[0].predictions.index
    tables = {str(each.path): each.predictions.loc[samples] for each in opened}
    hogs = by_hog(dataset, samples)
    right = {name: float((table["label"] == table["predicted"]).mean()) for name, table in hogs.items()}
    target, *pairs = hogs
    against = [str(opened[0].path), target, max(pairs, key=right.__getitem__)]
    subjects = dataset.metadata.set_index("file_name").loc[samples, "subject"]
    print(f"{dataset.protocol.name}: {len(samples)} samples of {subjects.nunique()} subjects")
    report({**hogs, **tables}, dataset.protocol.classes, against)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    try:
        main(arguments.dataset, arguments.runs)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
