import pytest

from benchmarks.null import SCENARIOS, rates, repetition


@pytest.mark.parametrize("scenario", ["same recipe", "better recipe"])
def test_trained_recipes_go_through_every_comparison(scenario):
    table = repetition(scenario, 0, corpora=3, draws=2)
    assert set(table["method"]) == {"exchange", "corrected t", "crossed t", "combined"}
    first, second = SCENARIOS[scenario]
    assert (table["first"] == first.name).all()
    assert (table["second"] == second.name).all()
    alarms = table["resolved"] & (table["test"] != "(all)")
    if scenario == "same recipe":
        assert not alarms.any()
    else:
        combined = table[table["method"] == "combined"]
        assert (combined["difference"] > 0).all()
        assert not (table["resolved"] & (table["difference"] < 0)).any()


def test_rates_are_by_evaluation_draws_and_method():
    rows = list(rates(repetition("same recipe", 1, corpora=3, draws=2)))
    assert [row[:5] for row in rows][:2] == [
        ["same recipe", "within", 1, "each", "exchange"],
        ["same recipe", "cross-corpus", 1, "each", "exchange"],
    ]
    assert {row[5] for row in rows} == {1, 3, 6}
