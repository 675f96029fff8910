from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from fer_cli.benchmark.comparisons import ALL, COMPARISON_COLUMNS, compare_cells
from fer_cli.errors import UsageError
from fer_cli.evaluation.meta_analysis import combine
from fer_cli.evaluation.metrics import LabelledPredictions
from fer_cli.evaluation.significance import compare_pair, corrected_t_test, holm
from tests.benchmark.made_cells import CLASSES, METRIC, Made, recall


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


def compared(made: Made, **places: object) -> pd.DataFrame:
    """The rows of the comparison at these places."""
    table = compare_cells(made.results, made.predictions, METRIC)
    assert list(table.columns) == list(COMPARISON_COLUMNS)
    for name, value in places.items():
        table = table[table[name] == value]
    return table.reset_index(drop=True)


def test_one_draw_is_compared_by_exchanging_people(made):
    tables = [made.cell("one"), made.cell("two", skill=0.75)]
    row = compared(made).iloc[0]
    one, two = (LabelledPredictions.of(table, CLASSES, with_probabilities=False) for table in tables)
    pair = compare_pair(one, two).metrics.loc[METRIC]
    assert (row["first"], row["second"], row["method"]) == ("one", "two", "exchange")
    assert row["difference"] == pytest.approx(recall(tables[1]) - recall(tables[0]))
    assert row["difference"] == pytest.approx(row["second_value"] - row["first_value"])
    assert (row["low"], row["high"], row["p"]) == pytest.approx((pair["low"], pair["high"], pair["p"]))


def test_of_one_draw_the_noise_floor_is_not_known_and_nothing_is_resolved(made):
    made.cell("one", skill=0.4)
    made.cell("two", skill=0.9)
    row = compared(made).iloc[0]
    assert row["p_holm"] < 0.01
    assert np.isnan(row["noise_floor"])
    assert not row["resolved"]
    assert "noise floor is not known" in row["notes"]


def test_repeated_folds_have_the_corrected_t_of_their_folds(made):
    for repeat in range(3):
        made.cell("one", repeat=repeat)
        made.cell("two", skill=0.7, repeat=repeat)
    row = compared(made).iloc[0]
    results = made.results
    folds = results[results["fold"].notna()].pivot(index=["repeat", "fold"], columns="recipe", values=METRIC)
    differences = (folds["two"] - folds["one"]).to_numpy(float)
    expected = corrected_t_test(differences, test_n=1, train_n=4)
    assert row["method"] == "corrected t"
    assert len(differences) == 15
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["p"], row["low"], row["high"]) == pytest.approx((expected.p, expected.low, expected.high))


def test_seeds_are_averaged_before_folds_are_counted(made):
    for repeat in range(2):
        for seed in range(2):
            made.cell("one", repeat=repeat, seed=seed)
            made.cell("two", skill=0.7, repeat=repeat, seed=seed)
    results = made.results
    folds = results[results["fold"].notna()].pivot_table(
        index=["repeat", "fold"], columns="recipe", values=METRIC, aggfunc="mean"
    )
    expected = corrected_t_test((folds["two"] - folds["one"]).to_numpy(float), test_n=1, train_n=4)
    assert compared(made).iloc[0]["p"] == pytest.approx(expected.p)


def test_the_noise_floor_is_the_spread_of_two_single_draws(made):
    for repeat in range(4):
        made.cell("one", repeat=repeat, noise=repeat)
        made.cell("two", skill=0.7, repeat=repeat, noise=repeat)
    pooled = made.results[made.results["fold"].isna()]
    spreads = pooled.groupby("recipe")[METRIC].std()
    row = compared(made).iloc[0]
    assert row["noise_floor"] == pytest.approx(1.959964 * (spreads**2).sum() ** 0.5)


def test_a_difference_within_the_noise_floor_is_not_resolved(made):
    # The first recipe's draws differ much more than the two recipes do, by the same amount in every draw.
    for repeat, skill in enumerate((0.3, 0.5, 0.7, 0.9)):
        made.cell("one", skill=skill, repeat=repeat)
        made.cell("two", skill=skill + 0.1, repeat=repeat)
    row = compared(made).iloc[0]
    assert row["p_holm"] < 0.05
    assert row["difference"] < row["noise_floor"]
    assert not row["resolved"]


def test_a_difference_above_the_noise_floor_is_resolved(made):
    for repeat in range(3):
        made.cell("one", skill=0.4, repeat=repeat)
        made.cell("two", skill=0.8, repeat=repeat)
    assert compared(made).iloc[0]["resolved"]


def test_seeds_on_the_same_samples_have_the_crossed_t(made):
    for seed in range(3):
        for recipe, skill in (("one", 0.5), ("two", 0.6)):
            made.cell(recipe, skill=skill, evaluation="cross-corpus", train="posed", seed=seed)
    row = compared(made).iloc[0]
    assert row["method"] == "crossed t"
    assert np.isfinite([row["p"], row["low"], row["high"], row["noise_floor"]]).all()


def test_over_corpora_the_effect_is_combined(made):
    names = ("acted", "wild", "posed", "held")
    for name in names:
        for repeat in range(2):
            made.cell("one", name, skill=0.5, repeat=repeat)
            made.cell("two", name, skill=0.7, repeat=repeat)
    table = compared(made)
    single, row = table[table["test"] != ALL], table[table["test"] == ALL].iloc[0]
    # The variance is the interval's: its half width over t of 9 degrees of freedom.
    variances = ((single["high"] - single["low"]) / 2 / 2.262157) ** 2
    expected = combine(single["difference"], variances)
    assert (row["method"], row["n_corpora"], row["train"]) == ("combined", 4, ALL)
    assert row["difference"] == pytest.approx(expected.effect)
    assert (row["low"], row["high"], row["p"]) == pytest.approx((expected.low, expected.high, expected.p), rel=1e-4)
    assert row["heterogeneity"] == pytest.approx(expected.i2, abs=1e-6)
    assert row["p_holm"] == row["p"]
    assert row["resolved"]
    assert "In another such corpus" in row["notes"]


def test_corpora_that_are_trained_on_and_tested_on_are_left_out_one_at_a_time(made):
    names = ("acted", "wild", "posed")
    for train, test in permutations(names, 2):
        made.cell("one", test, evaluation="cross-corpus", train=train)
        made.cell("two", test, evaluation="cross-corpus", train=train, skill=0.75)
    table = compared(made)
    single, row = table[table["test"] != ALL], table[table["test"] == ALL].iloc[0]
    means = [single.loc[(single["train"] != name) & (single["test"] != name), "difference"].mean() for name in names]
    error = (2 / 3 * np.sum((np.array(means) - np.mean(means)) ** 2)) ** 0.5
    assert row["n_corpora"] == 3
    assert row["difference"] == pytest.approx(single["difference"].mean())
    assert row["high"] - row["difference"] >= 4.3026 * error


@pytest.mark.parametrize("pairs", [[("acted", "wild"), ("wild", "acted")], [("acted", "wild"), ("acted", "posed")]])
def test_where_a_corpus_is_in_every_pair_there_is_no_test_over_corpora(made, pairs):
    for train, test in pairs:
        made.cell("one", test, evaluation="cross-corpus", train=train, skill=0.4)
        made.cell("two", test, evaluation="cross-corpus", train=train, skill=0.9)
    row = compared(made, test=ALL).iloc[0]
    assert row["difference"] > 0.3
    assert np.isnan([row["p"], row["p_holm"], row["low"]]).all()
    assert not row["resolved"]
    assert "no test over corpora" in row["notes"]


def test_equal_predictions_are_no_certainty(made):
    for name in ("acted", "wild", "posed"):
        table = made.cell("one", name)
        made.cell("two", name)
        table.to_csv(made.predictions[f"two-none-within-None-{name}-0-0-None"], index=False)
    row = compared(made, test=ALL).iloc[0]
    assert row["difference"] == 0
    assert row["p"] == pytest.approx(1)
    assert row["low"] < 0 < row["high"]


def test_holm_is_over_the_pairs_and_datasets_of_an_evaluation(made):
    for name in ("acted", "wild"):
        for place, recipe in enumerate(("one", "two", "three")):
            made.cell(recipe, name, skill=0.55 + 0.05 * place)
            made.cell(recipe, name, skill=0.6, evaluation="leave-one-corpus-out", train="others")
    table = compared(made, evaluation="within")
    single = table[table["test"] != ALL]
    assert len(single) == 6
    assert single["p_holm"].to_numpy() == pytest.approx(holm(single["p"]))
    combined = table[table["test"] == ALL]
    assert combined["p_holm"].to_numpy() == pytest.approx(holm(combined["p"]))


def test_different_neutral_access_is_compared_apart(made):
    made.cell("single", skill=0.6)
    made.cell("paired", skill=0.7, neutral="given")
    made.cell("paired", skill=0.65, neutral="found")
    made.cell("other", skill=0.5, neutral="given")
    table = compared(made)
    assert len(table) == 6
    alike = table["neutral_first"] == table["neutral_second"]
    assert alike.sum() == 1
    assert table.loc[~alike, "notes"].str.contains("compared, not ranked").all()
    assert table.loc[alike, "p_holm"].to_numpy() == pytest.approx(table.loc[alike, "p"])
    assert table.loc[~alike, "p_holm"].to_numpy() == pytest.approx(holm(table.loc[~alike, "p"]))


def test_only_samples_of_both_are_compared(made):
    one, two = made.cell("one"), made.cell("two", skill=0.7, only=0.5)
    row = compared(made).iloc[0]
    both = one.merge(two, on="file_name", suffixes=("", "_two"))
    assert row["first_value"] == pytest.approx(recall(both))
    assert "60 of 120 samples were predicted by both" in row["notes"]


def test_what_was_trained_elsewhere_is_compared_with_every_draw(made):
    for repeat in range(3):
        made.cell("network", skill=0.6, repeat=repeat)
    made.cell("packaged", skill=0.9, evaluation="predictions", train="")
    made.cell("tool", skill=0.5, evaluation="predictions", train="")
    within, elsewhere = compared(made, evaluation="within"), compared(made, evaluation="predictions")
    assert within[["first", "second"]].to_numpy().tolist() == [["network", "packaged"], ["network", "tool"]]
    assert (within["method"] == "corrected t").all()
    assert within["notes"].str.contains("was trained elsewhere").all()
    assert within.iloc[0]["resolved"]
    # Nothing was drawn: the floor is none, and the exchange test decides.
    row = elsewhere.iloc[0]
    assert (row["method"], row["noise_floor"], row["resolved"]) == ("exchange", 0, True)


def test_sizes_of_a_learning_curve_are_compared_apart(made):
    for size in (5, 10):
        for repeat in range(2):
            made.cell("one", evaluation="learning-curve", train_subjects=size, repeat=repeat)
            made.cell("two", evaluation="learning-curve", train_subjects=size, repeat=repeat, skill=0.7)
    table = compared(made)
    assert table["train_subjects"].tolist() == [5, 10]
    assert (table["method"] == "crossed t").all()


def test_draws_of_a_learning_curve_that_test_people_of_their_own_are_all_compared(made):
    """Each draw tests its own fold 0: with five folds two draws have a twenty-fifth of the people in common."""
    tested, values = [], []
    for repeat in (0, 1):
        for seed in (0, 1):
            for name, skill in (("one", 0.4), ("two", 0.8)):
                place = {"evaluation": "learning-curve", "train_subjects": 5, "repeat": repeat, "seed": seed}
                table = made.cell(name, skill=skill, **place)
                own = table[table["fold"] == 0]
                own.to_csv(made.predictions[f"{name}-none-learning-curve-None-acted-{repeat}-{seed}-5"], index=False)
                made.rows[-1] |= {"n": len(own), METRIC: recall(own)}
                tested.append(set(own["subject"]))
                values.append(recall(own))
    assert len(set.intersection(*tested)) < len(tested[0]) < len(set.union(*tested))
    [row] = compared(made).to_dict("records")
    assert row["method"] == "crossed t"
    # Of all that was tested, not of what is common: the mean over the draws.
    assert row["difference"] == pytest.approx(np.mean(values[1::2]) - np.mean(values[::2]))
    assert row["low"] < row["difference"] < row["high"]


def test_rows_without_predictions_in_common_say_why(made):
    made.cell("one")
    made.cell("two")
    made.cell("three", repeat=1)
    made.predictions.popitem()
    made.rows.append({**made.rows[0], "recipe": "failed", "status": "failed", METRIC: None})
    table = compared(made)
    assert set(table["first"]) | set(table["second"]) == {"one", "two", "three"}
    without = table[table["method"] == "none"]
    assert len(without) == 2
    assert without["difference"].isna().all()
    assert without["notes"].str.contains("no predictions of both").all()
    assert not without["resolved"].any()


def test_labels_that_disagree_are_not_compared(made):
    made.cell("one")
    table = made.cell("two").assign(label="anger")
    table.to_csv(made.predictions["two-none-within-None-acted-0-0-None"], index=False)
    assert "disagree on the labels" in compared(made).iloc[0]["notes"]


def test_a_benchmark_of_one_recipe_has_nothing_to_compare(made):
    made.cell("one")
    assert compared(made).empty


def test_a_metric_that_is_not_compared_is_refused(made):
    made.cell("one")
    with pytest.raises(UsageError, match="roc_auc is not a metric that is compared"):
        compare_cells(made.results, made.predictions, "roc_auc")


def test_the_smallest_p_stays_below_the_level_however_many_pairs_there_are(made, monkeypatch):
    monkeypatch.setattr("fer_cli.benchmark.comparisons.EXCHANGES", 19)
    for number in range(5):
        for name in ("acted", "wild"):
            made.cell(f"recipe{number}", name, skill=0.1 + 0.2 * number)
    single = compared(made)[lambda table: table["test"] != ALL]
    assert len(single) == 20
    assert single["p_holm"].min() <= 0.025
