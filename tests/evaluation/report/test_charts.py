import numpy as np
import pandas as pd
import pytest

from fer_cli.evaluation.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MARKERS,
    RIGHT,
    TOP,
    WIDTH,
    history,
    reliability,
    scatter,
)


def places(line) -> np.ndarray:
    return np.array([[float(number) for number in pair.split(",")] for pair in line.points.split()])


def test_a_reliability_bar_stands_at_its_bin_as_high_as_it_is_right():
    bins = pd.DataFrame(
        {
            "low": [0.0, 0.5],
            "high": [0.5, 1.0],
            "count": [0, 8],
            "confidence": [np.nan, 0.9],
            "accuracy": [np.nan, 0.75],
        }
    )
    chart = reliability(bins, 0.15)
    (bar,) = chart.bars
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    assert bar.x == pytest.approx(LEFT + across / 2)
    assert bar.width == pytest.approx(across / 2)
    assert bar.height == pytest.approx(0.75 * up)
    assert bar.y + bar.height == pytest.approx(HEIGHT - BOTTOM)
    assert "8 of 8 faces, accuracy 75.0%" in bar.title
    ideal, confidence = chart.lines
    assert places(ideal).tolist() == [[LEFT, HEIGHT - BOTTOM], [WIDTH - RIGHT, TOP]]
    assert places(confidence)[:, 1] == pytest.approx(HEIGHT - BOTTOM - 0.9 * up)
    assert "15.0%" in chart.description


def test_the_history_of_one_run_is_a_line_for_training_and_one_for_validation():
    table = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [3.0, np.nan], "val_accuracy": [0.0, 1.0]})
    loss, accuracy = history([("first", table)])
    assert [line.title for line in loss.lines] == ["training, first", "validation, first"]
    assert places(loss.lines[0])[0, 1] < places(loss.lines[0])[1, 1]
    assert len(places(loss.lines[1])) == 1
    assert places(accuracy.lines[0]).tolist() == [[LEFT, HEIGHT - BOTTOM], [WIDTH - RIGHT, TOP]]


def test_of_several_runs_there_is_a_mean_over_the_epochs_that_all_have():
    one = pd.DataFrame({"epoch": [1, 2, 3], "loss": 1.0, "val_loss": 1.0, "val_accuracy": [0.2, 0.4, 0.9]})
    other = pd.DataFrame({"epoch": [1, 2], "loss": 2.0, "val_loss": 2.0, "val_accuracy": [0.4, 0.8]})
    accuracy = history([("fold0", one), ("fold1", other)])[1]
    mean = accuracy.lines[-1]
    assert mean.title == "validation, mean of 2 runs"
    up = HEIGHT - TOP - BOTTOM
    assert places(mean)[:, 1] == pytest.approx([HEIGHT - BOTTOM - 0.3 * up, HEIGHT - BOTTOM - 0.6 * up], abs=0.01)
    assert [line.style for line in accuracy.lines] == ["val one", "val one", "val"]


def test_everything_lies_inside_the_chart():
    table = pd.DataFrame({"epoch": [1], "loss": [0.0], "val_loss": [1e6], "val_accuracy": [1.0]})
    for chart in history([("first", table)]):
        for line in chart.lines:
            x, y = places(line).T
            assert (x >= LEFT).all()
            assert (x <= WIDTH - RIGHT).all()
            assert (y >= TOP).all()
            assert (y <= HEIGHT - BOTTOM).all()


def test_every_group_of_a_map_has_a_look_of_its_own():
    groups = [f"S{number:02d}" for number in range(20)]
    drawn = scatter("t", "d", np.random.default_rng(0).random((20, 2)), groups, ["fear"] * 20)
    assert len({(mark.colour, mark.marker) for mark in drawn.marks}) == 20
    assert {name for *_, name in drawn.legend} == set(groups)
    assert {mark.marker for mark in drawn.marks} == set(range(MARKERS))
    assert drawn.marks[3].title == "S03: fear"
    for mark in drawn.marks:
        assert 0 < mark.x < drawn.width
        assert 0 < mark.y < drawn.height


def test_a_map_keeps_distances_in_proportion_and_up_is_up():
    drawn = scatter("t", "d", np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5]]), ["a", "b", "c"], [""] * 3)
    origin, right, up = drawn.marks
    assert right.x - origin.x == pytest.approx(2 * (origin.y - up.y), abs=0.2)
    assert up.x == origin.x
    assert right.y == origin.y


def test_too_many_groups_have_no_legend():
    points = np.random.default_rng(0).random((70, 2))
    assert not scatter("t", "d", points, [str(number) for number in range(70)], [""] * 70).legend
