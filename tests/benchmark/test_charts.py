"""Charts of a benchmark: where forest plots, heat maps and learning curves have their marks."""

import math
from itertools import pairwise

import pandas as pd
import pytest

from fer_cli.benchmark import charts
from fer_cli.benchmark.charts import EDGE, STRIP_WIDTH, Axis, differences, heat_maps, learning_curves
from fer_cli.benchmark.results import DEFAULT_METRIC, results_table
from fer_cli.evaluation.metrics import METRICS
from tests.benchmark.made_results import made_cell, made_comparisons, made_result, made_results

METRIC = METRICS[DEFAULT_METRIC]


def row(difference=0.05, low=0.01, high=0.09, noise_floor=0.02, test="acted", resolved=True, **others):
    return {
        **{"evaluation": "within", "train": "acted", "test": test, "train_subjects": math.nan, "first": "baseline"},
        **{"second": "difference", "neutral_first": "none", "neutral_second": "none", "metric": DEFAULT_METRIC},
        **{"difference": difference, "low": low, "high": high, "p": 0.01, "p_holm": 0.02, "method": "exchange"},
        **{"noise_floor": noise_floor, "resolved": resolved, "heterogeneity": math.nan, "n_corpora": "1", "notes": ""},
        **others,
    }


def test_a_strip_has_its_mark_between_the_ends_of_its_interval_and_the_floor_around_zero():
    table = pd.DataFrame([row(), row(-0.1, -0.2, 0.0)])
    axis = Axis.of(table, METRIC)
    strip = axis.strip(row())
    (low, high), (left, right) = strip.line, strip.floor
    assert low < strip.mark < high
    assert (low + high) / 2 == pytest.approx(strip.mark, abs=0.1)
    assert (left + right) / 2 == pytest.approx(axis.zero, abs=0.1)
    assert axis.zero < low
    assert [place for place, _ in axis.ticks] == sorted(place for place, _ in axis.ticks)
    assert {name: place for place, name in axis.ticks}["0"] == axis.zero
    assert axis.ticks[0][0] == EDGE
    assert axis.ticks[-1][0] == STRIP_WIDTH - EDGE
    assert (strip.combined, axis.strip(row(test="(all)")).combined) == (False, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_missing_is_not_drawn(value):
    table = pd.DataFrame([row(value, value, value, value)])
    strip = Axis.of(table, METRIC).strip(row(value, value, value, value))
    assert (strip.mark, strip.line, strip.floor) == (None, None, None)


def test_nothing_is_drawn_outside_its_strip():
    axis = Axis.of(pd.DataFrame([row()]), METRIC)
    strip = axis.strip(row(1e9, -1e9, 1e9))
    assert (strip.mark, *strip.line) == (STRIP_WIDTH, 0, STRIP_WIDTH)


def test_the_reference_is_what_is_taken_away_and_comes_first():
    rows = [
        row(0.01, -0.02, 0.04, first="a", second="b"),
        row(-0.05, -0.09, -0.01, first="a", second="baseline", resolved=False),
        row(0.02, -0.03, 0.07, first="baseline", second="c", neutral_second="given"),
    ]
    (part,) = differences(pd.DataFrame(rows), METRIC)
    assert [(name, [(pair["second"], pair["first"]) for pair in pairs]) for name, pairs in part["groups"]] == [
        ("Compared with baseline", [("a (none)", "baseline (none)")]),
        (f"Compared with baseline, {charts.UNLIKE}", [("c (given)", "baseline (none)")]),
        ("All other pairs", [("b (none)", "a (none)")]),
    ]
    head = part["groups"][0][1][0]["head"]
    assert (head["difference"], head["interval"], head["verdict"]) == ("+5.0", "+1.0 to +9.0", "not resolved")


def test_a_combined_difference_stands_for_its_pair_and_the_corpora_are_below():
    rows = [row(test="acted"), row(test="wild"), row(test="(all)", train="(all)", heterogeneity=0.41, n_corpora="2")]
    (part,) = differences(pd.DataFrame(rows), METRIC)
    (pair,) = part["groups"][0][1]
    assert (pair["head"]["where"], pair["head"]["heterogeneity"], pair["head"]["corpora"]) == (
        "all together",
        "41%",
        "2",
    )
    assert [each["where"] for each in pair["rows"]] == ["acted", "acted → wild", "all together"]


def test_of_a_learning_curve_the_most_subjects_stand_for_the_pair():
    rows = [row(0.01 * count, test="(all)", train_subjects=float(count)) for count in (40, 5, 10)]
    (part,) = differences(pd.DataFrame(rows), METRIC)
    (pair,) = part["groups"][0][1]
    assert (pair["head"]["subjects"], pair["head"]["difference"]) == ("40 subjects", "+40.0")
    assert [each["subjects"] for each in pair["rows"]] == ["5 subjects", "10 subjects", "40 subjects"]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "resolved"),
        ({"resolved": False, "noise_floor": 0.06}, "within the noise floor"),
        ({"resolved": False}, "not resolved"),
        ({"resolved": False, "noise_floor": math.nan}, "not resolved"),
        ({"resolved": False, "difference": math.nan}, "no number"),
    ],
)
def test_a_difference_says_whether_it_is_one(changes, verdict):
    (part,) = differences(pd.DataFrame([row(**changes)]), METRIC)
    assert part["groups"][0][1][0]["head"]["verdict"] == verdict


def test_a_page_has_so_many_differences_and_says_that_there_are_more(monkeypatch):
    table = made_comparisons(results_table(made_results(("a", "b", "c"))))
    assert not any(part["cut"] for part in differences(table.astype({"n_corpora": str}), METRIC))
    monkeypatch.setattr(charts, "MOST_DIFFERENCES", 5)
    found = differences(table.astype({"n_corpora": str}), METRIC)
    pairs = [pair for part in found for _, group in part["groups"] for pair in group]
    assert sum(len(pair["rows"]) for pair in pairs) <= 5
    assert found[0]["cut"]
    assert all(pair["head"] for pair in pairs)


def test_a_heat_map_has_within_on_the_diagonal_and_all_others_below():
    maps, (low, high) = heat_maps(results_table(made_results(("a", "b", "c"))), METRIC)
    assert [(each.recipe, each.neutral) for each in maps] == [
        ("baseline", "none"),
        ("difference", "found"),
        ("difference", "given"),
    ]
    tiles = [tile for each in maps for _, of in each.rows for tile in of]
    assert {tile.share for tile in tiles} >= {0.0, 1.0}
    assert all(0 <= tile.share <= 1 for tile in tiles)
    assert {tile.text for tile in tiles if tile.share == 0} == {low}
    assert {tile.text for tile in tiles if tile.share == 1} == {high}
    for each in maps:
        assert [name for name, _ in each.rows] == ["a", "b", "c", "all others"]
        assert [[tile.within for tile in of] for _, of in each.rows[:3]] == [
            [True, False, False],
            [False, True, False],
            [False, False, True],
        ]


def test_a_recipe_that_was_not_trained_has_no_heat_map():
    results = [
        made_result(made_cell("run", "predictions", (), "a")),
        made_result(made_cell("alone", "within", ("a",), "a")),
        made_result(made_cell("one", "cross-corpus", ("a",), "b"), reason="diverged"),
    ]
    (found,), _ = heat_maps(results_table(results), METRIC)
    assert found.recipe == "one"
    assert found.tests == ("a", "b")
    assert [[tile and tile.text for tile in of] for _, of in found.rows] == [[None, "failed"]]


def test_a_learning_curve_rises_from_left_to_right_and_has_one_colour_in_all_charts():
    found = learning_curves(results_table(made_results(("a", "b"), subjects=(20, 5, 10))), METRIC)
    assert [chart.title for chart in found] == [
        *("a, neutral none", "a, neutral found", "a, neutral given"),
        *("b, neutral none", "b, neutral found", "b, neutral given"),
    ]
    for chart in found:
        assert [name for _, name in chart.x_ticks] == ["5", "10", "20"]
        lines = [line for line in chart.lines if line.style != "ideal"]
        assert len(lines) == len(chart.bands) == 1
        places = [tuple(map(float, point.split(","))) for point in lines[0].points.split()]
        assert [x for x, _ in places] == [x for x, _ in chart.x_ticks]
        assert len(chart.bands[0].points.split()) == 6
    styles = {(name, style) for chart in found for style, name in chart.legend}
    assert styles == {("baseline", "s0"), ("difference", "s1"), ("by chance", "ideal")}


def test_one_number_of_subjects_is_a_point_and_none_is_no_chart():
    cell = made_cell(evaluation="learning-curve", train_subjects=5)
    (chart,) = learning_curves(results_table([made_result(cell, 0.5)]), METRIC)
    assert len(chart.marks) == 1
    assert not chart.bands
    assert learning_curves(results_table([made_result(cell, reason="diverged")]), METRIC) == []


def test_labels_that_would_overlap_are_left_off():
    counts = [5, 6, 7, 40, 41, 200, 201]
    cells = [made_cell(evaluation="learning-curve", train_subjects=count) for count in counts]
    (chart,) = learning_curves(results_table([made_result(cell, 0.5) for cell in cells]), METRIC)
    places = [place for place, _ in chart.x_ticks]
    assert all(after - before >= charts.LABEL for before, after in pairwise(places))
    assert chart.x_ticks[-1][1] == "201"
    assert len(chart.marks) == 7
