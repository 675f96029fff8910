"""Page of a benchmark: what was found, how sure it is, and every cell with its protocol, in one HTML file."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import fer_cli
from fer_cli.benchmark import charts
from fer_cli.benchmark.cells import EVALUATIONS, NEUTRAL_ACCESS, PREDICTIONS, Cell
from fer_cli.benchmark.results import DEFAULT_METRIC, pooled
from fer_cli.benchmark.tables import Entry, Sheet, figure, sheets
from fer_cli.errors import FerError
from fer_cli.evaluation.metrics import METRICS, Metric
from fer_cli.files import plain, write_text
from fer_cli.pages import environment

PAGE = "benchmark.html"
PACKAGE, TEMPLATES = "fer_cli.benchmark", ("benchmark.html.jinja", "benchmark.css")
#: What a page shows at most: letters of a text, cells, and rows of other tables.
MOST_LETTERS, MOST_CELLS, MOST_ROWS = 2_000, 5_000, 200
#: Sentences of the summary that are shown before it is opened.
MOST_SENTENCES = 8

COMPARISON = (
    *(
        "evaluation",
        "train",
        "test",
        "train_subjects",
        "first",
        "second",
        "neutral_first",
        "neutral_second",
        "metric",
        "method",
    ),
    *("difference", "low", "high", "p", "p_holm", "noise_floor", "resolved", "heterogeneity", "n_corpora", "notes"),
)
RANK = (
    *("evaluation", "train", "test", "train_subjects", "neutral", "recipe", "metric", "value", "low_rank", "high_rank"),
)
_NUMBERS = {
    *("difference", "low", "high", "p", "p_holm", "noise_floor", "heterogeneity", "train_subjects", "value"),
    *("low_rank", "high_rank"),
}

ABOUT = {
    "within": "Trained and tested on the same dataset, never on the same people: every fold once.",
    "cross-corpus": "Trained on one dataset, tested on all of another.",
    "leave-one-corpus-out": "Trained on all other datasets together, tested on the one that is not among them.",
    "learning-curve": "Trained on so many people of the dataset, tested on people who are not among them.",
    PREDICTIONS: "Not trained here: a run or a packaged model as it is, or a table of another program’s predictions.",
}
NEUTRAL = {
    "none": "a face alone",
    "mean": "compared with the training’s average neutral face",
    "found": "compared with a face of the same person that was taken for neutral, without labels",
    "given": "compared with a face of the same person that is labelled neutral",
}
#: What may have become of a cell, and how it is counted.
CHANGES = {"changed": "changed", "failed": "failed now", "done": "failed before", "new": "new", "lost": "gone"}
CONTENTS = (
    ("summary", "Summary", None),
    ("corpora", "Train and test", "maps"),
    ("results", "Results", "sheets"),
    ("differences", "Differences", "differences"),
    ("curves", "Learning curves", "curves"),
    ("failed", "Failed", "failures"),
    ("changes", "Changes", "changes"),
    ("cells", "Cells", "cells"),
    ("repeat", "Repeat", None),
)


def write_page(
    title: str,
    results: pd.DataFrame,
    comparisons: pd.DataFrame | None,
    ranks: pd.DataFrame | None,
    out: Path,
    *,
    sentences: Sequence[str] = (),
    against: pd.DataFrame | None = None,
    command: str = "",
    metric: str | None = None,
) -> None:
    """Write ``benchmark.html`` into the folder ``out``: one file that needs no network and no script.

    ``results`` is the table of :func:`~fer_cli.benchmark.results.results_table`, ``comparisons`` and ``ranks`` those of
    the differences of ``metric`` (by default the comparisons' own), ``against`` what became of the cells of earlier
    results. ``sentences`` sum up what was found, and ``command`` repeats it. Raises
    :class:`~fer_cli.errors.FerError` if the page cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        page = render(
            title, results, comparisons, ranks, sentences=sentences, against=against, command=command, metric=metric
        )
        write_text(out / PAGE, page)
    except OSError as error:
        raise FerError(f"{out} cannot be written: {error.strerror or error}.", hint="Type --out FOLDER.") from error


def render(
    title: str,
    results: pd.DataFrame,
    comparisons: pd.DataFrame | None = None,
    ranks: pd.DataFrame | None = None,
    *,
    sentences: Sequence[str] = (),
    against: pd.DataFrame | None = None,
    command: str = "",
    metric: str | None = None,
) -> str:
    """The page as HTML. All that comes from a specification, a dataset or a file is escaped."""
    results, comparisons, ranks = _clean(results), _clean(comparisons, COMPARISON), _clean(ranks, RANK)
    chosen = METRICS[metric or _metric_of(comparisons, ranks)]
    comparisons, ranks = (table[table["metric"] == chosen.name] for table in (comparisons, ranks))
    whole = pooled(results)
    maps, ends = charts.heat_maps(results, chosen)
    context = {
        "title": _text(title) or "Benchmark",
        "sentences": [*_summary(whole, comparisons, chosen), *map(_text, sentences)],
        "metric": chosen,
        "facts": _facts(whole),
        "done": int((whole["status"] == "done").sum()),
        "total": len(whole),
        "neutrals": [(name, NEUTRAL[name]) for name in NEUTRAL_ACCESS if name in set(whole["neutral"])],
        "maps": maps,
        "ends": ends,
        "sheets": _sheets(results, ranks, chosen),
        "differences": charts.differences(comparisons, chosen),
        "curves": charts.learning_curves(results, chosen),
        "failures": [(_title(row), row.reason or "not said") for row in whole.itertuples() if row.status == "failed"],
        "changes": _changes(against, chosen),
        "cells": _cells(results, whole, chosen),
        "command": _text(command),
        "version": fer_cli.__version__,
        "size": charts.SIZE,
        "strip": {"width": charts.STRIP_WIDTH, "height": charts.STRIP_HEIGHT},
        "most": {"cells": MOST_CELLS, "rows": MOST_ROWS, "sentences": MOST_SENTENCES},
    }
    context["contents"] = [entry for entry in CONTENTS if entry[2] is None or context[entry[2]]]
    made = environment(PACKAGE, TEMPLATES, figure=lambda value: figure(value, chosen))
    return made.get_template(TEMPLATES[0]).render(context).lstrip()


def _text(text: object) -> str:
    """Text as it may stand on a page: not endless, and without what steers a terminal that it is copied to."""
    text = plain(str(text))
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"


def _clean(table: pd.DataFrame | None, columns: Iterable[str] | None = None) -> pd.DataFrame:
    table = pd.DataFrame() if table is None else table
    table = table if columns is None else table.reindex(columns=list(columns))
    cleaned: dict[Any, pd.Series] = {}
    for name, values in table.items():
        if name in _NUMBERS:
            cleaned[name] = pd.to_numeric(values, errors="coerce").astype(float)
        elif name == "resolved":
            cleaned[name] = values.map(lambda value: bool(pd.notna(value) and value)).astype(bool)
        elif columns is not None or not pd.api.types.is_numeric_dtype(values):
            cleaned[name] = values.map(lambda value: "" if pd.isna(value) else _text(value)).astype(object)
        else:
            cleaned[name] = values
    return pd.DataFrame(cleaned, index=table.index)


def _metric_of(*tables: pd.DataFrame) -> str:
    named = [name for table in tables for name in table["metric"].unique() if name in METRICS]
    return next(iter(named), DEFAULT_METRIC)


def _title(row: Any) -> str:
    subjects = None if pd.isna(row.train_subjects) else int(row.train_subjects)
    train = (row.train,) if row.train else ()
    return Cell(
        row.recipe, row.evaluation, train, row.test, row.neutral, int(row.repeat), int(row.seed), subjects
    ).title


def _facts(whole: pd.DataFrame) -> list[tuple[str, int]]:
    datasets = {name for row in whole[["train", "test"]].itertuples(index=False) for name in (row.test,) if name}
    failed = int((whole["status"] == "failed").sum())
    counts = [
        ("datasets", len(datasets)),
        ("recipes", whole["recipe"].nunique()),
        ("evaluations", whole["evaluation"].nunique()),
        ("cells done", len(whole) - failed),
    ]
    return [*counts, *([("cells failed", failed)] if failed else [])]


def _summary(whole: pd.DataFrame, comparisons: pd.DataFrame, metric: Metric) -> list[str]:
    """Sentences on recipes across corpora, on the noise floor, and on how many differences are resolved."""
    sentences = []
    unit = " points" if metric.percent else ""
    by = ["test", "recipe", "neutral"]
    done = whole[(whole["status"] == "done") & whole[metric.name].abs().lt(math.inf)]
    inside, across = (
        done[done["evaluation"] == name].groupby(by)[metric.name].mean() for name in ("within", "cross-corpus")
    )
    falls = (inside - across).dropna().groupby("test").mean()
    if len(falls):
        ends = f", from {charts.signed(-falls.max(), metric)} to {charts.signed(-falls.min(), metric)} by dataset"
        sentences.append(
            "Trained on another dataset instead of the same one, with other people in either case, recipes differ by "
            f"{charts.signed(-falls.mean(), metric)}{unit} on average{ends if len(falls) > 1 else ''}."
        )
    single = comparisons[(comparisons["test"] != charts.COMBINED) & comparisons["difference"].abs().lt(math.inf)]
    floors = single.loc[(single["evaluation"] == "within") & single["noise_floor"].between(0, 1), "noise_floor"]
    if len(floors):
        sentences.append(
            "Within a dataset, drawing folds and seeds again moves the difference of two recipes by up to "
            f"{figure(floors.median(), metric)}{unit}: the median noise floor of {len(floors)} comparisons."
        )
    same = single[single["neutral_first"] == single["neutral_second"]]
    if len(same):
        sentences.append(
            f"{int(same['resolved'].sum())} of {len(same)} differences between recipes of the same neutral access, "
            "each on one dataset, are resolved."
        )
    return sentences


def _sheets(results: pd.DataFrame, ranks: pd.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """The sheets by evaluation, with what a cell says: its entry, and its rank among those of its neutral access."""
    found: dict[str, list[Sheet]] = {}
    for sheet in sheets(results, ranks, metric.name):
        found.setdefault(sheet.evaluation, []).append(sheet)
    return [
        {
            "evaluation": name,
            "about": ABOUT[name],
            "sheets": [(each, _rows(each, metric)) for each in found[name]],
            "overall": _overall(ranks[(ranks["evaluation"] == name) & (ranks["test"] == charts.COMBINED)], metric),
        }
        for name in (*EVALUATIONS, PREDICTIONS)
        if name in found
    ]


def _overall(ranks: pd.DataFrame, metric: Metric) -> list[tuple[str, str, str, str, str]]:
    """Recipe, neutral access, training subjects, mean and rank over all datasets, the best of an access first."""
    rows: list[tuple[str, str, str, str, str]] = []
    neutral: Any
    subjects: Any
    row: Any
    order = ranks.assign(access=ranks["neutral"].map(NEUTRAL_ACCESS.index), worse=-ranks["value"])
    order = order.sort_values(["access", "train_subjects", "worse", "recipe"], kind="stable")
    for (neutral, subjects), part in order.groupby(["neutral", "train_subjects"], sort=False, dropna=False):
        for row in part.itertuples():
            # A rank that may be any says nothing.
            if math.isfinite(row.low_rank) and math.isfinite(row.high_rank) and len(part) > 1:
                first, last = int(row.low_rank), int(row.high_rank)
                rank = "not resolved" if (first, last) == (1, len(part)) else _rank(first, last)
                count = "" if pd.isna(subjects) else f"{int(subjects)}"
                rows.append((row.recipe, neutral, count, figure(row.value, metric), rank))
    return rows


def _rank(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"


def _rows(sheet: Sheet, metric: Metric) -> list[tuple[str, str, int | None, list[dict[str, Any] | None]]]:
    rivals = Counter(
        (neutral, subjects, place)
        for _, neutral, subjects, entries in sheet.rows
        for place, entry in enumerate(entries)
        if entry
    )
    return [
        (
            *(recipe, neutral, subjects),
            [_cell(it, metric, rivals[neutral, subjects, place]) for place, it in enumerate(entries)],
        )
        for recipe, neutral, subjects, entries in sheet.rows
    ]


def _cell(entry: Entry | None, metric: Metric, rivals: int) -> dict[str, Any] | None:
    if entry is None:
        return None
    if not math.isfinite(entry.value):
        return {"value": "failed" if entry.failed else "–", "interval": "", "best": False, "more": ""}
    more = []
    if entry.ranks and rivals > 1 and entry.ranks != (1, rivals):
        more.append(f"rank {_rank(*entry.ranks)}")
    if entry.draws > 1:
        more.append(f"± {figure(entry.spread, metric)} over {entry.draws}")
    if entry.failed:
        more.append(f"{entry.failed} failed")
    low, high = figure(entry.low, metric), figure(entry.high, metric)
    interval = f"{low} to {high}" if math.isfinite(entry.low) and math.isfinite(entry.high) else ""
    return {"value": figure(entry.value, metric), "interval": interval, "best": entry.best, "more": ", ".join(more)}


def _changes(table: pd.DataFrame | None, metric: Metric) -> dict[str, Any]:
    """What became of earlier cells: counts, and those that are not the same, the largest differences first."""
    if table is None or table.empty:
        return {}
    table = _clean(table)
    counts = Counter(table["change"])
    other = table[table["change"].isin(CHANGES)]
    order = other["difference"].abs().fillna(-1).sort_values(ascending=False, kind="stable").index
    listed: list[Any] = list(other.loc[order[:MOST_ROWS]].itertuples())
    rows = [
        {
            "title": _title(row),
            "change": row.change,
            "before": figure(row.before, metric),
            "now": figure(row.now, metric),
            "difference": charts.signed(row.difference, metric),
            "apart": bool(row.apart),
            "same_inputs": bool(row.same_inputs) and row.change == "changed",
        }
        for row in listed
    ]
    words = [(counts[name], text) for name, text in CHANGES.items() if counts[name]]
    return {"same": counts["same"], "words": words, "rows": rows, "more": len(other) - len(rows)}


def _cells(results: pd.DataFrame, whole: pd.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """Every cell by evaluation and recipe, with all that its number depends on."""
    folds: dict[str, list[str]] = {}
    row: Any
    for row in results[results["fold"].notna()].itertuples():
        folds.setdefault(_title(row), []).append(f"{row.fold}: {figure(getattr(row, metric.name), metric)}")
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in whole.head(MOST_CELLS).itertuples():
        numbers = Entry(*(getattr(row, f"{metric.name}{end}") for end in ("", "_low", "_high")))
        facts = [
            ("reason", row.reason),
            ("protocol", row.protocol),
            ("command", row.command),
            ("tested", _count(row.n, row.subjects)),
            ("trained", _count(row.train_n, row.train_subjects)),
            ("classes", row.classes),
            ("by chance", figure(row.chance, metric) if math.isfinite(row.chance) else ""),
            ("folds", ", ".join(folds.get(_title(row), []))),
            ("notes", row.notes),
            ("digest", row.cell),
        ]
        shown = {
            "title": _title(row),
            "failed": row.status == "failed",
            "number": _cell(numbers, metric, 0),
            "facts": [(name, value) for name, value in facts if value],
        }
        groups.setdefault((row.evaluation, row.recipe, row.neutral), []).append(shown)
    return [
        {"name": f"{evaluation}: {charts.named(recipe, neutral)}", "cells": cells}
        for (evaluation, recipe, neutral), cells in groups.items()
    ]


def _count(faces: Any, people: Any) -> str:
    parts = [f"{count} {what}" for count, what in ((faces, "faces"), (people, "people")) if pd.notna(count)]
    return " of ".join(parts)
