import numpy as np
import pandas as pd
import pytest

from fer_cli.evaluation import bootstrap
from fer_cli.evaluation.bootstrap import REPETITIONS, interval, resample, units


def test_rows_of_a_subject_are_one_unit_and_rows_of_nobody_each_their_own():
    found = units(pd.Series(["A", None, "B", "A", None], dtype="string"))
    assert found.tolist() == [0, 2, 1, 0, 3]
    assert sorted(set(found)) == list(range(4))


def test_each_draw_is_of_as_many_units_as_there_are():
    draws = resample(lambda draws: {"draws": draws}, 5)["draws"]
    assert draws.shape == (REPETITIONS, 5)
    assert (draws.sum(axis=1) == 5).all()
    # With replacement: nearly every draw leaves somebody out.
    assert (draws == 0).any(axis=1).mean() > 0.9


def test_a_seed_gives_the_same_draws_however_much_room_there_is(monkeypatch):
    once = resample(lambda draws: {"draws": draws}, 7, seed=3)["draws"]
    monkeypatch.setattr(bootstrap, "_ROOM", 100)
    assert np.array_equal(once, resample(lambda draws: {"draws": draws}, 7, seed=3)["draws"])
    assert not np.array_equal(once, resample(lambda draws: {"draws": draws}, 7, seed=4)["draws"])


def test_the_interval_is_the_middle_of_what_is_known():
    values = np.column_stack([np.arange(101.0), np.r_[np.full(50, np.nan), np.arange(51.0)], np.full(101, np.nan)])
    low, high = interval(values)
    assert low[:2].tolist() == pytest.approx([2.5, 1.25])
    assert high[:2].tolist() == pytest.approx([97.5, 48.75])
    assert np.isnan([low[2], high[2]]).all()


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(0, 1, 400)
    low, high = interval(resample(lambda draws: {"mean": draws @ values / 400}, 400)["mean"])
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
