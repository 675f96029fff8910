"""False alarms and power of a benchmark's comparisons: recipes that are equal under two names, and one that is better.

    python -m benchmarks.null [--repetitions 200] [--jobs 1] [--scenario NAME]

Made corpora: people with a face of their own, each showing every class a few times; features are class, person and
noise. A recipe is an average of extremely randomised trees (Geurts, Ernst and Wehenkel 2006) that draws its own seeds,
trained and tested as a benchmark does it: repeated subject-independent folds within each corpus, and on each corpus for
all others. Every repetition makes new corpora and goes through ``compare_cells`` as a benchmark's cells do.

- *same recipe*: one recipe under two names, which differ in their seeds alone. Any difference is a false alarm.
- *equal skill*: two recipes that see different, equally informative features. On one corpus one of them may be better
  for all folds, over corpora none is.
- *better recipe*: more trees against one. Any resolved difference in its favour is a hit.

Rates are of p ≤ 0.05 and of ``resolved``, each with the Clopper-Pearson interval over repetitions; Holm's correction is
over the corpora of one repetition, so that for ``resolved`` the rate is that of any false alarm among them.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.model_selection import GroupKFold
from sklearn.tree import ExtraTreeClassifier

from fer_cli.benchmark.cells import COLUMNS
from fer_cli.benchmark.comparisons import compare_cells

ALPHA = 0.05
METRIC = "unweighted_average_recall"
CLASSES = ("anger", "happiness", "surprise")
FEATURES = 6


@dataclass(frozen=True)
class Recipe:
    """An average of ``trees`` on the features from ``first`` on, of which it sees :data:`FEATURES`."""

    name: str
    trees: int = 1
    first: int = 0

    def predict(
        self, train: tuple[np.ndarray, np.ndarray], test: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """The class indices (N) of the samples ``test`` (N×F)."""
        own = slice(self.first, self.first + FEATURES)
        votes = np.zeros((len(test), len(CLASSES)))
        for _ in range(self.trees):
            seed = int(generator.integers(2**31))
            tree = ExtraTreeClassifier(max_depth=4, random_state=seed).fit(train[0][:, own], train[1])
            votes[:, tree.classes_] += tree.predict_proba(test[:, own])
        return votes.argmax(axis=1)


#: What is compared: two recipes, of which the second is as good as the first or better.
SCENARIOS = {
    "same recipe": (Recipe("one"), Recipe("two")),
    "equal skill": (Recipe("one", 3), Recipe("two", 3, FEATURES)),
    "better recipe": (Recipe("one"), Recipe("two", 10)),
}


@dataclass(frozen=True)
class Corpus:
    """A made corpus: N×F features, N class indices and N subjects."""

    name: str
    features: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray


def made_corpus(name: str, generator: np.random.Generator, *, subjects: int = 25, frames: int = 2) -> Corpus:
    """People who differ in their faces and in how they show a class; corpora differ in how classes look."""
    width, classes = 2 * FEATURES, len(CLASSES)
    common = np.tile(np.random.default_rng(7).normal(0, 0.6, (classes, FEATURES)), 2)
    looks = common + generator.normal(0, 0.3, (classes, width))
    person = generator.normal(0, 0.6, (subjects, 1, 1, width)) + generator.normal(0, 0.5, (subjects, classes, 1, width))
    features = looks[None, :, None] + person + generator.normal(0, 0.7, (subjects, classes, frames, width))
    labels = np.broadcast_to(np.arange(classes)[None, :, None], features.shape[:3])
    people = np.broadcast_to(np.arange(subjects)[:, None, None], features.shape[:3])
    return Corpus(name, features.reshape(-1, width), labels.ravel(), people.ravel())


def cell_rows(
    cell: str, corpus: Corpus, predicted: np.ndarray, folds: np.ndarray, folder: Path, **place: object
) -> list[dict[str, object]]:
    """A cell's rows of the table of results; its predictions are written to the folder."""
    names = np.array(CLASSES)
    table = pd.DataFrame(
        {
            "file_name": [f"{corpus.name}/{number}" for number in range(len(folds))],
            "subject": [f"P{subject}" for subject in corpus.subjects],
            "fold": folds,
            "label": names[corpus.labels],
            "predicted": names[predicted],
        }
    )
    table.to_csv(folder / f"{cell}.csv", index=False)
    common = {**dict.fromkeys(COLUMNS), **place, "cell": cell, "test": corpus.name, "neutral": "none", "status": "done"}
    rows = []
    for fold in (None, *np.unique(folds)):
        mine = np.ones(len(folds), bool) if fold is None else folds == fold
        right = predicted[mine] == corpus.labels[mine]
        recall = np.mean([right[corpus.labels[mine] == label].mean() for label in np.unique(corpus.labels[mine])])
        sizes = {"n": int(mine.sum()), "train_n": int((~mine).sum()) or None}
        rows.append({**common, **sizes, "fold": fold, METRIC: recall})
    return rows


def within(
    corpora: Sequence[Corpus],
    recipes: Sequence[Recipe],
    folder: Path,
    generator: np.random.Generator,
    *,
    repeats: int,
    folds: int = 5,
) -> list[dict[str, object]]:
    """Rows of the repeated folds of every corpus; both recipes have the same folds."""
    rows = []
    for corpus in corpora:
        for repeat in range(repeats):
            splitter = GroupKFold(folds, shuffle=True, random_state=int(generator.integers(2**31)))
            fold = np.empty(len(corpus.labels), int)
            for number, (_, test) in enumerate(splitter.split(corpus.features, groups=corpus.subjects)):
                fold[test] = number
            for recipe in recipes:
                predicted = np.empty_like(fold)
                for number in range(folds):
                    test = fold == number
                    train = corpus.features[~test], corpus.labels[~test]
                    predicted[test] = recipe.predict(train, corpus.features[test], generator)
                cell = f"within-{corpus.name}-{repeat}-{recipe.name}"
                place = {"recipe": recipe.name, "evaluation": "within", "train": corpus.name}
                rows += cell_rows(cell, corpus, predicted, fold, folder, **place, repeat=repeat, seed=0)
    return rows


def cross_corpus(
    corpora: Sequence[Corpus],
    recipes: Sequence[Recipe],
    folder: Path,
    generator: np.random.Generator,
    *,
    seeds: int,
) -> list[dict[str, object]]:
    """Rows of every recipe trained on each corpus, with each seed, and tested on all others."""
    rows = []
    for trained in corpora:
        others = [corpus for corpus in corpora if corpus is not trained]
        together = np.concatenate([corpus.features for corpus in others])
        for seed in range(seeds):
            for recipe in recipes:
                predicted = recipe.predict((trained.features, trained.labels), together, generator)
                parts = np.split(predicted, np.cumsum([len(corpus.labels) for corpus in others])[:-1])
                for corpus, part in zip(others, parts, strict=True):
                    cell = f"cross-{trained.name}-{corpus.name}-{seed}-{recipe.name}"
                    place = {"recipe": recipe.name, "evaluation": "cross-corpus", "train": trained.name}
                    fold = np.zeros(len(part), int)
                    rows += cell_rows(cell, corpus, part, fold, folder, **place, repeat=0, seed=seed)[:1]
    return rows


def repetition(scenario: str, seed: int, *, corpora: int = 4, draws: int = 3) -> pd.DataFrame:
    """The comparisons of one repetition, of its first draws alone and of all of them, in the column ``draws``."""
    generator = np.random.default_rng([seed, *scenario.encode()])
    recipes = SCENARIOS[scenario]
    made = [made_corpus(f"corpus{number}", generator) for number in range(corpora)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = within(made, recipes, folder, generator, repeats=draws)
        rows += cross_corpus(made, recipes, folder, generator, seeds=draws)
        results, predictions = pd.DataFrame(rows), {path.stem: path for path in folder.glob("*.csv")}
        single = results[(results["repeat"] == 0) & (results["seed"] == 0)]
        tables = [
            compare_cells(own, predictions, METRIC).assign(draws=count)
            for count, own in ((1, single), (draws, results))
        ]
    return pd.concat(tables, ignore_index=True).assign(scenario=scenario, repetition=seed)


def rates(table: pd.DataFrame) -> Iterator[list[object]]:
    """Scenario, evaluation, draws, corpora, method, tests, and the rates of p ≤ 0.05 and of resolved differences."""
    keys = ["scenario", "evaluation", "draws", "test", "method"]
    table = table.assign(test=np.where(table["test"] == "(all)", "all", "each"))
    for key, own in table.groupby(keys, sort=False):
        alarms, resolved = own["p"] <= ALPHA, own["resolved"].astype(bool)
        # Tests of one repetition share people and models, so that the interval is over repetitions.
        by = resolved.groupby(own["repetition"])
        first = own.groupby("repetition").head(1).index
        count = int(alarms[first].sum())
        low, high = binomtest(count, len(first)).proportion_ci(method="exact")
        any_low, any_high = binomtest(int(by.any().sum()), len(first)).proportion_ci(method="exact")
        yield [
            *key,
            len(own),
            f"{alarms.mean():.3f}",
            f"{count / len(first):.3f} [{low:.3f}, {high:.3f}]",
            f"{resolved.mean():.3f}",
            f"{by.any().mean():.3f} [{any_low:.3f}, {any_high:.3f}]",
        ]


def main(repetitions: int, jobs: int, scenarios: Sequence[str]) -> None:
    """Print the table of rates; of recipes that are not the same there are fewer repetitions."""
    seeds = {"same recipe": repetitions, "equal skill": -(-repetitions // 2), "better recipe": -(-repetitions // 4)}
    work = [(scenario, seed) for scenario in scenarios for seed in range(seeds[scenario])]
    found = []
    with ProcessPoolExecutor(jobs) as pool:
        for done, table in enumerate(pool.map(repetition, *zip(*work, strict=True)), start=1):
            found.append(table)
            print(f"\r{done} of {len(work)}", end="", file=sys.stderr, flush=True)
    columns = ["scenario", "evaluation", "draws", "corpora", "method", "tests"]
    columns += ["p ≤ 0.05", "of the first", "resolved", "any resolved"]
    print("\n| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rates(pd.concat(found, ignore_index=True)):
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="default: all")
    arguments = parser.parse_args()
    main(arguments.repetitions, arguments.jobs, arguments.scenario or list(SCENARIOS))
