import numpy as np
import pandas as pd
import pytest

from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.bootstrap import REPETITIONS, SEED
from fer_cli.evaluation.metrics import LabelledPredictions
from fer_cli.evaluation.subgroups import by_group
from tests.evaluation.predictions import CLASSES, random_table


def attributes(**columns) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype="string") for name, values in columns.items()})


def grouped(rows, given):
    return by_group(LabelledPredictions.of(rows, CLASSES), rows["subject"], given)


def halves(subjects: int, first: str = "female", second: str = "male") -> dict[str, str]:
    return {f"P{number:02d}": first if number < subjects // 2 else second for number in range(subjects)}


def test_a_group_has_the_measures_of_its_own_rows():
    rows = random_table(0, subjects=24)
    groups, gaps, notes = grouped(rows, attributes(gender=halves(24)))
    accuracy = groups[groups["measure"] == "accuracy"].set_index("group")
    right = (rows["label"] == rows["predicted"]).groupby(rows["subject"].map(halves(24))).mean()
    assert accuracy["value"].to_dict() == pytest.approx(right.to_dict())
    assert accuracy[["n", "subjects", "small"]].values.tolist() == [[108, 12, False]] * 2
    gap = gaps[gaps["measure"] == "accuracy"].iloc[0]
    assert (gap["group"], gap["other"]) == ("female", "male")
    assert gap["difference"] == pytest.approx(right["female"] - right["male"])
    assert gap["low"] < gap["difference"] < gap["high"]
    assert notes == ()


def test_the_interval_of_a_gap_is_of_seeded_draws_within_each_group():
    rows = random_table(1, subjects=24)
    _, gaps, _ = grouped(rows, attributes(gender=halves(24)))
    by_subject = (rows["label"] == rows["predicted"]).groupby(rows["subject"]).mean().to_numpy().reshape(2, 12)
    means = [
        np.random.default_rng((SEED, 0, place)).multinomial(12, np.full(12, 1 / 12), size=REPETITIONS) @ each / 12
        for place, each in enumerate(by_subject)
    ]
    expected = np.quantile(means[0] - means[1], [0.025, 0.975])
    assert gaps.loc[gaps["measure"] == "accuracy", ["low", "high"]].iloc[0].tolist() == pytest.approx(list(expected))


def test_every_pair_of_groups_has_a_gap():
    given = attributes(age={f"P{number:02d}": "abc"[number % 3] for number in range(12)}, gender=halves(12))
    _, gaps, _ = grouped(random_table(0), given)
    pairs = gaps[["attribute", "group", "other"]].drop_duplicates().values.tolist()
    assert pairs == [["age", "a", "b"], ["age", "a", "c"], ["age", "b", "c"], ["gender", "female", "male"]]


def test_groups_that_are_too_small_are_marked_and_told_with_numbers():
    members = {f"P{number:02d}": "many" if number < 11 else "few" for number in range(12)}
    groups, gaps, notes = grouped(random_table(0), attributes(kind=members))
    assert groups.groupby("group")["small"].first().to_dict() == {"few": True, "many": False}
    assert [note for note in notes if "few: 1 subjects and 9 samples" in note]
    # Of one person nothing is known of how people differ.
    assert gaps[["low", "high"]].isna().all(axis=None)
    one_frame = random_table(0, frames=1)
    _, _, notes = grouped(one_frame[one_frame["label"] == "fear"], attributes(kind=dict.fromkeys(members, "all")))
    assert [note for note in notes if "12 subjects and 12 samples" in note]


def test_who_is_in_no_group_is_counted():
    known = {name: group for name, group in halves(12).items() if name != "P03"}
    _, _, notes = grouped(random_table(0), attributes(gender=known))
    assert [note for note in notes if note.startswith("9 samples are in no group") and "P03" in note]


def test_a_table_of_other_people_is_refused_with_both_sides():
    with pytest.raises(DatasetError, match=r"Tested: P00, .*In the table: 1, 2"):
        grouped(random_table(0), attributes(gender={"1": "female", "2": "male"}))


def test_a_measurement_is_no_way_to_group():
    ages = {f"P{number:02d}": str(20 + number) for number in range(21)}
    with pytest.raises(UsageError, match="21 values are too many"):
        grouped(random_table(0, subjects=21), attributes(age=ages))


def test_case_28_a_subject_that_excel_spelled_is_matched_and_told():
    rows = random_table(0).assign(subject=lambda rows: rows["subject"].str.replace("P", "0"))
    excel = {name.replace("P", "").lstrip("0") or "0": group for name, group in halves(12).items()}
    _, _, notes = grouped(rows, attributes(gender=excel))
    assert any("spelled otherwise" in note and "0 is read as 000" in note for note in notes)
    assert not any("in no group" in note for note in notes)


def test_case_28_subjects_that_are_not_in_the_table_are_told_with_examples_of_both_sides():
    given = attributes(gender={**halves(12), "X1": "female"})
    rows = random_table(0)
    rows["subject"] = rows["subject"].replace("P00", "Q00")
    _, _, notes = grouped(rows, given)
    told = next(note for note in notes if "in no group" in note)
    assert "(Q00)" in told
    assert "P00" in told
    assert "X1" in told
