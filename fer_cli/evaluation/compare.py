"""Comparison of runs on the test samples that all of them have been tested on."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

import fer_cli
from fer_cli.documents import read_document
from fer_cli.errors import FerError, RunError, UsageError
from fer_cli.evaluation.bootstrap import LEVEL, REPETITIONS, SEED
from fer_cli.evaluation.metrics import LabelledPredictions, compared_metrics
from fer_cli.evaluation.plots import draw_comparison, save
from fer_cli.evaluation.results import StoredEvaluation
from fer_cli.evaluation.significance import EXCHANGES, RECALL, Pair, compare_pair, holm
from fer_cli.files import as_text, write_json, written_whole
from fer_cli.labels import in_order
from fer_cli.runs.run import COMPARISON, CrossValidation, Run, open_any, runs_in
from fer_cli.runs.run import names as some_names

CSV, JSON, PNG = "comparison.csv", "comparison.json", "comparison.png"
#: The model that a network must beat, by its recipe's name.
BASELINE = "baseline"
#: The level of the tests, as that of the intervals.
ALPHA = round(1 - LEVEL, 6)


@dataclass(frozen=True)
class Comparison:
    """Several runs on the ``samples`` that all were tested on, of so many ``subjects``.

    ``runs`` are their names and ``abouts`` the lines that describe their evaluations. ``table`` has a row a pair of
    runs and metric: ``first, second, measure, first_value, second_value, difference, low, high, p, p_holm``, the
    difference being the second's less the first's; of the first metric, accuracy, also ``only_first, only_second,
    mcnemar_p, mcnemar_p_holm``; and a row a class, ``recall of anger`` and so on, without p. ``p_holm`` is corrected
    over the pairs of runs, for each metric separately.
    """

    runs: tuple[str, ...]
    abouts: tuple[str, ...]
    samples: int
    subjects: int
    table: pd.DataFrame
    notes: tuple[str, ...]

    def differing(self) -> list[tuple[str, str]]:
        """The pairs whose accuracies differ at the 5 % level, by the test over subjects, corrected over the pairs."""
        rows = self.table[self.table["measure"] == compared_metrics()[0].name]
        return list(rows.loc[rows["p_holm"] <= ALPHA, ["first", "second"]].itertuples(index=False, name=None))


def compare(paths: Sequence[Path]) -> Comparison:
    """Compare the evaluations of the runs or cross-validations in ``paths``, in pairs.

    A folder of variants that were trained together stands for all of them.

    Raises :class:`~fer_cli.errors.UsageError` if there are fewer than two or one comes twice;
    :class:`~fer_cli.errors.RunError` if one has not been evaluated, they have no sample in common, or they
    disagree on the subjects or labels.
    """
    paths = [each for path in paths for each in variants(path) or [path]]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise UsageError("A comparison is of two or more different runs.", hint="Type fer compare RUN RUN.")
    evaluations = [StoredEvaluation.open(path) for path in paths]
    common = _common_samples(evaluations)
    first = evaluations[0].predictions.loc[common]
    for other in evaluations[1:]:
        _check_agreement(evaluations[0], other, common)
    tables = [each.predictions.loc[common].assign(subject=first["subject"]) for each in evaluations]
    labels = {name for table in tables for name in (*table["label"], *table["predicted"])}
    classes = in_order(labels.union(*(each.card["classes"] for each in evaluations)))
    predictions = [LabelledPredictions.of(table, classes, with_probabilities=False) for table in tables]
    names = _names(evaluations)
    pairs = {
        (names[one], names[other]): compare_pair(predictions[one], predictions[other])
        for one, other in combinations(range(len(paths)), 2)
    }
    table = _table(pairs)
    return Comparison(
        runs=tuple(names),
        abouts=tuple(str(each.card["about"]) for each in evaluations),
        samples=len(common),
        subjects=first["subject"].nunique(),
        table=table,
        notes=(*_notes(evaluations, names, common, first, pairs), *_against_baseline(evaluations, names, table)),
    )


class StoredVariants(TypedDict):
    """The parts read of the ``comparison.json`` that a training of several variants writes."""

    variants: list[str]


def variants(folder: Path) -> list[Path]:
    """The runs of a folder of variants that were trained together; empty for any other folder."""
    try:
        card = read_document(folder / COMPARISON, StoredVariants, RunError)
    except RunError:
        return []
    return [folder / Path(name).name for name in card["variants"]]


def _names(evaluations: Sequence[StoredEvaluation]) -> list[str]:
    """The runs' names, or, where two have the same, their paths."""
    own = [each.name for each in evaluations]
    return [as_text(each.path) if own.count(each.name) > 1 else each.name for each in evaluations]


def _common_samples(evaluations: Sequence[StoredEvaluation]) -> pd.Index:
    corpora = sorted({str(each.card["corpus"]) for each in evaluations})
    if len(corpora) > 1:
        raise RunError(f"The runs were tested on different corpora: {', '.join(corpora)}.")
    common = evaluations[0].predictions.index
    for each in evaluations[1:]:
        common = common.intersection(each.predictions.index, sort=False)
    if common.empty:
        tests = "\n".join(f"{each.path}: {each.card['about']}" for each in evaluations)
        raise RunError(
            f"The runs have no test sample in common.\n{tests}",
            hint="Compare runs of one fold, or whole cross-validations.",
        )
    return common


def _check_agreement(first: StoredEvaluation, other: StoredEvaluation, common: pd.Index) -> None:
    one, two = first.predictions.loc[common], other.predictions.loc[common]
    for column, what in (
        ("label", "the label of"),
        ("subject", "the subject of"),
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
    compared = [metric.name for metric in compared_metrics()]
    rows = []
    for (first, second), pair in pairs.items():
        named = pair.metrics.rename_axis("measure").reset_index()
        recalls = pair.recalls.rename_axis("measure").rename(index=lambda name: RECALL + name).reset_index()
        both = pd.concat([named, recalls], ignore_index=True)
        both = both.rename(columns={"first": "first_value", "second": "second_value"})
        both.insert(0, "first", first)
        both.insert(1, "second", second)
        decides = both["measure"] == compared[0]
        for column in ("only_first", "only_second"):
            both[column] = pd.Series(pd.NA, index=both.index, dtype="Int64")
            both.loc[decides, column] = getattr(pair, column)
        both.loc[decides, "mcnemar_p"] = pair.mcnemar
        rows.append(both)
    table = pd.concat(rows, ignore_index=True)
    for metric in compared:
        at = table["measure"] == metric
        table.loc[at, "p_holm"] = holm(table["p"][at].to_numpy(float))
    at = table["measure"] == compared[0]
    table.loc[at, "mcnemar_p_holm"] = holm(table["mcnemar_p"][at].to_numpy(float))
    return table[
        [
            *("first", "second", "measure", "first_value", "second_value", "difference", "low", "high"),
            *("p", "p_holm", "only_first", "only_second", "mcnemar_p", "mcnemar_p_holm"),
        ]
    ]


def _notes(
    evaluations: Sequence[StoredEvaluation],
    names: Sequence[str],
    common: pd.Index,
    first: pd.DataFrame,
    pairs: dict[tuple[str, str], Pair],
) -> list[str]:
    notes = []
    every = set().union(*(each.predictions.index for each in evaluations))
    lacking = {name: len(every) - len(each.predictions) for name, each in zip(names, evaluations, strict=True)}
    if any(lacking.values()):
        counts = ", ".join(f"{name} {count}" for name, count in lacking.items())
        notes.append(f"Of {len(every)} samples tested by any, {len(common)} were tested by all; missing: {counts}.")
    if len({each.card["fingerprint"] for each in evaluations}) > 1:
        notes.append(
            "The runs were tested on different preparations of the corpus: samples are matched by their file names, "
            "which hold subject, sequence and frame, and may have been cropped differently."
        )
    sets = {tuple(each.card["classes"]) for each in evaluations}
    if len(sets) > 1:
        shared = set.intersection(*map(set, sets))
        differing = "; ".join(
            f"{name} knows {', '.join(in_order(set(each.card['classes']) - shared)) or 'no more'}"
            for name, each in zip(names, evaluations, strict=True)
        )
        notes.append(
            f"The class sets differ: beyond {', '.join(in_order(shared))}, {differing}. "
            "More classes leave more room for errors."
        )
    for name, each in zip(names, evaluations, strict=True):
        if each.card.get("insisted_on") or each.card.get("insisted_on_pictures"):
            who = some_names(list(map(str, each.card.get("insisted_on") or []))) or "pictures"
            notes.append(f"{name} WAS TESTED ON WHAT IT WAS TRAINED ON ({who}).")
    alone = int(first["subject"].isna().sum())
    if alone:
        notes.append(f"Of {alone} samples the subject is not known: each counts as another person.")
    for (one, other), pair in pairs.items():
        if ALPHA < pair.least_p < 1:
            notes.append(
                f"{one} and {other} differ in their predictions on too few people for any difference to be shown: the "
                f"smallest possible p is {pair.least_p:.2g}."
            )
    return notes


def _against_baseline(
    evaluations: Sequence[StoredEvaluation], names: Sequence[str], table: pd.DataFrame
) -> Iterator[str]:
    """A sentence for each other run whose accuracy is not shown to be higher than a baseline's."""
    baselines = {name for name, each in zip(names, evaluations, strict=True) if each.card.get("model") == BASELINE}
    row: Any
    for row in table[table["measure"] == compared_metrics()[0].name].itertuples():
        if len(baselines.intersection((row.first, row.second))) != 1:
            continue
        own, other = (row.first, row.first_value), (row.second, row.second_value)
        (network, reached), (baseline, needed) = (other, own) if row.first in baselines else (own, other)
        if reached <= needed or not row.p_holm <= ALPHA:
            yield (
                f"{network} does not beat HOG and a linear SVM ({baseline}): accuracy {reached:.1%} against "
                f"{needed:.1%}, p {row.p_holm:.2g}."
            )


def compare_with_baseline(trained: Run | CrossValidation, folder: Path) -> tuple[str, ...]:
    """A sentence where the evaluated ``trained`` does not beat the best baseline in ``folder`` on its data and folds.

    The best is that of the highest accuracy. Empty where there is none, or ``trained`` is one.
    """
    if trained.card["model"] == BASELINE:
        return ()
    best, highest = None, -1.0
    for path in runs_in(folder, folds=True):
        with suppress(FerError):
            other = open_any(path)
            same = other.card["dataset"]["fingerprint"] == trained.card["dataset"]["fingerprint"]
            if other.card["model"] == BASELINE and same and other.card.get("fold") == trained.card.get("fold"):
                predictions = StoredEvaluation.open(path).predictions
                accuracy = float((predictions["label"] == predictions["predicted"]).mean())
                best, highest = (path, accuracy) if accuracy > highest else (best, highest)
    if best is None:
        return ()
    try:
        evaluations = [StoredEvaluation.open(each) for each in (best, trained.path)]
        return tuple(_against_baseline(evaluations, _names(evaluations), compare([best, trained.path]).table))
    except FerError:
        return ()


def refuse_overwriting(out: Path, *, overwrite: bool = False) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` if the folder ``out`` has a comparison that may not be replaced.

    The record of variants that were trained together, which has the same name, may not in any case.
    """
    if variants(out):
        raise UsageError(f"{out / JSON} is the record of a training.", hint="Type another --out.")
    there = [name for name in (CSV, JSON, PNG) if (out / name).exists()]
    if there and not overwrite:
        raise UsageError(f"{out / there[0]} is there already.", hint="Type --overwrite, or another --out.")


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write ``comparison.csv``, ``comparison.json`` and ``comparison.png`` into the folder ``out``.

    Raises :class:`~fer_cli.errors.RunError` if it cannot be written; none of the three is then left that was not there.
    """
    new = [out / name for name in (CSV, JSON, PNG) if not (out / name).exists()]
    with ExitStack() as undo:
        for path in new:
            undo.callback(path.unlink, missing_ok=True)
        _write(comparison, out)
        undo.pop_all()


def _write(comparison: Comparison, out: Path) -> None:
    table = comparison.table
    stored = table.astype(object).where(table.notna(), None)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / CSV) as file:
            table.to_csv(file, index=False, float_format="%.6g")
        save(draw_comparison(comparison), out, Path(PNG).stem, ("png",))
        write_json(
            out / JSON,
            {
                "runs": dict(zip(comparison.runs, comparison.abouts, strict=True)),
                "samples": comparison.samples,
                "subjects": comparison.subjects,
                "differing": [list(pair) for pair in comparison.differing()],
                "level": ALPHA,
                "bootstrap": {"over": "subjects", "repetitions": REPETITIONS, "seed": SEED, "level": LEVEL},
                "test": {"exchanges": "of whole subjects", "at_most": EXCHANGES, "seed": SEED, "correction": "Holm"},
                "rows": stored.to_dict(orient="records"),
                "notes": list(comparison.notes),
                "fer": fer_cli.__version__,
            },
        )
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error
