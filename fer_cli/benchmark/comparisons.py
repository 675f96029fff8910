"""Differences between the recipes of a benchmark, their tests, and the noise floor.

What is compared are systems: a recipe together with its neutral access. Its test follows from how often they were
trained:

- ``exchange``: one draw, that is one training on one draw of the folds. The paired exchange test over subjects, and the
  interval of a bootstrap over subjects (:func:`~fer_cli.evaluation.significance.compare_pair`).
- ``corrected t``: repeated folds. Nadeau and Bengio's corrected resampled t test of the differences by fold.
- ``crossed t``: several trainings tested on the same samples. Subjects and trainings are crossed random effects.
- ``combined``: over corpora, the random-effects mean of the differences with Hartung and Knapp's interval.

The noise floor is what a recipe differs from itself when folds and seeds are drawn again: with the standard deviations
s₁ and s₂ of the two systems' metric over their draws, the difference of two single draws lies within 1.96 √(s₁² + s₂²)
of its mean in 95 % of cases. One draw does not tell it: it compares two trained models, not two recipes.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from fer_cli.benchmark.cells import PREDICTIONS
from fer_cli.errors import UsageError
from fer_cli.evaluation.bootstrap import LEVEL, units
from fer_cli.evaluation.compare import ALPHA
from fer_cli.evaluation.meta_analysis import combine, combine_pairs
from fer_cli.evaluation.metrics import METRICS, LabelledPredictions, Metric, compared_metrics
from fer_cli.evaluation.significance import EXCHANGES, compare_pair, corrected_t_test, crossed_t_test, holm
from fer_cli.labels import in_order

#: The dataset of a row over all corpora.
ALL = "(all)"
#: The columns of a table of comparisons; ``train_subjects`` is of learning curves alone.
COMPARISON_COLUMNS = (
    *("evaluation", "train", "test", "train_subjects", "first", "second", "neutral_first", "neutral_second", "metric"),
    *("first_value", "second_value", "difference", "low", "high", "p", "p_holm", "method", "noise_floor", "resolved"),
    *("heterogeneity", "n_corpora", "notes"),
)
_READ = ("file_name", "subject", "fold", "label", "predicted")
_Z = float(norm.ppf((1 + LEVEL) / 2))

#: A recipe's name and its neutral access.
System = tuple[str, str]
#: A draw of folds and a seed of training.
Draw = tuple[int, int]


@dataclass
class Difference:
    """A difference of two systems, the second's value less the first's, in one place: a row of the table."""

    evaluation: str
    train: str
    test: str
    train_subjects: float
    first: System
    second: System
    first_value: float = math.nan
    second_value: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    method: str = "none"
    noise_floor: float = math.nan
    resolved: bool = False
    heterogeneity: float = math.nan
    n_corpora: int = 1
    notes: list[str] = field(default_factory=list)
    #: The sampling variance of the difference, not in the table.
    variance: float = math.nan

    def row(self, metric: str) -> dict[str, Any]:
        """The row, by :data:`COMPARISON_COLUMNS`."""
        values = {name: getattr(self, name, None) for name in COMPARISON_COLUMNS}
        (first, neutral_first), (second, neutral_second) = self.first, self.second
        own = {"first": first, "second": second, "neutral_first": neutral_first, "neutral_second": neutral_second}
        return {**values, **own, "metric": metric, "notes": " ".join(self.notes)}


def compare_cells(results: pd.DataFrame, predictions: Mapping[str, Path], specification_metric: str) -> pd.DataFrame:
    """Every pair of systems in every evaluation, on each dataset and over all: :data:`COMPARISON_COLUMNS`.

    ``results`` is the benchmark's table, ``predictions`` the tables of predictions by ``cell``, each with the columns
    ``file_name, subject, fold, label, predicted``. Compared are the samples that both systems predicted in every draw,
    or where a draw tests people of its own, as one of a learning curve does, in that draw;
    without such samples a row has a note and no test. Of repeated draws values are means over them, and of a corrected
    t test over all folds of all draws. ``noise_floor`` is 0 where nothing was trained.

    A row over all corpora has their number, the share I² of the variation that lies between them as ``heterogeneity``,
    and as difference the random-effects mean. Where a corpus is trained on in one row and tested on in others, it is
    the mean, and its test a jackknife over corpora (:func:`~fer_cli.evaluation.meta_analysis.combine_pairs`).

    ``p_holm`` is corrected within a family: all pairs of one evaluation, on all its datasets (and sizes of a learning
    curve). Pairs of equal neutral access are one family, those of different access another, and the rows over all
    corpora are families of their own. ``resolved`` rows have a ``p_holm`` of at most 0.05 and a difference above the
    noise floor. Over corpora it need not be known: models are trained apart for each, so that their draws are part of
    what differs between corpora, and of the interval.

    Systems that were trained elsewhere are compared among themselves and, on the datasets of ``within``, with those
    trained there. Raises :class:`~fer_cli.errors.UsageError` if the metric is not one that is compared.
    """
    metric = METRICS.get(specification_metric)
    if metric is None or not metric.compared:
        names = ", ".join(each.name for each in compared_metrics())
        raise UsageError(f"{specification_metric} is not a metric that is compared.", hint=f"Type one of {names}.")
    pairs = list(_pairs(results, metric))
    # So many that the smallest p there can be is still below the level when it is corrected.
    largest = max(Counter(evaluation for (evaluation, *_), _, _ in pairs).values(), default=0)
    exchanges = max(EXCHANGES, math.ceil(2 * largest / ALPHA) - 1)
    cells = _Cells(results, predictions)
    single = [_compare(*pair, metric, cells, exchanges) for pair in pairs]
    together: dict[tuple[Any, ...], list[Difference]] = {}
    for each in single:
        if not math.isnan(each.variance):
            size = None if math.isnan(each.train_subjects) else each.train_subjects
            together.setdefault((each.evaluation, size, each.first, each.second), []).append(each)
    combined = [_combine(found) for found in together.values() if len({(each.train, each.test) for each in found}) > 1]
    for rows in (single, combined):
        _resolve(rows)
    return pd.DataFrame([each.row(metric.name) for each in single + combined], columns=list(COMPARISON_COLUMNS))


def pooled(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole cells that are done."""
    return results[results["fold"].isna() & (results["status"] == "done")]


@dataclass(frozen=True)
class _Drawn:
    """A system in one place: its rows of whole cells by draw, and whether it was trained elsewhere."""

    system: System
    rows: Mapping[Draw, Mapping[str, Any]]
    fixed: bool

    def spread(self, metric: str) -> float:
        """The deviation of the metric over the draws; NaN of a single one, 0 where there is nothing to draw."""
        if self.fixed:
            return 0.0
        values = [row[metric] for row in self.rows.values()]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


#: Evaluation, training and test dataset, and number of training subjects (None: all).
_Place = tuple[str, str, str, float | None]


def _pairs(results: pd.DataFrame, metric: Metric) -> Iterator[tuple[_Place, _Drawn, _Drawn]]:
    """The place of each pair, and its systems in the order in which the table has them first."""
    order: dict[System, int] = {}
    places: dict[_Place, dict[System, dict[Draw, Mapping[str, Any]]]] = {}
    for row in pooled(results).dropna(subset=[metric.name]).to_dict("records"):
        system, draw = (row["recipe"], row["neutral"]), (int(row["repeat"]), int(row["seed"]))
        order.setdefault(system, len(order))
        size = None if pd.isna(row["train_subjects"]) else float(row["train_subjects"])
        place = (row["evaluation"], row["train"], row["test"], size)
        places.setdefault(place, {}).setdefault(system, {})[draw] = {str(name): value for name, value in row.items()}
    for place, systems in places.items():
        evaluation, _, test, _ = place
        own = [_Drawn(system, rows, evaluation == PREDICTIONS) for system, rows in systems.items()]
        if evaluation == "within":
            elsewhere = places.get((PREDICTIONS, "", test, None), {})
            own += [_Drawn(system, rows, True) for system, rows in elsewhere.items() if system not in systems]
        for one, other in combinations(sorted(own, key=lambda each: order[each.system]), 2):
            if evaluation == PREDICTIONS or not (one.fixed and other.fixed):
                yield place, one, other


class _Cells:
    """Tables of predictions by cell, read once, and the ratio of samples tested to samples trained on in a fold."""

    def __init__(self, results: pd.DataFrame, predictions: Mapping[str, Path]):
        self._paths = predictions
        self._tables: dict[str, pd.DataFrame | None] = {}
        folds = results[results["fold"].notna()]
        sizes = folds[["n", "train_n"]].apply(pd.to_numeric, errors="coerce").astype("Float64")
        self._sizes = sizes.groupby(folds["cell"]).mean()

    def table(self, cell: str) -> pd.DataFrame | None:
        """The predictions by file name; None where there are none."""
        if cell not in self._tables:
            path = self._paths.get(cell)
            read: dict[str, Any] = {"dtype": "string", "keep_default_na": False, "na_values": [""]}
            table = None if path is None else pd.read_csv(path, usecols=_READ, **read).set_index("file_name")
            self._tables[cell] = table
        return self._tables[cell]

    def ratio(self, cells: Collection[str], folds: int) -> float:
        """Samples tested to samples trained on; where the table does not say, as of even folds."""
        means = self._sizes.reindex(list(cells)).mean().to_numpy(float, na_value=np.nan)
        return float(means[0] / means[1]) if (means > 0).all() else 1 / max(folds - 1, 1)


@dataclass(frozen=True)
class _Shared:
    """The N samples that two systems predicted in each of D draws, by draw; ``folds`` has N fold names a draw.

    Draws that test people of their own have each its own N samples; units are numbered over all draws alike.
    """

    draws: Sequence[Draw]
    first: Sequence[LabelledPredictions]
    second: Sequence[LabelledPredictions]
    folds: Sequence[pd.Series]
    notes: Sequence[str]

    @classmethod
    def of(cls, one: _Drawn, other: _Drawn, cells: _Cells, *, own_people: bool) -> "_Shared | str":
        """Those of two systems, or the reason why there are none."""
        # What is fixed has one draw, which goes with every one of the other's.
        first, second = (
            dict.fromkeys(against.rows, next(iter(own.rows.values()))) if own.fixed and not against.fixed else own.rows
            for own, against in ((one, other), (other, one))
        )
        draws = sorted(first.keys() & second.keys())
        before, after = ([cells.table(rows[draw]["cell"]) for draw in draws] for rows in (first, second))
        tables = [table for table in (*before, *after) if table is not None]
        if not draws or len(tables) < len(before) + len(after):
            return "There are no predictions of both in one draw."
        count = len(draws)
        groups = [list(pair) for pair in zip(tables[:count], tables[count:], strict=True)] if own_people else [tables]
        most = sum(max(map(len, group)) for group in groups)
        groups = [_in_all(group) for group in groups]
        if any(group[0].empty for group in groups):
            return "They have no sample in common."
        if any((table["label"] != group[0]["label"]).any() for group in groups for table in group):
            return "They disagree on the labels of the samples."
        samples = pd.concat([group[0] for group in groups])
        predicted = [table["predicted"].unique() for group in groups for table in group]
        classes = in_order(set(samples["label"].unique()).union(*predicted))
        index = pd.Index(classes, dtype="string")
        whose = np.split(units(samples["subject"]), np.cumsum([len(group[0]) for group in groups])[:-1])

        def of(table: pd.DataFrame, own: np.ndarray) -> LabelledPredictions:
            truth, predicted = (index.get_indexer(pd.Index(table[name])) for name in ("label", "predicted"))
            return LabelledPredictions(classes, truth, predicted, None, own)

        labelled = [[of(each, own) for each in group] for group, own in zip(groups, whose, strict=True)]
        pairs = labelled if own_people else list(zip(labelled[0][:count], labelled[0][count:], strict=True))
        notes = [] if most == len(samples) else [f"{len(samples)} of {most} samples were predicted by both."]
        tables = [group[0] for group in groups] if own_people else groups[0][count if one.fixed else 0 :]
        folds = [table["fold"] for table in tables[:count]]
        return cls(draws, [pair[0] for pair in pairs], [pair[1] for pair in pairs], folds, notes)

    @property
    def subjects(self) -> int:
        """How many subjects are tested, in any draw."""
        return max(each.count for each in self.first)

    @property
    def samples(self) -> int:
        """How many samples a draw tests, at least."""
        return min(map(len, self.first))

    def confusions(self, *, own_people: bool) -> list[np.ndarray]:
        """R×U×C×C of both: the confusion matrix of each subject by training, zero for who is not tested there.

        Trainings are draws; where a repeat tests people of its own, the draws of that repeat, its seeds, are summed.
        """
        found = []
        for side in (self.first, self.second):
            sums: dict[Draw | int, np.ndarray] = {}
            for draw, each in zip(self.draws, side, strict=True):
                own = each.confusions()
                own = np.pad(own, ((0, self.subjects - len(own)), (0, 0), (0, 0)))
                key = draw[0] if own_people else draw
                sums[key] = sums[key] + own if key in sums else own
            found.append(np.stack(list(sums.values())))
        return found

    def by_fold(self, metric: Metric) -> np.ndarray:
        """The metric by repeat and fold, averaged over seeds, of both: 2×RK."""
        values: dict[tuple[int, str], list[list[float]]] = {}
        for (repeat, _), one, other, folds in zip(self.draws, self.first, self.second, self.folds, strict=True):
            for fold in folds.unique():
                mask = (folds == fold).to_numpy(bool)
                both = [float(metric.function(each.where(mask).confusions().sum(axis=0))) for each in (one, other)]
                values.setdefault((repeat, fold), []).append(both)
        return np.array([np.mean(each, axis=0) for each in values.values()]).T


def _in_all(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The rows that all ``tables`` have, in one order."""
    names = tables[0].index
    for table in tables[1:]:
        names = names if names.equals(table.index) else names[names.isin(table.index)]
    return [table if names.equals(table.index) else table.loc[names] for table in tables]


def _compare(place: _Place, one: _Drawn, other: _Drawn, metric: Metric, cells: _Cells, exchanges: int) -> Difference:
    evaluation, train, test, size = place
    found = Difference(evaluation, train, test, math.nan if size is None else size, one.system, other.system)
    found.first_value, found.second_value = (
        float(np.mean([row[metric.name] for row in each.rows.values()])) for each in (one, other)
    )
    found.noise_floor = _Z * math.hypot(one.spread(metric.name), other.spread(metric.name))
    if one.system[1] != other.system[1]:
        found.notes.append(f"Neutral access differs ({one.system[1]}, {other.system[1]}): compared, not ranked.")
    if one.fixed != other.fixed:
        found.notes.append(f"{(one if one.fixed else other).system[0]} was trained elsewhere.")
    # Each draw of a learning curve tests its own fold 0.
    own_people = evaluation == "learning-curve" and len({repeat for repeat, _ in one.rows}) > 1
    shared = _Shared.of(one, other, cells, own_people=own_people)
    if isinstance(shared, str):
        found.notes.append(shared)
        return found
    found.notes += shared.notes
    if len(shared.draws) == 1:
        pair = compare_pair(shared.first[0], shared.second[0], exchanges=exchanges)
        row: Any = pair.metrics.loc[metric.name]
        found.method, found.p, error = "exchange", float(row["p"]), float(row["standard_error"])
        found.first_value, found.second_value, found.low, found.high = map(
            float, row[["first", "second", "low", "high"]]
        )
        if ALPHA < pair.least_p < 1:
            found.notes.append(
                f"Too few people differ for any difference to be shown: p is at least {pair.least_p:.2g}."
            )
        if not (one.fixed and other.fixed):
            unknown = ", and the noise floor is not known" if math.isnan(found.noise_floor) else ""
            found.notes.append(f"One draw: two trained models are compared{unknown}.")
    else:
        repeated = len({repeat for repeat, _ in shared.draws}) > 1 and not shared.folds[0].isna().any()
        if repeated and evaluation == "within":
            before, after = shared.by_fold(metric)
            ratio = cells.ratio(
                [row["cell"] for each in (one, other) for row in each.rows.values()], shared.folds[0].nunique()
            )
            test_of, found.method = corrected_t_test(after - before, test_n=ratio, train_n=1), "corrected t"
            found.first_value, found.second_value = float(before.mean()), float(after.mean())
        elif len((confusions := shared.confusions(own_people=own_people))[0]) > 1 and shared.subjects > 1:
            test_of, found.method = crossed_t_test(confusions[0], confusions[1], metric.function), "crossed t"
            found.first_value, found.second_value = (
                float(metric.function(each.sum(axis=1)).mean()) for each in confusions
            )
        else:
            found.notes.append("One subject, or one draw, only: there is no test.")
            return found
        found.p, found.low, found.high, error = test_of.p, test_of.low, test_of.high, test_of.standard_error
    found.difference = found.second_value - found.first_value
    # No variance is not certainty: a difference is known no better than to one sample.
    found.variance = max(error, 1 / shared.samples) ** 2
    return found


def _combine(found: Sequence[Difference]) -> Difference:
    """The combined difference of a pair in one evaluation, over the corpora that it was trained or tested on."""
    first = found[0]
    both = Difference(first.evaluation, ALL, ALL, first.train_subjects, first.first, first.second, method="combined")
    both.first_value, both.second_value = (
        float(np.mean([getattr(each, name) for each in found])) for name in ("first_value", "second_value")
    )
    effects, variances = [each.difference for each in found], [each.variance for each in found]
    places = [{each.train, each.test} - {""} for each in found]
    corpora = set().union(*places)
    if sum(map(len, places)) == len(corpora):
        effect, both.n_corpora = combine(effects, variances), len(found)
    else:
        effect = combine_pairs(effects, variances, [(each.train, each.test) for each in found])
        both.n_corpora = len(corpora)
    both.difference, both.low, both.high, both.p = effect.effect, effect.low, effect.high, effect.p
    both.heterogeneity = effect.i2
    # One model has one draw, on however many corpora it is tested.
    by_train = pd.Series([each.noise_floor for each in found]).groupby([each.train for each in found])
    floors = by_train.agg(lambda each: each.mean(skipna=False)).to_numpy()
    both.noise_floor = float(np.sqrt(np.square(floors).sum()) / len(floors))
    both.notes = [note for note in first.notes if all(note in each.notes for each in found)]
    both.notes.append(f"Between them: τ {100 * effect.tau2**0.5:.1f} points, Q {effect.q:.1f}, p {effect.q_p:.2g}.")
    if first.evaluation == "leave-one-corpus-out":
        both.notes.append("The trainings have corpora in common, so that the interval may be too narrow.")
    if math.isnan(effect.p):
        both.notes.append("A corpus is in every pair: there is no test over corpora.")
    elif not math.isnan(effect.prediction_low):
        low, high = 100 * effect.prediction_low, 100 * effect.prediction_high
        both.notes.append(f"In another such corpus: {low:+.1f} to {high:+.1f} points.")
    elif both.n_corpora == 2:
        both.notes.append("Two corpora say little about a third.")
    return both


def _resolve(rows: Sequence[Difference]) -> None:
    """Set ``p_holm`` and ``resolved`` of rows of single datasets, or of rows over all of them."""
    families: dict[tuple[str, bool], list[Difference]] = {}
    for each in rows:
        if not math.isnan(each.p):
            families.setdefault((each.evaluation, each.first[1] == each.second[1]), []).append(each)
    for family in families.values():
        for each, p in zip(family, holm(np.array([each.p for each in family])), strict=True):
            each.p_holm = float(p)
            unknown = math.isnan(each.noise_floor) and each.test == ALL
            each.resolved = bool(p <= ALPHA and (unknown or abs(each.difference) > each.noise_floor))
