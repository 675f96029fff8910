"""Samples of a training: its rows, those of further datasets, their labels or votes, and the subjects behind them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import METADATA
from fer_cli.dataset.tensors import BatchedDataset
from fer_cli.errors import DatasetError, RunError, UsageError
from fer_cli.runs.run import merged, names, seen_behind, shared_subjects, unlisted_behind
from fer_cli.training.recipes.base import Recipe

#: What the columns of a dataset's table begin with that count the votes for a class.
VOTES = "votes_"


@dataclass(frozen=True)
class ExtraData:
    """Rows of another prepared ``dataset`` that train too."""

    dataset: PreparedDataset
    rows: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """What the run's record says of it."""
        return {
            "path": str(self.dataset.path.resolve()),
            "name": self.dataset.name,
            "corpus": self.dataset.card["corpus"],
            "fingerprint": self.dataset.fingerprint,
            "count": len(self.rows),
            "subjects": sorted(self.rows["subject"].dropna().unique()),
        }


def open_extra(recipe: Recipe, dataset: PreparedDataset, classes: tuple[str, ...]) -> list[ExtraData]:
    """The datasets of ``--extra-data`` with their rows of ``classes`` that may train with those of ``dataset``.

    Of a dataset with folds those are all folds but the recipe's test and validation folds, of one with its owners'
    split the training part, of another all rows. Raises :class:`~fer_cli.errors.DatasetError` if a dataset is that of
    the training itself, was cropped with another margin, or shows none of the classes.
    """
    found: list[ExtraData] = []
    for path in recipe.extra_data:
        extra = PreparedDataset.open(Path(path))
        ours, theirs = dataset.crop["margin"], extra.crop["margin"]
        if ours != theirs:
            raise DatasetError(
                f"--extra-data {path}: its crops have a margin of {theirs:g} around the face, and those of "
                f"{dataset.path} one of {ours:g}: the faces would be of two sizes.",
                hint=f"Type its fer prepare line again with --margin {ours:g} and another --out.",
            )
        if extra.fingerprint == dataset.fingerprint or any(extra.fingerprint == e.dataset.fingerprint for e in found):
            raise DatasetError(f"--extra-data {path}: this dataset trains already.", hint="Leave it out.")
        rows = extra.training_rows(recipe.fold, paired=recipe.paired)
        labelled = rows[rows["label"].isin(classes)]
        if recipe.soft_labels and has_votes(extra):
            labelled = pd.concat([labelled, _voted(extra, rows[rows["label"].isna()], classes)])
        if labelled.empty:
            raise DatasetError(
                f"--extra-data {path} has no training {'pair' if recipe.paired else 'picture'} of {', '.join(classes)}."
            )
        found.append(ExtraData(extra, labelled))
    return found


def training_sides(
    recipe: Recipe, dataset: PreparedDataset, sides: Mapping[str, pd.DataFrame], classes: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    """The ``sides`` of a fold as ``recipe`` trains on them.

    With ``soft_labels`` pictures train too on whose label the votes did not agree; with ``refit`` the validation rows.
    Raises :class:`~fer_cli.errors.DatasetError` where there are no votes.
    """
    sides = dict(sides)
    if recipe.soft_labels:
        if not has_votes(dataset):
            raise DatasetError(
                f"--soft-labels: {dataset.path / METADATA} has no column of votes ({VOTES}{classes[0]} and so on).",
                hint="Leave --soft-labels out, or prepare a corpus whose labels are the votes of several people.",
            )
        rows = dataset.training_rows(recipe.fold, paired=recipe.paired)
        sides["train"] = pd.concat([sides["train"], _voted(dataset, rows[rows["label"].isna()], classes)])
    if recipe.refit:
        sides["train"], sides["val"] = pd.concat([sides["train"], sides["val"]]), sides["val"].iloc[:0]
    return sides


def has_votes(dataset: PreparedDataset) -> bool:
    """Whether the dataset's table has columns of votes."""
    return any(column.startswith(VOTES) for column in dataset.metadata.columns)


def _voted(dataset: PreparedDataset, rows: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """The unlabelled ``rows`` with votes for any of ``classes``, each labelled by the one that has most."""
    votes = _votes(dataset, rows, classes)
    some = votes.sum(axis=1) > 0
    return rows[some].assign(label=np.array(classes)[votes[some].argmax(axis=1)])


def soft_labels(dataset: PreparedDataset, rows: pd.DataFrame, classes: tuple[str, ...]) -> Tensor:
    """The shares of the votes for ``classes``, N×C float32, each row's summing to 1.

    Of a dataset without votes, that of the label is 1. Raises :class:`~fer_cli.errors.DatasetError`, naming the row,
    for votes that are no numbers, negative, or all zero.
    """
    if not has_votes(dataset):
        places = torch.from_numpy(pd.Index(classes).get_indexer(pd.Index(rows["label"])))
        return torch.nn.functional.one_hot(places, len(classes)).float()
    votes = _votes(dataset, rows, classes)
    total = votes.sum(axis=1, keepdims=True)
    if (empty := np.flatnonzero(total == 0)).size:
        _refuse(dataset, rows.index[empty[0]], f"none of its votes is for {', '.join(classes)}")
    return torch.from_numpy(votes / total).float()


def _votes(dataset: PreparedDataset, rows: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """The votes for each of ``classes``, N×C, 0 where there is no column."""
    columns = [column for column in rows.columns if column.startswith(VOTES)]
    table = rows[columns].apply(pd.to_numeric, errors="coerce").astype("Float64")
    counts = table.to_numpy(float, na_value=np.nan)
    for wrong, why in ((~np.isfinite(counts), "is no number"), (counts < 0, "is negative")):
        if wrong.any():
            place, column = np.argwhere(wrong)[0]
            _refuse(dataset, rows.index[place], f"'{columns[column]}' {why} ({rows[columns[column]].iloc[place]})")
    if (empty := np.flatnonzero(counts.sum(axis=1) == 0)).size:
        _refuse(dataset, rows.index[empty[0]], "all its votes are 0")
    return table.reindex(columns=[f"{VOTES}{name}" for name in classes], fill_value=0).to_numpy(float)


def _refuse(dataset: PreparedDataset, row: int, why: str) -> None:
    raise DatasetError(
        f"{dataset.path / METADATA}, row {row + 1}: {why}.",
        hint="Prepare the dataset again, or leave --soft-labels out.",
    )


class JoinedFaces(BatchedDataset):
    """Several datasets of faces as one, in order. Batches are taken of each at once, and put in the order asked for."""

    def __init__(self, parts: list[BatchedDataset]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        once = [getattr(part, "decoded_once", None) for part in parts]
        #: Whether each crop is decoded but once; None where there are none to decode.
        self.decoded_once = None if None in once else all(once)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - (self._ends[part] - len(self._parts[part]))]

    def __getitems__(self, indices: list[int]) -> Any:
        rows = np.asarray(indices)
        which = np.searchsorted(self._ends, rows, side="right")
        batches: list[Any] = []
        places = []
        for number, part in enumerate(self._parts):
            of_part = np.flatnonzero(which == number)
            if of_part.size:
                wanted = (rows[of_part] - (self._ends[number] - len(part))).tolist()
                whole = hasattr(part, "__getitems__")
                batches.append(part.__getitems__(wanted) if whole else [part[index] for index in wanted])
                places.append(of_part)
        order = np.argsort(np.concatenate(places))
        if isinstance(batches[0], dict):
            places_of = torch.from_numpy(order)
            return {name: torch.cat([batch[name] for batch in batches])[places_of] for name in batches[0]}
        samples = [sample for batch in batches for sample in batch]
        return [samples[place] for place in order]


def refuse_extra(recipe: Recipe, extra: list[ExtraData], inputs: Mapping[str, Tensor]) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` where training ``inputs`` are known of the dataset's own rows alone."""
    if extra and inputs:
        raise UsageError(
            f"--extra-data: {', '.join(inputs)} of other datasets cannot be told apart from this one's.",
            hint="Type --disentangle concat or orthogonal, or leave --extra-data out.",
        )


def seen_subjects(
    recipe: Recipe,
    dataset: PreparedDataset,
    sides: Mapping[str, pd.DataFrame],
    parts: Mapping[str, Path],
    extra: Sequence[ExtraData] = (),
    *,
    allow_seen: bool,
    strangers: Collection[Path] = (),
) -> tuple[dict[str, list[str]], list[str]]:
    """By corpus, the subjects that this model will have seen, in ``extra`` and in the weights it starts from too.

    The ``extra`` data in the folders ``strangers`` show other people than ``dataset``, whatever their names.
    And the subjects of the test fold among the latter, on whom the person insisted with ``allow_seen``; without it,
    raises :class:`~fer_cli.errors.RunError` with their names.
    """
    corpus = dataset.card["corpus"]
    seen = {corpus: sorted({*sides["train"]["subject"].dropna(), *sides["val"]["subject"].dropna()})}
    insisted_on: set[str] = set()
    befores = []
    for source in recipe.ancestors(parts):
        # Subjects that the weights do not name are named by the dataset, where it is the one they were trained on.
        unlisted = [(dataset.known_as(each["fingerprint"]), each) for each in unlisted_behind(source)]
        people = [data.trained_subjects(each["fold"], extra=each["extra"]) for data, each in unlisted if data]
        before = merged(seen_behind(source), {corpus: sorted(set().union(*people))} if people else {})
        befores.append((f"{source} was trained on", before, before))
    for each in extra:
        shown = {each.dataset.card["corpus"]: sorted(each.rows["subject"].dropna().unique())}
        alike = {} if each.dataset.path in strangers else shown
        befores.append((f"--extra-data {each.dataset.path} shows", shown, alike))
    for where, before, alike in befores:
        shared = shared_subjects(alike, corpus, set(sides["test"]["subject"].dropna()))
        if shared and not allow_seen:
            raise RunError(
                f"{where} {len(shared)} of the {corpus} subjects that fold {recipe.fold} tests "
                f"({names(shared)}): the accuracy would be on subjects that it was trained on.",
                hint="Start from a run of the same fold, or from other weights (--encoder); or, if other people have "
                "these names, type --allow-seen-subjects.",
            )
        insisted_on |= set(shared)
        seen = merged(seen, before)
    return seen, sorted(insisted_on)
