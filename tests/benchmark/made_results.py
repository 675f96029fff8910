"""Made results of a benchmark: plausible numbers of datasets, recipes and evaluations, without a training."""

import zlib
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd

from fer_cli.benchmark.cells import Cell, CellResult
from fer_cli.benchmark.results import DEFAULT_METRIC, pooled
from fer_cli.evaluation.metrics import METRICS

DATASETS = ("acted", "wild")
#: Recipes with their neutral accesses.
RECIPES = {"baseline": ("none",), "difference": ("given", "found")}
COMPARISONS = (
    *("evaluation", "train", "test", "train_subjects", "first", "second", "neutral_first", "neutral_second", "metric"),
    *("first_value", "second_value", "difference", "low", "high", "p", "p_holm", "method", "noise_floor", "resolved"),
    *("heterogeneity", "n_corpora", "notes"),
)
RANKS = (
    *("evaluation", "train", "test", "train_subjects", "neutral", "recipe", "metric", "value", "low_rank", "high_rank"),
)


def made_cell(recipe="baseline", evaluation="within", train=("acted",), test="acted", neutral="none", **others) -> Cell:
    return Cell(recipe, evaluation, train, test, neutral, **others)


def _random(cell: Cell) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(cell.title.encode(errors="replace")))


def made_result(cell: Cell, value: float | None = None, *, folds: int = 0, reason: str = "") -> CellResult:
    """A cell's result; ``reason`` makes it one that failed."""
    row = {
        "n": 600,
        "subjects": 60,
        "train_n": 480,
        "classes": ["anger", "disgust", "happiness"],
        "chance": 0.374,
        "protocol": f"{cell.test} 3 classes (anger, disgust, happiness), stills, 5 folds by ID step 5",
        "command": f"fer train {cell.recipe} data/{'-'.join(cell.train)} --seed {cell.seed}",
        "notes": ["Classes in common: anger, disgust, happiness."],
    }
    if reason:
        return CellResult(cell, "failed", (row,), reason=reason)
    random = _random(cell)
    value = random.uniform(0.5, 0.8) if value is None else value
    half = random.uniform(0.02, 0.05)
    numbers = {}
    for place, name in enumerate(METRICS):
        own = value - 0.01 * place
        numbers |= {name: own, f"{name}_low": own - half, f"{name}_high": own + half}
    of_folds = [
        {**row, "n": 600 // folds, "fold": fold, **{name: value + random.normal(0, 0.03) for name in METRICS}}
        for fold in range(folds)
    ]
    return CellResult(cell, "done", ({**row, **numbers}, *of_folds))


def made_results(
    datasets: Sequence[str] = DATASETS,
    recipes: dict[str, Sequence[str]] = RECIPES,
    *,
    subjects: Sequence[int] = (5, 10, 20),
    repeats: int = 2,
) -> list[CellResult]:
    """Every evaluation of every recipe: later recipes and a neutral face are better, other corpora worse."""
    results = []
    for place, (recipe, neutrals) in enumerate(recipes.items()):
        for neutral in neutrals:
            good = 0.55 + 0.02 * place + 0.03 * (neutral == "given")

            def add(evaluation, train, test, less=0.0, folds=0, recipe=recipe, neutral=neutral, good=good, **others):
                cell = Cell(recipe, evaluation, train, test, neutral, **others)
                value = good - less + 0.04 * (zlib.crc32(test.encode()) % 5) + _random(cell).normal(0, 0.02)
                results.append(made_result(cell, value, folds=folds))

            for test in datasets:
                for repeat in range(repeats):
                    add("within", (test,), test, folds=5, repeat=repeat)
                    for count in subjects:
                        add("learning-curve", (test,), test, 0.6 / count, repeat=repeat, train_subjects=count)
                add("leave-one-corpus-out", tuple(name for name in datasets if name != test), test, 0.08)
            for train, test in product(datasets, repeat=2):
                if train != test:
                    add("cross-corpus", (train,), test, 0.14)
    return results


def _done(table: pd.DataFrame) -> pd.DataFrame:
    cells = pooled(table)
    return cells[cells["status"] == "done"].astype({"train_subjects": float})


def made_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Ranks by value, the first two of three or more not told apart; on each dataset and over all."""
    cells = _done(table)
    keys = ["evaluation", "train", "test", "train_subjects", "neutral"]
    rows = []
    for key, part in pd.concat([cells, cells.assign(train="(all)", test="(all)")]).groupby(keys, dropna=False):
        values = part.groupby("recipe")[DEFAULT_METRIC].mean().sort_values(ascending=False)
        for place, (recipe, value) in enumerate(values.items(), start=1):
            low, high = (1, 2) if place <= 2 < len(values) else (place, place)
            rows.append((*key, recipe, DEFAULT_METRIC, value, low, high))
    return pd.DataFrame(rows, columns=RANKS)


def made_comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """Differences of every two recipes, by corpora and combined."""
    rows = []
    for (evaluation, subjects), part in _done(table).groupby(["evaluation", "train_subjects"], dropna=False):
        means = part.groupby(["recipe", "neutral", "train", "test"])[DEFAULT_METRIC].mean()
        by = {key: means[key] for key in dict.fromkeys((recipe, neutral) for recipe, neutral, *_ in means.index)}
        for (first, one), (second, other) in combinations(by.items(), 2):
            own = []
            for train, test in one.index.intersection(other.index):
                before, after = one[train, test], other[train, test]
                half = 0.03 + 0.01 * (zlib.crc32(test.encode()) % 3)
                own.append((train, test, before, after, after - before, after - before - half, after - before + half))
            if not own:
                continue
            mean = float(np.mean([row[4] for row in own]))
            combined = ("(all)", "(all)", np.nan, np.nan, mean, mean - 0.02, mean + 0.02)
            for train, test, before, after, gap, low, high in [*own, *([combined] if own[1:] else [])]:
                pair = (train, test, subjects, first[0], second[0], first[1], second[1], DEFAULT_METRIC)
                sure = bool(low > 0.02 or high < -0.02)
                numbers = (before, after, gap, low, high, 0.01, 0.04, "exchange", 0.02, sure)
                over = (0.41, len(own), "Between corpora: τ 1.2 points.") if test == "(all)" else (np.nan, 1, "")
                rows.append((evaluation, *pair, *numbers, *over))
    return pd.DataFrame(rows, columns=COMPARISONS)
