import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.dataset.pairing import assign_folds
from fer_cli.errors import DatasetError, UsageError

CLASSES = ("anger", "fear", "happiness")


def of_each(subjects: int) -> list[tuple[str, str]]:
    return [(f"S{number:03d}", label) for number in range(subjects) for label in CLASSES]


def test_id_step_deals_sorted_subjects_out_in_turn():
    folds = assign_folds(of_each(7), 3, "id-step")
    assert [folds[f"S{number:03d}"] for number in range(7)] == [0, 1, 2, 0, 1, 2, 0]


@given(
    subjects=st.integers(6, 30),
    folds=st.integers(3, 6),
    rule=st.sampled_from(["id-step", "stratified-group"]),
    data=st.data(),
)
def test_every_subject_has_one_fold_whatever_the_order_of_the_samples(subjects, folds, rule, data):
    samples = of_each(subjects)
    assigned = assign_folds(samples, folds, rule)
    assert set(assigned) == {subject for subject, _ in samples}
    assert set(assigned.values()) == set(range(folds))
    assert assign_folds(data.draw(st.permutations(samples)), folds, rule) == assigned


def test_stratified_group_balances_a_rare_class():
    samples = of_each(12) + [(f"S{number:03d}", "contempt") for number in (0, 1, 2)]
    folds = assign_folds(samples, 3, "stratified-group")
    assert {folds[f"S{number:03d}"] for number in (0, 1, 2)} == {0, 1, 2}


def test_a_class_shown_by_fewer_subjects_than_folds_is_refused_with_what_would_do():
    samples = [*of_each(10), *((f"S{number:03d}", "contempt") for number in range(4))]
    with pytest.raises(DatasetError) as caught:
        assign_folds(samples, 5, "id-step")
    assert "contempt by 4" in caught.value.message
    assert "--folds 4" in caught.value.hint
    assert "--classes anger,fear,happiness" in caught.value.hint


def test_two_folds_leave_nothing_to_train_on():
    with pytest.raises(UsageError, match="at least 3"):
        assign_folds(of_each(5), 2, "id-step")
