"""Charts of a benchmark as geometry: forest plots of differences, heat maps of corpora, and learning curves.

The page's template draws them in the colours of its theme.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from fer_cli.benchmark.cells import EVALUATIONS, NEUTRAL_ACCESS, PREDICTIONS
from fer_cli.benchmark.results import pooled
from fer_cli.benchmark.tables import Entry, entries, figure
from fer_cli.evaluation.metrics import Metric
from fer_cli.evaluation.report import charts
from fer_cli.evaluation.report.charts import LEFT, MARKERS, RIGHT, WIDTH, Chart, Line, Mark, Scale, horizontal, vertical

#: The size of a chart of learning curves, as the report's template takes it.
SIZE = {name: getattr(charts, name.upper()) for name in ("width", "height", "left", "right", "top", "bottom")}
#: A row of a forest plot, in the units of its viewBox, and what is left free at both ends of its axis.
STRIP_WIDTH, STRIP_HEIGHT, EDGE = 240, 24, 18
#: Labels of an axis stand at least so far from each other.
LABEL = 28
#: The test dataset of a row that combines several.
COMBINED = "(all)"
#: The recipe that others are compared with first, where there is one of this name.
REFERENCE = "baseline"
UNLIKE = "of another neutral access: not the same task"
#: Rows of forest plots on one page at most.
MOST_DIFFERENCES = 4_000


@dataclass(frozen=True)
class Strip:
    """One row of a forest plot: a mark at the difference, its interval, and the noise floor around zero.

    ``line`` and ``floor`` are two ends each, None where there is none; ``mark`` is None where there is no difference.
    """

    mark: float | None
    line: tuple[float, float] | None
    floor: tuple[float, float] | None
    combined: bool
    resolved: bool


@dataclass(frozen=True)
class Axis:
    """The axis that the rows of forest plots share: its scale, the place of zero, and its ticks."""

    scale: Scale
    zero: float
    ticks: list[tuple[float, str]]

    @classmethod
    def of(cls, table: pd.DataFrame, metric: Metric) -> "Axis":
        """The axis on which all rows of ``table`` (``difference, low, high, noise_floor``) have room."""
        unit = 100 if metric.percent else 1
        values = table[["difference", "low", "high", "noise_floor"]].to_numpy(float) * unit
        values = np.r_[values.ravel(), -values[:, 3], 0.0]
        values = np.clip(values[np.isfinite(values)], -2 * unit, 2 * unit)
        if not np.ptp(values):
            values = np.array([-1.0, 1.0]) * unit / 100
        ticks = MaxNLocator(nbins=5).tick_values(values.min(), values.max())
        scale = Scale(ticks[0] / unit, ticks[-1] / unit, EDGE, STRIP_WIDTH - EDGE)
        labels = [(scale(tick / unit), f"{tick:+g}".replace("-", "−") if tick else "0") for tick in ticks]
        return cls(scale, scale(0), labels)

    def strip(self, row: Mapping[str, Any]) -> Strip:
        """The row of a forest plot for a row of the table."""
        difference, low, high, floor = (row[name] for name in ("difference", "low", "high", "noise_floor"))
        return Strip(
            self._at(difference) if math.isfinite(difference) else None,
            (self._at(low), self._at(high)) if math.isfinite(low) and math.isfinite(high) else None,
            (self._at(-abs(floor)), self._at(abs(floor))) if math.isfinite(floor) else None,
            row["test"] == COMBINED,
            bool(row["resolved"]),
        )

    def _at(self, value: float) -> float:
        return min(max(self.scale(value), 0), STRIP_WIDTH)


def differences(table: pd.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """By evaluation the pairs of recipes as rows of forest plots, those with the reference first.

    ``table`` has the columns of a table of comparisons; texts are never missing. A pair has a ``head``, its combined
    difference or its only one, and the ``rows`` of all datasets.
    """
    room = MOST_DIFFERENCES
    found = []
    for evaluation in (*EVALUATIONS, PREDICTIONS):
        part = table[table["evaluation"] == evaluation]
        if part.empty:
            continue
        axis = Axis.of(part, metric)
        recipes = sorted({*part["first"], *part["second"]})
        reference = REFERENCE if REFERENCE in recipes else recipes[0]
        part = _turned(part, (part["second"] == reference) & (part["first"] != reference))
        pairs: list[dict[str, Any]] = []
        key: Any
        for key, rows in part.groupby(["first", "neutral_first", "second", "neutral_second"], sort=False):
            pairs.append(_pair(key, rows, axis, metric, key[0] == reference or key[2] == reference))
        pairs.sort(key=lambda pair: (not pair["with_reference"], pair["unlike"]))
        for pair in pairs:
            room -= len(pair["rows"])
            pair["rows"] = pair["rows"] if room >= 0 else []
        groups: dict[str, list[Any]] = {
            f"Compared with {reference}": [],
            f"Compared with {reference}, {UNLIKE}": [],
            "All other pairs": [],
        }
        for pair in pairs:
            place = 2 if not pair["with_reference"] else 1 if pair["unlike"] else 0
            list(groups.values())[place].append(pair)
        methods = [name for name in part["method"].unique() if name]
        found.append(
            {
                "evaluation": evaluation,
                "axis": axis,
                "groups": [(name, of) for name, of in groups.items() if of],
                "methods": methods,
                "cut": room < 0,
            }
        )
    return found


def _turned(table: pd.DataFrame, where: pd.Series) -> pd.DataFrame:
    """The differences of the rows ``where`` the other way round."""
    names = ["first", "second", "neutral_first", "neutral_second", "difference", "low", "high"]
    turned = table.loc[where, ["second", "first", "neutral_second", "neutral_first", "difference", "high", "low"]]
    turned = turned.set_axis(names, axis=1)
    turned[["difference", "low", "high"]] *= -1
    return pd.concat([table[~where], table[where].assign(**turned)]).sort_index(kind="stable")


def _pair(
    key: tuple[str, str, str, str], rows: pd.DataFrame, axis: Axis, metric: Metric, with_reference: bool
) -> dict[str, Any]:
    """A pair of recipes: its combined row, or its only one, to stand for it, and the rows of all corpora."""
    first, neutral_first, second, neutral_second = key
    records: list[Any] = rows.to_dict(orient="records")
    of = [(row, _difference(row, axis, metric)) for row in records]
    # Of a learning curve that of most subjects stands for it.
    of.sort(key=lambda item: item[0]["train_subjects"] if item[0]["train_subjects"] >= 0 else -1)
    combined = [shown for row, shown in of if row["test"] == COMBINED]
    return {
        "first": f"{first} ({neutral_first or 'none'})",
        "second": f"{second} ({neutral_second or 'none'})",
        "unlike": neutral_first != neutral_second,
        "with_reference": with_reference,
        "head": combined[-1] if combined else of[0][1] if len(of) == 1 else None,
        "rows": [shown for _, shown in of] if len(of) > 1 else [],
        "notes": list(dict.fromkeys(note for note in rows["notes"] if note)),
    }


def _difference(row: dict[str, Any], axis: Axis, metric: Metric) -> dict[str, Any]:
    combined = row["test"] == COMBINED
    elsewhere = row["train"] not in ("", row["test"], COMBINED)
    floor, gap, corpora = row["noise_floor"], row["difference"], row["n_corpora"].partition(".")[0]
    verdict = "no number"
    if math.isfinite(gap):
        within = math.isfinite(floor) and abs(gap) <= abs(floor)
        verdict = "resolved" if row["resolved"] else "within the noise floor" if within else "not resolved"
    subjects = f", {row['train_subjects']:.0f} subjects" if math.isfinite(row["train_subjects"]) else ""
    where = "all together" if combined else f"{row['train']} → {row['test']}" if elsewhere else row["test"]
    return {
        "where": where + subjects,
        "subjects": subjects.removeprefix(", "),
        "strip": axis.strip(row),
        "difference": signed(gap, metric),
        "interval": f"{signed(row['low'], metric)} to {signed(row['high'], metric)}"
        if math.isfinite(row["low"]) and math.isfinite(row["high"])
        else "",
        "floor": figure(abs(floor), metric),
        "p": _p(row["p"]),
        "p_holm": _p(row["p_holm"]),
        "heterogeneity": f"{row['heterogeneity']:.0%}" if math.isfinite(row["heterogeneity"]) else "",
        "corpora": corpora if combined else "",
        "verdict": verdict,
        "combined": combined,
    }


def signed(value: float, metric: Metric) -> str:
    """A difference with its sign: in percentage points without a unit, or with three decimals; a dash for none."""
    if not math.isfinite(value):
        return "–"
    return (f"{100 * value:+.1f}" if metric.percent else f"{value:+.3f}").replace("-", "−")


def _p(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


@dataclass(frozen=True)
class Tile:
    """A number of a heat map: ``share`` of the way from the lowest to the highest of all, and what is said of it."""

    text: str
    share: float
    title: str
    within: bool


@dataclass(frozen=True)
class HeatMap:
    """A recipe's results, a row a training dataset and a column a test dataset; None where there is no such cell."""

    recipe: str
    neutral: str
    tests: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Tile | None, ...]], ...]


#: The last row of a heat map.
OTHERS = "all others"


def heat_maps(table: pd.DataFrame, metric: Metric) -> tuple[list[HeatMap], tuple[str, str]]:
    """A map of each recipe that has cross-corpus results, and the lowest and the highest number of all.

    The diagonal is the recipe within each dataset, and the last row all other datasets together.
    """
    cells = pooled(table)
    cells = cells[cells["evaluation"].isin(["within", "cross-corpus", "leave-one-corpus-out"])]
    crossed = cells["evaluation"] != "within"
    tests = tuple(sorted({*cells.loc[crossed, "test"], *cells.loc[cells["evaluation"] == "cross-corpus", "train"]}))
    cells = cells[cells["test"].isin(tests)]
    source = cells["train"].mask(cells["evaluation"] == "leave-one-corpus-out", "")
    source = source.mask(cells["evaluation"] == "within", cells["test"])
    shown = set(cells.loc[cells["evaluation"] != "within", ["recipe", "neutral"]].itertuples(index=False, name=None))
    by: dict[tuple[str, str], dict[tuple[str, str], Entry]] = {}
    found = entries(cells.assign(source=source), metric.name, ["recipe", "neutral", "source", "test"])
    for (recipe, neutral, train, test, _), entry in found.items():
        if (recipe, neutral) in shown:
            by.setdefault((recipe, neutral), {})[train, test] = entry
    values = [each.value for of in by.values() for each in of.values() if math.isfinite(each.value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    maps = []
    for (recipe, neutral), of in sorted(by.items(), key=lambda item: (item[0][0], NEUTRAL_ACCESS.index(item[0][1]))):
        trains = [name for name in (*tests, "") if any(train == name for train, _ in of)]
        rows = tuple(
            (train or OTHERS, tuple(_tile(of.get((train, test)), metric, low, high, train == test) for test in tests))
            for train in trains
        )
        maps.append(HeatMap(recipe, neutral, tests, rows))
    return maps, (figure(low, metric), figure(high, metric))


def _tile(found: Entry | None, metric: Metric, low: float, high: float, within: bool) -> Tile | None:
    if found is None:
        return None
    if not math.isfinite(found.value):
        return Tile("failed" if found.failed else "–", 0.0, "no number", within)
    title = f"{figure(found.value, metric)}, {figure(found.low, metric)} to {figure(found.high, metric)}"
    title += f", mean of {found.draws}" if found.draws > 1 else ""
    return Tile(figure(found.value, metric), (found.value - low) / ((high - low) or 1), title, within)


def learning_curves(table: pd.DataFrame, metric: Metric) -> list[Chart]:
    """A chart of each test dataset and neutral access: the metric by number of training subjects.

    It has a line and a band of intervals for each recipe, in the same colour in all charts. The axis is logarithmic
    where the numbers span more than a factor of four.
    """
    cells = pooled(table)
    cells = cells[(cells["evaluation"] == "learning-curve") & (cells["status"] == "done")]
    cells = cells[cells["train_subjects"].notna() & (cells["train_subjects"] > 0)]
    names = sorted(set(cells["recipe"]))
    by: dict[tuple[str, str], dict[str, list[tuple[int, Entry]]]] = {}
    for (test, neutral, recipe, count), entry in entries(cells, metric.name, ["test", "neutral", "recipe"]).items():
        if math.isfinite(entry.value):
            by.setdefault((test, neutral), {}).setdefault(recipe, []).append((count, entry))
    chance = cells.groupby("test")["chance"].mean()
    order = sorted(by, key=lambda key: (key[0], NEUTRAL_ACCESS.index(key[1])))
    return [_curves(key, by[key], names, metric, float(chance[key[0]])) for key in order]


def _curves(
    key: tuple[str, str],
    curves: dict[str, list[tuple[int, Entry]]],
    names: Sequence[str],
    metric: Metric,
    chance: float,
) -> Chart:
    title = f"{key[0]}, neutral {key[1]}"
    curves = {recipe: sorted(points, key=lambda point: point[0]) for recipe, points in sorted(curves.items())}
    counts = sorted({count for points in curves.values() for count, _ in points})
    place = math.log if counts[-1] > 4 * counts[0] else float
    x = horizontal(place(counts[0]), place(counts[-1]))
    found = np.array([(point.value, point.low, point.high) for points in curves.values() for _, point in points])
    found = np.r_[found[np.isfinite(found)], chance if math.isfinite(chance) else []]
    unit = 100 if metric.percent else 1
    ticks = np.asarray(MaxNLocator(nbins=5).tick_values(found.min() * unit, found.max() * unit)) / unit
    y = vertical(ticks[0], ticks[-1])
    chart = Chart(
        title=title,
        description=f"{metric.title} on {title}, by number of training subjects, {len(curves)} recipes.",
        x_label="training subjects",
        y_label=metric.title,
        x_ticks=[(x(place(count)), str(count)) for count in _apart(counts, lambda count: x(place(count)))],
        y_ticks=[(y(tick), f"{100 * tick:g}%" if metric.percent else f"{tick:g}") for tick in ticks],
    )
    if math.isfinite(chance):
        chart.lines.append(Line(f"{LEFT},{y(chance)} {WIDTH - RIGHT},{y(chance)}", "ideal", "by chance"))
    for name, points in curves.items():
        number = names.index(name)
        style = f"s{number % MARKERS}"
        banded = [(x(place(count)), y(each.low), y(each.high)) for count, each in points if math.isfinite(each.low)]
        corners = [f"{at},{low}" for at, low, _ in banded] + [f"{at},{high}" for at, _, high in reversed(banded)]
        if len(banded) > 1:
            chart.bands.append(Line(" ".join(corners), style, f"{name}: 95% intervals"))
        at = [(x(place(count)), y(each.value)) for count, each in points]
        chart.lines.append(Line(" ".join(f"{left},{top}" for left, top in at), style, name))
        for (left, top), (count, each) in zip(at, points, strict=True):
            interval = f"{figure(each.low, metric)} to {figure(each.high, metric)}"
            words = f"{name}, {count} subjects: {figure(each.value, metric)}, {interval}"
            chart.marks.append(Mark(left, top, number % MARKERS, (number + number // MARKERS) % MARKERS, words))
        chart.legend.append((style, name))
    if math.isfinite(chance):
        chart.legend.append(("ideal", "by chance"))
    return chart


def _apart(counts: Iterable[int], place: Callable[[int], float]) -> list[int]:
    """Those of ``counts`` whose labels have room, the last one in any case."""
    *others, last = counts
    kept: list[int] = []
    for count in others:
        if place(last) - place(count) >= LABEL and (not kept or place(count) - place(kept[-1]) >= LABEL):
            kept.append(count)
    return [*kept, last]


def named(recipe: str, neutral: str) -> str:
    """A recipe with its neutral access, which stands by each of its numbers.

    >>> named("difference", "given"), named("baseline", "none")
    ('difference (neutral given)', 'baseline (neutral none)')
    """
    return f"{recipe} (neutral {neutral})"
