"""Ranks of a benchmark's recipes, as far as tests and noise floor support them, and the recipes below the baseline.

Recipes of different neutral access have different tasks, and are never ranked together.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.benchmark.cells import NEUTRAL_ACCESS
from fer_cli.benchmark.comparisons import ALL, pooled
from fer_cli.evaluation.compare import ALPHA

RANK_COLUMNS = (
    *("evaluation", "train", "test", "train_subjects", "neutral", "recipe", "metric", "value"),
    *("low_rank", "high_rank", "recipes", "rank"),
)


def ranks(results: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """The rank of every recipe among those of equal neutral access, by evaluation and dataset: :data:`RANK_COLUMNS`.

    Among N recipes a rank is an interval: from 1 + the number of better ones to N - the number of worse ones, counting
    only differences that are ``resolved``; ``rank`` is ``2`` or ``1–3``. ``value`` is the mean over the draws, and over
    corpora the mean of the datasets' values. Best first.
    """
    wins: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    row: Any
    for row in comparisons[comparisons["resolved"].astype(bool)].itertuples():
        if row.neutral_first == row.neutral_second:
            winner = (row.second, row.first) if row.difference > 0 else (row.first, row.second)
            wins.setdefault((*_place_of(row), row.neutral_first), []).append(winner)
    values: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    over_all = set(comparisons.loc[comparisons["test"] == ALL, "evaluation"])
    metric = comparisons["metric"].iloc[0] if len(comparisons) else None
    for row in pooled(results).dropna(subset=[metric]).to_dict("records") if metric else ():
        evaluation, size = row["evaluation"], None if pd.isna(row["train_subjects"]) else float(row["train_subjects"])
        keys = [(evaluation, row["train"], row["test"], size, row["neutral"])]
        keys += [(evaluation, ALL, ALL, size, row["neutral"])] if evaluation in over_all else []
        for key in keys:
            values.setdefault(key, {}).setdefault(row["recipe"], []).append(row[metric])
    rows = []
    for key, own in values.items():
        means = {recipe: float(np.mean(each)) for recipe, each in own.items()}
        pairs = [pair for pair in wins.get(key, ()) if means.keys() >= set(pair)]
        for recipe in sorted(means, key=means.__getitem__, reverse=True):
            first = 1 + sum(worse == recipe for _, worse in pairs)
            last = len(means) - sum(better == recipe for better, _ in pairs)
            rank = str(first) if first == last else f"{first}–{last}"
            rows.append([*key, recipe, metric, means[recipe], first, last, len(means), rank])
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS)).astype({"train_subjects": float})


def not_beating(comparisons: pd.DataFrame, baselines: Collection[str]) -> list[str]:
    """Sentences on the recipes that do not beat the baseline, by evaluation and dataset.

    ``baselines`` are names of recipes. A recipe is compared with the best of those of its own neutral access, or where
    there is none with the best of those whose access asks less of a user. A baseline is beaten where the difference is
    resolved; one draw, whose noise floor is not known, shows nothing.
    """
    found: dict[tuple[Any, ...], tuple[tuple[bool, float], str | None]] = {}
    row: Any
    for row in comparisons[comparisons["difference"].notna()].itertuples():
        baseline, recipe = (row.first, row.neutral_first, row.first_value), (row.second, row.neutral_second)
        sign = 1
        if row.first not in baselines:
            baseline, recipe = (row.second, row.neutral_second, row.second_value), (row.first, row.neutral_first)
            sign = -1
        if baseline[0] not in baselines or recipe[0] in baselines:
            continue
        if NEUTRAL_ACCESS.index(baseline[1]) > NEUTRAL_ACCESS.index(recipe[1]):
            continue
        key, rival = (*_place_of(row), recipe), (baseline[1] == recipe[1], baseline[2])
        if key not in found or rival > found[key][0]:
            beaten = row.resolved and sign * row.difference > 0
            # Two models that differ in one draw each: more than nothing, and not yet two recipes.
            unknown = math.isnan(row.noise_floor) and row.p_holm <= ALPHA and sign * row.difference > 0
            verb = "is not shown to beat" if unknown else "does not beat"
            line = f"{recipe[0]} {verb} {baseline[0]} on {_place(row)} ({_evidence(row, sign)})."
            found[key] = (rival, None if beaten else line)
    return [line for _, line in found.values() if line]


def _place_of(row: Any) -> tuple[Any, ...]:
    """The place of a row, with None for no number of training subjects."""
    return row.evaluation, row.train, row.test, None if pd.isna(row.train_subjects) else row.train_subjects


def _place(row: Any) -> str:
    parts = ["all corpora" if row.test == ALL else row.test, row.evaluation]
    parts += [f"trained on {row.train}"] if row.train not in ("", ALL, row.test) else []
    return ", ".join(parts + ([] if pd.isna(row.train_subjects) else [f"{row.train_subjects:.0f} subjects"]))


def _evidence(row: Any, sign: int) -> str:
    parts = [f"{100 * sign * row.difference:+.1f} points"]
    if not math.isnan(row.low):
        low, high = sorted((100 * sign * row.low, 100 * sign * row.high))
        parts.append(f"95 % interval {low:+.1f} to {high:+.1f}")
    parts += [] if math.isnan(row.p_holm) else [f"corrected p {row.p_holm:.2g}"]
    parts.append("noise floor not known" if math.isnan(row.noise_floor) else f"noise floor {100 * row.noise_floor:.1f}")
    if row.neutral_first != row.neutral_second:
        parts.append(
            f"neutral {row.neutral_second if sign > 0 else row.neutral_first} against the baseline’s "
            f"{row.neutral_first if sign > 0 else row.neutral_second}"
        )
    return ", ".join(parts)
