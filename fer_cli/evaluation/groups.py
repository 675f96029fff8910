"""Whether it works as well for some people as for others: measures by group, and the gaps between groups."""

from itertools import combinations
from typing import Any

import pandas as pd

from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.answers import Answers, Resampled, with_intervals
from fer_cli.evaluation.attributes import spelled_as
from fer_cli.evaluation.bootstrap import SEED
from fer_cli.evaluation.measures import MEASURES
from fer_cli.runs.ancestry import names

#: A group of fewer subjects or fewer samples is too small to say anything of.
LEAST_SUBJECTS, LEAST_SAMPLES = 10, 20
#: A column of more values than this is a measurement, not a way to group people.
MOST_GROUPS = 20


def by_group(
    answers: Answers, subjects: pd.Series, attributes: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """The measures of every group of subjects, the gaps between groups of one attribute, and what to know of both.

    ``subjects`` names whom each of the N answers is about, and ``attributes`` has a column an attribute, indexed by
    subject. The first table has a row a group and measure: ``attribute, group, n, subjects, small, measure, value, low,
    high``; the second a row a pair of groups and measure: ``attribute, group, other, measure, difference, low, high``,
    the difference being the group's value less the other's. Subjects are drawn again within each group, so that a gap
    is as uncertain as both its sides. Groups are ``small`` below :data:`LEAST_SUBJECTS` subjects or
    :data:`LEAST_SAMPLES` samples. Raises :class:`~fer_cli.errors.DatasetError` if nothing is said of anybody tested,
    :class:`~fer_cli.errors.UsageError` if an attribute has more than :data:`MOST_GROUPS` values.
    """
    groups, gaps = [], []
    attributes, notes = _joined(attributes, sorted(subjects.dropna().unique()))
    for place, name in enumerate(attributes.columns):
        of_row = subjects.map(attributes[name]).reset_index(drop=True)
        notes += _who_is_left_out(name, of_row, subjects.reset_index(drop=True), attributes.index)
        values = sorted(of_row.dropna().unique())
        if len(values) > MOST_GROUPS:
            raise UsageError(
                f"--group-by {name}: {len(values)} values are too many groups (at most {MOST_GROUPS}).",
                hint=f"Add a column of bands of {name} to the table of subjects, and group by that.",
            )
        resampled = {}
        for number, value in enumerate(values):
            members = answers.where((of_row == value).fillna(False).to_numpy(bool))
            resampled[value] = members.resampled((SEED, place, number))
            facts = {"attribute": name, "group": value, "n": len(members), "subjects": members.count}
            facts["small"] = members.count < LEAST_SUBJECTS or len(members) < LEAST_SAMPLES
            if facts["small"]:
                notes.append(
                    f"{name} {value}: {members.count} subjects and {len(members)} samples are too few to say anything "
                    f"(at least {LEAST_SUBJECTS} and {LEAST_SAMPLES} are needed)."
                )
            groups.append(_rows(with_intervals(*resampled[value], MEASURES), facts, "value"))
        for group, other in combinations(values, 2):
            table = with_intervals(*_difference(resampled[group], resampled[other]), MEASURES)
            gaps.append(_rows(table, {"attribute": name, "group": group, "other": other}, "difference"))
    gap_columns = ["attribute", "group", "other", "measure", "difference", "low", "high"]
    return (
        pd.concat(groups, ignore_index=True),
        pd.concat(gaps, ignore_index=True) if gaps else pd.DataFrame(columns=gap_columns),
        tuple(notes),
    )


def _joined(attributes: pd.DataFrame, subjects: list[str]) -> tuple[pd.DataFrame, list[str]]:
    spelled = spelled_as(attributes, subjects)
    other = [pair for pair in zip(attributes.index, spelled.index, strict=True) if pair[0] != pair[1]]
    if not other:
        return spelled, []
    return spelled, [
        f"{len(other)} subjects are spelled otherwise in the table of subjects: {other[0][0]} is taken for "
        f"{other[0][1]}."
    ]


def _who_is_left_out(name: str, of_row: pd.Series, subjects: pd.Series, known: pd.Index) -> list[str]:
    unknown = of_row.isna()
    if unknown.all():
        shown = names(sorted(subjects.dropna().unique()), 3) or "nobody, for its corpus does not say who is shown"
        raise DatasetError(
            f"The table of subjects says no {name} of anybody tested. Tested: {shown}. "
            f"In the table: {names(sorted(known), 3)}.",
            hint="Its subjects must be written as in the dataset's metadata.csv.",
        )
    if not unknown.any():
        return []
    people = names(sorted(subjects[unknown].dropna().unique()), 5) or "subjects not known"
    rest = names(sorted(known.difference(subjects)), 3)
    also = f"; it has, of people not tested, {rest}" if rest else ""
    return [f"{unknown.sum()} samples are in no group: the table says no {name} of theirs ({people}){also}."]


def _difference(group: Resampled, other: Resampled) -> Resampled:
    (value, draws), (other_value, other_draws) = group, other
    both = {name: draws[name] - other_draws[name] for name in draws if name in other_draws and name in MEASURES}
    return {name: value[name] - other_value[name] for name in MEASURES}, both


def _rows(table: pd.DataFrame, facts: dict[str, Any], called: str) -> pd.DataFrame:
    rows = table.rename_axis("measure").rename(columns={"value": called}).reset_index()
    for place, (name, fact) in enumerate(facts.items()):
        rows.insert(place, name, fact)
    return rows
