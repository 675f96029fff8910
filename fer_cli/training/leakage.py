"""The subjects that a model has seen, itself or by the runs that it starts from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import RunError
from fer_cli.runs.run import merged, names, seen_behind, shared_subjects
from fer_cli.training.recipes.base import Recipe
from fer_cli.training.samples import ExtraData


def seen_subjects(
    recipe: Recipe,
    dataset: PreparedDataset,
    sides: Mapping[str, pd.DataFrame],
    parts: Mapping[str, Path],
    extra: Sequence[ExtraData] = (),
    *,
    allow_seen: bool,
) -> tuple[dict[str, list[str]], list[str]]:
    """By corpus, the subjects that this model will have seen, in ``extra`` and in the weights it starts from too.

    And the subjects of the test fold among the latter, on whom the person insisted with ``allow_seen``; without it,
    raises :class:`~fer_cli.errors.RunError` with their names.
    """
    corpus = dataset.card["corpus"]
    seen = {corpus: sorted({*sides["train"]["subject"].dropna(), *sides["val"]["subject"].dropna()})}
    insisted_on: set[str] = set()
    befores = [(f"{source} was trained on", seen_behind(source)) for source in recipe.ancestors(parts)]
    for each in extra:
        people = {each.dataset.card["corpus"]: sorted(each.rows["subject"].dropna().unique())}
        befores.append((f"--extra-data {each.dataset.path} shows", people))
    for source, before in befores:
        shared = shared_subjects(before, corpus, set(sides["test"]["subject"].dropna()))
        if shared and not allow_seen:
            raise RunError(
                f"{source} {len(shared)} of the {corpus} subjects that fold {recipe.fold} tests "
                f"({names(shared)}): the accuracy would be on subjects that it was trained on.",
                hint="Start from a run of the same fold; or, if other people have these names, type "
                "--allow-seen-subjects.",
            )
        insisted_on |= set(shared)
        seen = merged(seen, before)
    return seen, sorted(insisted_on)
