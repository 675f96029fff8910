"""The subjects that a model has seen, itself or by the runs that it starts from."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import RunError
from fer_cli.runs.run import merged, names, seen_behind, shared_subjects
from fer_cli.training.recipes.base import Recipe


def seen_subjects(
    recipe: Recipe,
    dataset: PreparedDataset,
    sides: Mapping[str, pd.DataFrame],
    parts: Mapping[str, Path],
    *,
    allow_seen: bool,
) -> tuple[dict[str, list[str]], list[str]]:
    """By corpus, the subjects that this model will have seen, those of the weights it starts from included.

    And the subjects of the test fold among the latter, on whom the person insisted with ``allow_seen``; without it,
    raises :class:`~fer_cli.errors.RunError` with their names.
    """
    corpus = dataset.card["corpus"]
    seen = {corpus: sorted({*sides["train"]["subject"].dropna(), *sides["val"]["subject"].dropna()})}
    insisted_on: set[str] = set()
    for source in recipe.ancestors(parts):
        before = seen_behind(source)
        shared = shared_subjects(before, corpus, set(sides["test"]["subject"].dropna()))
        if shared and not allow_seen:
            raise RunError(
                f"{source} was trained on {len(shared)} of the {corpus} subjects that fold {recipe.fold} tests "
                f"({names(shared)}): the accuracy would be on subjects that it was trained on.",
                hint="Start from a run of the same fold; or, if other people have these names, type "
                "--allow-seen-subjects.",
            )
        insisted_on |= set(shared)
        seen = merged(seen, before)
    return seen, sorted(insisted_on)
