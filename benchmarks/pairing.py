"""Models of pairs and of single faces with the baseline, HOG and a linear SVM, on the same crops, pairs and folds.

    fer train baseline --ablation --cv --data DATASET --out HOG
    fer train difference --ablation --cv --data DATASET --out RUNS
    python benchmarks/pairing.py RUNS HOG [RUN …]

The runs are cross-validations on one dataset, or folders of several. Each row has the accuracy and the average recall
with the interval of a bootstrap over subjects, and the p of the paired randomisation test of the accuracy against the
first run, and against the best of the baselines.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from fer_cli.errors import FerError
from fer_cli.evaluation.bootstrap import bootstrap
from fer_cli.evaluation.compare import BASELINE, variants
from fer_cli.evaluation.metrics import LabelledPredictions, compared_metrics
from fer_cli.evaluation.results import StoredEvaluation
from fer_cli.evaluation.significance import exchange_test

METRICS = ("accuracy", "unweighted_average_recall")


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


def main(runs: list[Path]) -> None:
    """Print the table of the ``runs``."""
    opened = [StoredEvaluation.open(each) for path in runs for each in variants(path) or [path]]
    samples = opened[0].predictions.index
    for each in opened[1:]:
        samples = samples.intersection(each.predictions.index, sort=False)
    tables = {str(each.path): each.predictions.loc[samples] for each in opened}
    right = {
        str(each.path): float((tables[str(each.path)]["label"] == tables[str(each.path)]["predicted"]).mean())
        for each in opened
        if each.card.get("model") == BASELINE
    }
    against = [str(opened[0].path), *([max(right, key=right.__getitem__)] if right else [])]
    first = tables[str(opened[0].path)]
    print(f"{opened[0].card['about'].split('; ')[0]}: {len(samples)} samples of {first['subject'].nunique()} subjects")
    report(tables, tuple(opened[0].card["classes"]), against)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    try:
        main(arguments.runs)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
