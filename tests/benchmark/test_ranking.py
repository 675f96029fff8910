import pandas as pd
import pytest

from fer_cli.benchmark.comparisons import ALL, compare_cells
from fer_cli.benchmark.ranking import RANK_COLUMNS, not_beating, ranks
from tests.benchmark.made_cells import METRIC, Made


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path, subjects=15)


def compared(made: Made) -> pd.DataFrame:
    return compare_cells(made.results, made.predictions, METRIC)


def ranked(made: Made) -> pd.DataFrame:
    table = ranks(made.results, compared(made))
    assert list(table.columns) == list(RANK_COLUMNS)
    return table


def repeated(made: Made, skills: dict[str, float], test: str = "acted", **others: object) -> None:
    for recipe, skill in skills.items():
        for repeat in range(3):
            made.cell(recipe, test, skill=skill, repeat=repeat, **others)


def test_recipes_that_tests_and_noise_floor_do_not_tell_apart_share_their_ranks(made):
    repeated(made, {"worst": 0.2, "good": 0.7, "as good": 0.71, "hardly better": 0.73})
    table = ranked(made).set_index("recipe")
    assert table.index[-1] == "worst"
    assert table.loc["worst", "rank"] == "4"
    assert table["rank"].drop("worst").tolist() == ["1–3"] * 3
    assert table["value"].is_monotonic_decreasing
    assert (table["recipes"] == 4).all()


def test_clear_differences_are_ranks(made):
    repeated(made, {"middle": 0.5, "best": 0.85, "worst": 0.2})
    assert ranked(made)[["recipe", "rank"]].to_numpy().tolist() == [["best", "1"], ["middle", "2"], ["worst", "3"]]


def test_a_recipe_in_between_overlaps_both_sides(made):
    comparisons = pd.DataFrame(
        [
            {**PLACE, "first": first, "second": second, "difference": difference, "resolved": resolved}
            for first, second, difference, resolved in (
                ("a", "b", 0.02, False),
                ("b", "c", 0.02, False),
                ("a", "c", 0.04, True),
            )
        ]
    )
    for recipe, skill in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        made.cell(recipe, skill=skill)
    table = ranks(made.results, comparisons).set_index("recipe")
    assert table["rank"].to_dict() == {"c": "1–2", "b": "1–3", "a": "2–3"}
    assert table.loc["b", ["low_rank", "high_rank"]].tolist() == [1, 3]


def test_of_one_draw_all_share_a_rank(made):
    for recipe, skill in (("one", 0.3), ("two", 0.9)):
        made.cell(recipe, skill=skill)
    assert ranked(made)["rank"].tolist() == ["1–2", "1–2"]


def test_ranks_are_within_one_neutral_access(made):
    repeated(made, {"one": 0.3, "two": 0.8})
    repeated(made, {"one": 0.4, "two": 0.9}, neutral="given")
    table = ranked(made)
    assert table.groupby("neutral")["rank"].apply(list).to_dict() == {"given": ["1", "2"], "none": ["1", "2"]}


def test_there_are_ranks_over_corpora(made):
    for name in ("acted", "wild", "posed", "held"):
        repeated(made, {"one": 0.3, "two": 0.8}, name)
    table = ranked(made)
    whole = table[table["test"] == ALL]
    assert whole["rank"].tolist() == ["1", "2"]
    mean = table.loc[(table["test"] != ALL) & (table["recipe"] == "two"), "value"].mean()
    assert whole["value"].iloc[0] == pytest.approx(mean)


def test_a_recipe_that_does_not_beat_the_baseline_is_said_not_to(made):
    repeated(made, {"baseline": 0.6, "network": 0.62, "better": 0.95})
    (sentence,) = not_beating(compared(made), ["baseline"])
    assert sentence.startswith("network does not beat baseline on acted, within (")
    assert "points, 95 % interval" in sentence
    assert "noise floor" in sentence


def test_the_sign_is_the_recipes_whichever_stands_first(made):
    repeated(made, {"network": 0.3, "baseline": 0.8})
    (sentence,) = not_beating(compared(made), ["baseline"])
    gap = float(sentence.split("(")[1].split(" points")[0])
    assert gap < -30
    low, high = map(float, sentence.split("interval ")[1].split(",")[0].split(" to "))
    assert low < gap < high


def test_the_best_baseline_of_the_same_access_counts(made):
    repeated(made, {"weak": 0.2}, neutral="none")
    repeated(made, {"strong": 0.6, "network": 0.61}, neutral="given")
    (sentence,) = not_beating(compared(made), ["weak", "strong"])
    assert "does not beat strong" in sentence


def test_a_baseline_that_is_given_more_is_no_measure_of_one_that_is_given_less(made):
    repeated(made, {"baseline": 0.9}, neutral="given")
    repeated(made, {"network": 0.5}, neutral="none")
    assert not_beating(compared(made), ["baseline"]) == []
    repeated(made, {"plain": 0.6}, neutral="none")
    (sentence,) = not_beating(compared(made), ["baseline", "plain"])
    assert "network does not beat plain" in sentence


def test_of_one_draw_a_baseline_is_not_beaten(made):
    made.cell("baseline", skill=0.3)
    made.cell("network", skill=0.9)
    (sentence,) = not_beating(compared(made), ["baseline"])
    assert sentence.startswith("network is not shown to beat baseline")
    assert "noise floor not known" in sentence


PLACE = {
    **{"evaluation": "within", "train": "acted", "test": "acted", "train_subjects": None, "metric": METRIC},
    **{"neutral_first": "none", "neutral_second": "none"},
}
