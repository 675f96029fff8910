"""Comparing runs on the test samples that all of them have been tested on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypedDict

import pandas as pd

from fer_cli.documents import read_document
from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.answers import Answers
from fer_cli.evaluation.bootstrap import LEVEL
from fer_cli.evaluation.judged import Judged
from fer_cli.evaluation.paired import COMPARED, Pair, compare_pair, holm
from fer_cli.files import as_text
from fer_cli.labels import in_order
from fer_cli.runs.ancestry import names
from fer_cli.runs.run import COMPARISON

#: The level of the tests, as that of the intervals.
ALPHA = round(1 - LEVEL, 6)
RECALL = "recall of "


@dataclass(frozen=True)
class Comparison:
    """What several runs come to on the ``samples`` that all were tested on, of so many ``subjects``.

    ``runs`` are their names and ``abouts`` what their evaluations say of themselves. ``table`` has a row a pair of runs
    and measure: ``first, second, measure, first_value, second_value, difference, low, high, p, p_holm``, the
    difference being the second's less the first's; where the measure is accuracy also ``only_first, only_second,
    mcnemar_p, mcnemar_p_holm``; and a row a class, ``recall of anger`` and so on, without p. ``p_holm`` is corrected
    over the pairs of runs, for each measure by itself.
    """

    runs: tuple[str, ...]
    abouts: tuple[str, ...]
    samples: int
    subjects: int
    table: pd.DataFrame
    notes: tuple[str, ...]

    def differing(self) -> list[tuple[str, str]]:
        """The pairs whose accuracies differ at the 5 % level, by the test over subjects, corrected over the pairs."""
        rows = self.table[self.table["measure"] == COMPARED[0]]
        return list(rows.loc[rows["p_holm"] <= ALPHA, ["first", "second"]].itertuples(index=False, name=None))


def compare(paths: Sequence[Path]) -> Comparison:
    """Compare the evaluations of the runs or cross-validations in ``paths``, in pairs.

    A folder of variants that were trained together stands for all of them.

    Raises :class:`~fer_cli.errors.UsageError` if there are fewer than two or one comes twice;
    :class:`~fer_cli.errors.RunError` if one has not been evaluated, they have no sample in common, or they disagree on
    who is shown or on what a sample shows.
    """
    paths = [each for path in paths for each in variants(path) or [path]]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise UsageError("A comparison is of two or more different runs.", hint="Type fer compare RUN RUN.")
    judged = [Judged.open(path) for path in paths]
    common = _common(judged)
    first = judged[0].predictions.loc[common]
    for other in judged[1:]:
        _agree(judged[0], other, common)
    tables = [each.predictions.loc[common].assign(subject=first["subject"]) for each in judged]
    shown = {name for table in tables for name in (*table["label"], *table["predicted"])}
    classes = in_order(shown.union(*(each.card["classes"] for each in judged)))
    answers = [Answers.of(table, classes, probable=False) for table in tables]
    called = _called(judged)
    pairs = {
        (called[one], called[other]): compare_pair(answers[one], answers[other])
        for one, other in combinations(range(len(judged)), 2)
    }
    return Comparison(
        runs=tuple(called),
        abouts=tuple(str(each.card["about"]) for each in judged),
        samples=len(common),
        subjects=first["subject"].nunique(),
        table=_table(pairs),
        notes=tuple(_notes(judged, called, common, first, pairs)),
    )


class StoredVariants(TypedDict):
    """What is read of the ``comparison.json`` that a training of several variants writes."""

    variants: list[str]


def variants(folder: Path) -> list[Path]:
    """The runs of a folder of variants that were trained together; empty for any other folder."""
    try:
        card = read_document(folder / COMPARISON, StoredVariants, RunError)
    except RunError:
        return []
    return [folder / Path(name).name for name in card["variants"]]


def _called(judged: Sequence[Judged]) -> list[str]:
    """The runs' names, or, where two have the same, their paths."""
    own = [each.name for each in judged]
    return [as_text(each.path) if own.count(each.name) > 1 else each.name for each in judged]


def _common(judged: Sequence[Judged]) -> pd.Index:
    corpora = sorted({str(each.card["corpus"]) for each in judged})
    if len(corpora) > 1:
        raise RunError(f"The runs were tested on different corpora: {', '.join(corpora)}.")
    common = judged[0].predictions.index
    for each in judged[1:]:
        common = common.intersection(each.predictions.index, sort=False)
    if common.empty:
        tests = "\n".join(f"{each.path}: {each.card['about']}" for each in judged)
        raise RunError(
            f"The runs have no test sample in common.\n{tests}",
            hint="Compare runs of one fold, or whole cross-validations.",
        )
    return common


def _agree(first: Judged, other: Judged, common: pd.Index) -> None:
    one, two = first.predictions.loc[common], other.predictions.loc[common]
    for column, what in (
        ("label", "what is shown in"),
        ("subject", "who is shown in"),
        ("sequence", "the sequence of"),
    ):
        unlike = one[column].fillna("") != two[column].fillna("")
        if unlike.any():
            raise RunError(
                f"{first.path} and {other.path} disagree on {what} {int(unlike.sum())} of {len(common)} samples, for "
                f"example {common[unlike.to_numpy(bool)][0]}.",
                hint="They were tested on different data of the same name: evaluate both on one dataset.",
            )


def _table(pairs: dict[tuple[str, str], Pair]) -> pd.DataFrame:
    rows = []
    for (first, second), pair in pairs.items():
        named = pair.measures.rename_axis("measure").reset_index()
        recalls = pair.recalls.rename_axis("measure").rename(index=lambda name: RECALL + name).reset_index()
        both = pd.concat([named, recalls], ignore_index=True)
        both = both.rename(columns={"first": "first_value", "second": "second_value"})
        both.insert(0, "first", first)
        both.insert(1, "second", second)
        decides = both["measure"] == COMPARED[0]
        for column in ("only_first", "only_second"):
            both[column] = pd.Series(pd.NA, index=both.index, dtype="Int64")
            both.loc[decides, column] = getattr(pair, column)
        both.loc[decides, "mcnemar_p"] = pair.mcnemar
        rows.append(both)
    table = pd.concat(rows, ignore_index=True)
    for measure in COMPARED:
        at = table["measure"] == measure
        table.loc[at, "p_holm"] = holm(table.loc[at, "p"])
    at = table["measure"] == COMPARED[0]
    table.loc[at, "mcnemar_p_holm"] = holm(table.loc[at, "mcnemar_p"])
    return table[
        [
            *("first", "second", "measure", "first_value", "second_value", "difference", "low", "high"),
            *("p", "p_holm", "only_first", "only_second", "mcnemar_p", "mcnemar_p_holm"),
        ]
    ]


def _notes(
    judged: Sequence[Judged],
    called: Sequence[str],
    common: pd.Index,
    first: pd.DataFrame,
    pairs: dict[tuple[str, str], Pair],
) -> list[str]:
    notes = []
    every = set().union(*(each.predictions.index for each in judged))
    lacking = {name: len(every) - len(each.predictions) for name, each in zip(called, judged, strict=True)}
    if any(lacking.values()):
        said = ", ".join(f"{name} {count}" for name, count in lacking.items())
        notes.append(f"Of {len(every)} samples tested by any, {len(common)} were tested by all; missing: {said}.")
    if len({each.card["fingerprint"] for each in judged}) > 1:
        notes.append(
            "The runs were tested on different preparations of the corpus: samples are matched by their file names, "
            "which hold subject, sequence and frame, and may have been cropped differently."
        )
    sets = {tuple(each.card["classes"]) for each in judged}
    if len(sets) > 1:
        shared = set.intersection(*map(set, sets))
        said = "; ".join(
            f"{name} knows {', '.join(in_order(set(each.card['classes']) - shared)) or 'no more'}"
            for name, each in zip(called, judged, strict=True)
        )
        notes.append(
            f"The class sets differ: beyond {', '.join(in_order(shared))}, {said}. Who knows more can err more."
        )
    for name, each in zip(called, judged, strict=True):
        if each.card.get("insisted_on") or each.card.get("insisted_on_pictures"):
            who = names(list(map(str, each.card.get("insisted_on") or []))) or "pictures"
            notes.append(f"{name} WAS TESTED ON WHAT IT WAS TRAINED ON ({who}).")
    alone = int(first["subject"].isna().sum())
    if alone:
        notes.append(f"Of {alone} samples the subject is not known: each is taken for another person.")
    for (one, other), pair in pairs.items():
        if ALPHA < pair.least_p < 1:
            notes.append(
                f"{one} and {other} answer differently on too few people for any difference to be shown: the smallest "
                f"p there is would be {pair.least_p:.2g}."
            )
    return notes
