"""Metrics by subgroup of subjects, with gaps between groups; by sequence; and by agreement of the raters."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import METADATA, VOTE_COLUMNS
from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.bootstrap import SEED, Bootstrap, bootstrap
from fer_cli.evaluation.metrics import METRICS, LabelledPredictions, compute_metrics
from fer_cli.runs.run import names
from fer_cli.tables import SUBJECT_COLUMNS, Table

#: A group of fewer subjects or fewer samples is too small for a conclusion.
LEAST_SUBJECTS, LEAST_SAMPLES = 10, 20
#: A column of more values than this is a measurement, not a way to group people.
MOST_GROUPS = 20


def by_group(
    predictions: LabelledPredictions, subjects: pd.Series, attributes: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """The metrics of every group of subjects, the gaps between groups of one attribute, and notes on both.

    ``subjects`` names whom each of the N predictions is of, and ``attributes`` has a column an attribute, indexed by
    subject. The first table has a row a group and metric: ``attribute, group, n, subjects, small, measure, value, low,
    high``; the second a row a pair of groups and metric: ``attribute, group, other, measure, difference, low, high``,
    the difference being the group's value less the other's. Subjects are resampled within each group, so that a gap
    is as uncertain as both its sides. Groups are ``small`` below :data:`LEAST_SUBJECTS` subjects or
    :data:`LEAST_SAMPLES` samples. Raises :class:`~fer_cli.errors.DatasetError` if the table has nobody who was tested,
    :class:`~fer_cli.errors.UsageError` if an attribute has more than :data:`MOST_GROUPS` values.
    """
    groups, gaps = [], []
    attributes, notes = _joined(attributes, sorted(subjects.dropna().unique()))
    for place, name in enumerate(attributes.columns):
        of_row = subjects.map(attributes[name]).reset_index(drop=True)
        notes += _who_is_in_no_group(name, of_row, subjects.reset_index(drop=True), attributes.index)
        values = sorted(of_row.dropna().unique())
        if len(values) > MOST_GROUPS:
            raise UsageError(
                f"--group-by {name}: {len(values)} values are too many groups (at most {MOST_GROUPS}).",
                hint=f"Add a column of bands of {name} to the table of subjects, and group by that.",
            )
        bootstraps = {}
        for number, value in enumerate(values):
            members = predictions.where((of_row == value).fillna(False).to_numpy(bool))
            bootstraps[value], rows, remarks = _group(members, name, value, (SEED, place, number))
            groups.append(rows)
            notes += remarks
        for group, other in combinations(values, 2):
            table = (bootstraps[group] - bootstraps[other]).table(list(METRICS))
            gaps.append(_rows(table, {"attribute": name, "group": group, "other": other}, "difference"))
    return (
        pd.concat(groups, ignore_index=True),
        pd.concat(gaps, ignore_index=True) if gaps else NO_GAPS,
        tuple(notes),
    )


#: The table of gaps where there are none.
NO_GAPS = pd.DataFrame(columns=["attribute", "group", "other", "measure", "difference", "low", "high"])


def _group(
    members: LabelledPredictions, name: str, value: str, seed: tuple[int, ...]
) -> tuple[Bootstrap, pd.DataFrame, list[str]]:
    """The metrics of a group, resampled, their rows of the table of groups, and a note where the group is small."""
    found, notes = members.bootstrap(seed), []
    facts = {"attribute": name, "group": value, "n": len(members), "subjects": members.count}
    facts["small"] = members.count < LEAST_SUBJECTS or len(members) < LEAST_SAMPLES
    if facts["small"]:
        notes.append(
            f"{name} {value}: {members.count} subjects and {len(members)} samples are too few for a conclusion "
            f"(at least {LEAST_SUBJECTS} and {LEAST_SAMPLES} are needed)."
        )
    return found, _rows(found.table(list(METRICS)), facts, "value"), notes


def _joined(attributes: pd.DataFrame, subjects: list[str]) -> tuple[pd.DataFrame, list[str]]:
    spelled = spelled_as(attributes, subjects)
    other = [pair for pair in zip(attributes.index, spelled.index, strict=True) if pair[0] != pair[1]]
    if not other:
        return spelled, []
    return spelled, [
        f"{len(other)} subjects are spelled otherwise in the table of subjects: {other[0][0]} is read as {other[0][1]}."
    ]


def _who_is_in_no_group(name: str, of_row: pd.Series, subjects: pd.Series, in_table: pd.Index) -> list[str]:
    unknown = of_row.isna()
    if unknown.all():
        tested = names(sorted(subjects.dropna().unique()), 3) or "nobody, for its corpus names no subjects"
        raise DatasetError(
            f"The table of subjects gives no {name} for anybody tested. Tested: {tested}. "
            f"In the table: {names(sorted(in_table), 3)}.",
            hint="Its subjects must be written as in the dataset's metadata.csv.",
        )
    if not unknown.any():
        return []
    people = names(sorted(subjects[unknown].dropna().unique()), 5) or "subjects not known"
    rest = names(sorted(in_table.difference(pd.Index(subjects))), 3)
    also = f"; it has, of people not tested, {rest}" if rest else ""
    return [f"{unknown.sum()} samples are in no group: the table gives no {name} for them ({people}){also}."]


def _rows(table: pd.DataFrame, facts: dict[str, Any], column: str) -> pd.DataFrame:
    rows = table.rename_axis("measure").rename(columns={"value": column}).reset_index()
    for place, (name, fact) in enumerate(facts.items()):
        rows.insert(place, name, fact)
    return rows


#: The names of the column of subjects, in order of preference; in any case.
KEYS = (*SUBJECT_COLUMNS, "id")
_MOST_BYTES = 64 * 1024**2


def read_attributes(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The ``columns`` of a table of subjects, indexed by subject; all are text, NA where nothing is written.

    The subject stands in the first of the columns :data:`KEYS` that the file has. Raises
    :class:`~fer_cli.errors.DatasetError` if the file cannot be read, does not name the subjects, has a row that does
    not fit its header, or has two values for one subject; :class:`~fer_cli.errors.UsageError` if it lacks one of
    ``columns``.
    """
    opened = Table(path, DatasetError, limit=_MOST_BYTES)
    key = opened.column(KEYS)
    if key is None:
        raise DatasetError(
            f"{path} has no column of subjects: its columns are {', '.join(opened.columns)}.",
            hint=f"Call the column of the subjects '{KEYS[0]}' (or {', '.join(KEYS[1:])}).",
        )
    others = [name for name in opened.columns if name not in (key, "")]
    missing = [name for name in columns if name.strip().casefold() not in others]
    if missing:
        raise UsageError(
            f"--group-by {missing[0]}: {path} has no such column.", hint=f"It has {', '.join(others) or 'none'}."
        )
    rows = []
    for row in opened:
        if row.problem:
            raise DatasetError(f"{path}, line {row.line}: {row.problem}.")
        subject = unicodedata.normalize("NFC", row.values[key])
        rows.append([subject or None, *(row.values[name.strip().casefold()] or None for name in columns)])
    table = pd.DataFrame(rows, columns=[key, *columns], dtype="string")
    by_subject = table.dropna(subset=key).groupby(key)[list(dict.fromkeys(columns))]
    torn = by_subject.nunique().gt(1).any(axis=1)
    if torn.any():
        raise DatasetError(
            f"{path} has two values for {names(sorted(torn.index[torn]))}.", hint="Keep one row a subject."
        )
    return by_subject.first()


def spelled_as(attributes: pd.DataFrame, subjects: Iterable[str]) -> pd.DataFrame:
    """``attributes`` with the index spelled as the dataset spells its ``subjects``, where both mean the same.

    Letters may be decomposed, as macOS writes them, and zeros in front may be lost, as Excel loses them: ``1`` is
    ``001`` where only one subject and only one row can be meant.
    """
    ours, theirs = _by_form(subjects), _by_form(attributes.index)
    return attributes.rename(index={theirs[form]: ours[form] for form in ours.keys() & theirs.keys()})


def _by_form(subjects: Iterable[str]) -> dict[str, str]:
    """Each subject by what is left of its name without zeros in front, where no other has the same left."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(subjects):
        form = unicodedata.normalize("NFC", name)
        alike.setdefault((form.lstrip("0") or "0") if form.isascii() and form.isdigit() else form, []).append(name)
    return {form: names[0] for form, names in alike.items() if len(names) == 1}


#: Papers report either, mostly without saying which.
RULES = ("average", "vote")


def by_sequence(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Every metric with its interval, each sequence one prediction, by each of the :data:`RULES`.

    Empty where no sequence has more than one frame. The metrics of ``vote`` that need probabilities are NaN. Without
    probabilities there is no average.
    """
    merged = merge(predictions, classes)
    if len(merged) == len(predictions):
        return {}
    tables = {}
    for rule in (each for each in RULES if each in merged):
        rows = merged.assign(predicted=merged[rule])
        labelled = LabelledPredictions.of(rows, classes, with_probabilities=rule == "average")
        tables[rule], _ = compute_metrics(labelled)
    return tables


def merge(predictions: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """A row a sequence: ``subject, label, frames``, the mean of each ``p_<class>``, and ``average`` and ``vote``.

    A sequence is the frames of one subject, sequence and true label: where neutral is a class, a sequence's first frame
    is not merged with its apex. A row without a sequence stands alone. ``average`` is the class of the highest mean
    probability, ``vote`` that predicted for most frames; of classes with equally many votes the one with the higher
    mean probability wins. Without ``p_<class>`` there is no ``average``, and the class predicted for the earlier frame
    wins.
    """
    shares = [name for each in classes if (name := f"p_{each}") in predictions]
    alone = predictions["sequence"].isna()
    # A row that stands alone has its file name for a sequence; the flag keeps it apart from a sequence of that name.
    keys = [
        predictions["subject"],
        predictions["sequence"].where(~alone, predictions["file_name"]),
        alone,
        predictions["label"],
    ]
    sequences = predictions.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
    first = predictions.loc[~pd.Series(sequences).duplicated().to_numpy(), ["subject", "label"]]
    merged = first.reset_index(drop=True)
    count = len(merged)
    merged["frames"] = np.bincount(sequences, minlength=count)
    for name in shares:
        merged[name] = np.bincount(sequences, weights=predictions[name], minlength=count) / merged["frames"]
    place = pd.Index(classes).get_indexer(pd.Index(predictions["predicted"]))
    votes = np.bincount(sequences * len(classes) + place, minlength=count * len(classes)).reshape(count, -1)
    names = np.array(classes, dtype=object)
    if shares:
        means = merged[shares].to_numpy()
        merged["average"] = names[means.argmax(axis=1)]
    else:
        means = np.zeros((count, len(classes)))
        np.maximum.at(means, (sequences, place), 1 / (1 + np.arange(len(place))))
    # Votes are whole numbers and probabilities at most 1, so that half of one only decides between equals.
    merged["vote"] = names[(votes + means / 2).argmax(axis=1)]
    return merged


#: The columns of predictions that say which share of a sample's votes its label has, and which the predicted class.
AGREEMENT, EXPECTED = "agreement", "votes_predicted"
#: Levels of agreement, each from its share of the votes up to that of the level before.
LEVELS = {"0.8 and more": 0.8, "0.5 to 0.8": 0.5, "below 0.5": 0.0}


@dataclass(frozen=True)
class Agreement:
    """Metrics that weigh each sample by the share of its votes that its label has.

    ``metrics`` and ``per_class`` are as :func:`~fer_cli.evaluation.metrics.compute_metrics` gives them. ``expected``
    has the columns ``value, low, high`` and two rows: ``expected_accuracy``, the mean share of the votes that the
    predicted class has, or how often one rater, picked at random for each sample, says the same; and
    ``mean_agreement``, what predicting every label would reach. ``levels`` has a row a level of agreement and metric,
    unweighted, as :func:`by_group` gives them, and ``notes`` say which levels are too small.
    """

    metrics: pd.DataFrame
    per_class: pd.DataFrame
    expected: pd.DataFrame
    levels: pd.DataFrame
    notes: tuple[str, ...]


def require_votes(dataset: PreparedDataset) -> None:
    """Raise :class:`~fer_cli.errors.DatasetError` if ``dataset`` does not say how raters voted."""
    if VOTE_COLUMNS[0] not in dataset.metadata:
        raise DatasetError(
            f"--sample-weight agreement: {dataset.path / METADATA} has no votes (the columns {VOTE_COLUMNS[0]}, "
            f"{VOTE_COLUMNS[1]} and so on).",
            hint="Leave --sample-weight out, or type --data with a dataset whose labels are the votes of several "
            "people, such as FER+ (fer prepare fer2013).",
        )


def with_agreement(predictions: pd.DataFrame, dataset: PreparedDataset) -> pd.DataFrame:
    """The ``predictions`` on ``dataset`` with the columns :data:`AGREEMENT` and :data:`EXPECTED`, from 0 to 1.

    Votes that are for no expression count among all. Raises :class:`~fer_cli.errors.DatasetError` where there are none.
    """
    require_votes(dataset)
    columns = ["file_name", *VOTE_COLUMNS]
    votes = predictions[["file_name"]].merge(dataset.metadata[columns], on="file_name", how="left")[columns[1:]]
    if (without := votes.isna().any(axis=1).to_numpy()).any():
        raise DatasetError(
            f"--sample-weight agreement: {without.sum()} samples of {dataset.path / METADATA} have no votes "
            f"({predictions['file_name'][without].iloc[0]}).",
            hint="Leave --sample-weight out, or prepare the dataset without them.",
        )
    shares = votes.to_numpy(float) / votes.to_numpy(float).sum(axis=1, keepdims=True)

    def of(labels: pd.Series) -> np.ndarray:
        return shares[
            np.arange(len(shares)), pd.Index(VOTE_COLUMNS).get_indexer(pd.Index("votes_" + labels.astype(str)))
        ]

    return predictions.assign(**{AGREEMENT: of(predictions["label"]), EXPECTED: of(predictions["predicted"])})


def by_agreement(predictions: LabelledPredictions, agreement: np.ndarray, expected: np.ndarray) -> Agreement:
    """The metrics of N predictions weighted by ``agreement``, and by level of it.

    ``agreement`` and ``expected`` (N) are the shares of a sample's votes that its label and its predicted class have.
    """
    metrics, per_class = compute_metrics(replace(predictions, sample_weight=agreement))
    shares = {"expected_accuracy": expected, "mean_agreement": agreement}
    sums = {name: np.bincount(predictions.units, weights=each) for name, each in shares.items()}
    counts = np.bincount(predictions.units)
    means = bootstrap(
        lambda draws: {name: draws @ each / (draws @ counts) for name, each in sums.items()}, predictions.count
    )
    levels, notes, above = [], [], np.inf
    for number, (name, least) in enumerate(LEVELS.items()):
        members = predictions.where((agreement >= least) & (agreement < above))
        above = least
        if len(members):
            _, rows, remarks = _group(members, AGREEMENT, name, (SEED, len(VOTE_COLUMNS), number))
            levels.append(rows)
            notes += remarks
    return Agreement(metrics, per_class, means.table(list(shares)), pd.concat(levels, ignore_index=True), tuple(notes))
