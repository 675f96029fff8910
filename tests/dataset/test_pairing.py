from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.corpora.base import Frame, Sequence, Still
from fer_cli.dataset.pairing import assign_folds, pair, unpaired
from fer_cli.errors import DatasetError, UsageError
from fer_cli.labels import CLASS_SETS, EXPRESSIONS


def sequence(subject: str, number: int, label: str | None, frames: int = 5) -> Sequence:
    pictures = tuple(Frame(Path(f"{subject}/{number}/{frame}.png")) for frame in range(frames))
    return Sequence(subject, str(number), pictures, label, 0, tuple(range(frames - 3, frames)), "last 3 frames")


def still(subject: str | None, label: str, take: int = 0, view: str | None = None, session: str | None = None) -> Still:
    return Still(Frame(Path(f"{subject}-{label}-{take}-{view}-{session}.png")), label, subject, None, view, session)


def compared(pairing, role: str = "apex") -> dict[Frame, Frame | None]:
    return {sample.frame: sample.neutral for sample in pairing.samples if sample.role == role}


def test_apex_frames_are_compared_with_their_own_sequences_first_frame():
    record = sequence("S1", 1, "anger")
    samples = pair([record], CLASS_SETS["7-contempt"]).samples
    apexes = [sample for sample in samples if sample.role == "apex"]
    assert [sample.frame for sample in apexes] == list(record.frames[2:])
    assert {sample.neutral for sample in apexes} == {record.frames[0]}
    assert [sample.frame for sample in samples if sample.role == "neutral"] == [record.frames[0]]


def test_a_sequence_without_a_label_is_skipped_by_rule_and_is_not_neutral():
    pairing = pair([sequence("S1", 1, None)], CLASS_SETS["8"])
    assert pairing.samples == []
    assert [(entry.reason, entry.fault) for entry in pairing.skipped] == [("no emotion label", False)]


def test_a_label_outside_the_class_set_is_skipped_and_counted():
    pairing = pair([sequence("S1", 1, "contempt"), sequence("S1", 2, "anger")], CLASS_SETS["6"])
    assert {sample.label for sample in pairing.samples if sample.role == "apex"} == {"anger"}
    assert [entry.reason for entry in pairing.skipped] == ["contempt is not among the classes"]


def test_where_neutral_is_a_class_it_is_compared_with_another_neutral_frame():
    records = [sequence("S1", 1, "anger"), sequence("S1", 2, "fear"), sequence("S2", 1, "fear")]
    pairing = pair(records, CLASS_SETS["7-neutral"])
    resting = {sample.frame: sample.neutral for sample in pairing.samples if sample.role == "neutral"}
    first, second, only = (record.frames[0] for record in records)
    assert resting == {first: second, second: first, only: None}
    # The apexes too: were they compared within their sequence, that alone would tell them from neutral.
    apexes = compared(pairing)
    for record, other in zip(records, (second, first, None), strict=True):
        assert {apexes[record.frames[index]] for index in record.apexes} == {other}
    assert [entry.reason for entry in pairing.skipped] == ["no second neutral picture of this subject (unpaired)"]


def test_a_still_is_compared_with_its_subjects_neutral_still():
    records = [still("A", "happiness"), still("A", "neutral"), still("B", "happiness")]
    pairing = pair(records, ("happiness", "neutral"))
    neutral_of = {sample.frame: sample.neutral for sample in pairing.samples if sample.label == "happiness"}
    assert neutral_of == {records[0].frame: records[1].frame, records[2].frame: None}


def of_sessions(*sessions: str, label: str, view: str | None = None) -> list[Still]:
    return [still("A", label, view=view, session=session) for session in sessions]


def test_without_neutral_as_a_class_a_still_is_compared_within_its_session_and_view():
    happy = [*of_sessions("1", "2", "3", label="happiness", view="S"), *of_sessions("1", label="happiness", view="HL")]
    neutral = of_sessions("1", "2", label="neutral", view="S")
    pairing = pair([*happy, *neutral], ("fear", "happiness"))
    assert list(compared(pairing).values()) == [neutral[0].frame, neutral[1].frame, None, None]
    assert {entry.reason for entry in pairing.skipped} == {
        "no neutral picture of this subject under the same conditions (unpaired)"
    }


def test_with_neutral_as_a_class_every_still_is_compared_with_another_session_of_its_view():
    happy, neutral = (of_sessions("1", "2", "3", label=label, view="S") for label in ("happiness", "neutral"))
    elsewhere = of_sessions("1", label="neutral", view="HL")
    pairing = pair([*happy, *neutral, *elsewhere], ("happiness", "neutral"))
    round_ = [neutral[1].frame, neutral[2].frame, neutral[0].frame]
    assert list(compared(pairing).values()) == round_
    assert list(compared(pairing, "neutral").values()) == [*round_, None]
    assert [entry.path for entry in pairing.skipped] == [str(elsewhere[0].frame.path)]


def test_a_session_with_the_only_neutral_picture_leaves_its_own_stills_unpaired():
    happy = of_sessions("1", "2", label="happiness")
    [neutral] = of_sessions("1", label="neutral")
    pairing = pair([*happy, neutral], ("happiness", "neutral"))
    assert list(compared(pairing).values()) == [None, neutral.frame]
    assert compared(pairing, "neutral") == {neutral.frame: None}


def test_stills_without_sessions_are_all_compared_with_the_same_pictures_in_turn():
    classes = ("fear", "happiness", "neutral")
    takes = {label: [still("A", label, take) for take in range(3)] for label in classes}
    pairing = pair([record for records in takes.values() for record in records], classes)
    first, second, third = (record.frame for record in takes["neutral"])
    found = compared(pairing) | compared(pairing, "neutral")
    for records in takes.values():
        assert [found[record.frame] for record in records] == [second, third, first]


def test_neutral_pictures_of_one_take_are_not_compared_with_each_other():
    neutral = [still("A", "neutral", take, session=session) for session, take in (("1", 0), ("1", 1), ("2", 0))]
    pairing = pair([*neutral, still("A", "fear")], ("fear", "neutral"))
    assert list(compared(pairing, "neutral").values()) == [neutral[2].frame, neutral[2].frame, neutral[0].frame]


def test_stills_without_a_subject_are_kept_unpaired():
    [sample] = pair([still(None, "fear")], CLASS_SETS["6"]).samples
    assert sample.neutral is None
    assert sample.subject is None


def test_unpaired_samples_are_of_the_classes_and_compared_with_nothing():
    samples = unpaired(pair([sequence("S1", 1, "anger")], CLASS_SETS["6"]).samples, CLASS_SETS["6"])
    assert [(sample.label, sample.neutral) for sample in samples] == [("anger", None)] * 3


records = st.lists(
    st.one_of(
        st.builds(
            sequence,
            st.sampled_from("ABC"),
            st.integers(0, 99),
            st.sampled_from([None, *EXPRESSIONS]),
            st.integers(4, 7),
        ),
        st.builds(
            still,
            st.sampled_from(["A", "B", None]),
            st.sampled_from(EXPRESSIONS),
            st.integers(0, 3),
            st.sampled_from(["S", "HL"]),
            st.sampled_from(["1", "2", "3"]),
        ),
    ),
    max_size=20,
    unique_by=lambda record: record.frames[0] if isinstance(record, Sequence) else record.frame,
)


@given(records, st.sampled_from(list(CLASS_SETS.values())))
def test_the_pairing_says_nothing_of_the_class(records, classes):
    samples = pair(records, classes).samples
    subject_of = {sample.frame: sample.subject for sample in samples}
    # Who was recorded with whom, and from where, by picture.
    take, view = {}, {}
    for record in records:
        for frame in record.frames if isinstance(record, Sequence) else [record.frame]:
            sequence = isinstance(record, Sequence)
            take[frame] = ("sequence", record.sequence) if sequence else ("session", record.session)
            view[frame] = record.view
    for sample in samples:
        assert sample.neutral != sample.frame
        if sample.neutral is not None:
            assert subject_of[sample.neutral] == sample.subject
            assert view[sample.neutral] == view[sample.frame]
            # Of the same take for every class, or for none.
            assert (take[sample.neutral] == take[sample.frame]) == ("neutral" not in classes)


@given(records)
def test_where_neutral_is_a_class_a_take_is_compared_with_one_other(records):
    """An expression is compared with the picture that the neutral one of its own take is compared with."""
    samples = pair(records, CLASS_SETS["8"]).samples
    names = {record.frame: (record.subject, record.view, record.session) for record in records if type(record) is Still}
    names |= {
        frame: (record.subject, record.sequence)
        for record in records
        if type(record) is Sequence
        for frame in record.frames
    }
    resting = {}
    for sample in samples:
        if sample.role == "neutral" and sample.subject is not None:
            resting.setdefault(names[sample.frame], set()).add(sample.neutral)
    for sample in samples:
        own = resting.get(names[sample.frame])
        if own is not None:
            assert sample.neutral in own


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


def test_a_take_of_very_many_neutral_pictures_is_searched_in_linear_time():
    records = [still("S1", "neutral", number, session="one") for number in range(20_000)]
    assert not any(sample.neutral for sample in pair(records, ("fear", "neutral")).samples)
    other = pair([*records, still("S1", "neutral", session="two")], ("fear", "neutral")).samples
    assert {sample.neutral for sample in other[:-1]} == {other[-1].frame}
