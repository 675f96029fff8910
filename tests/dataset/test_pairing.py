from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fer_cli.corpora.record import Frame, Sequence, Still
from fer_cli.dataset.pairing import pair, unpaired
from fer_cli.labels import CLASS_SETS, EXPRESSIONS


def sequence(subject: str, number: int, label: str | None, frames: int = 5) -> Sequence:
    pictures = tuple(Frame(Path(f"{subject}/{number}/{frame}.png")) for frame in range(frames))
    return Sequence(subject, str(number), pictures, label, 0, tuple(range(frames - 3, frames)), "last 3 frames")


def still(subject: str | None, label: str, take: int = 0) -> Still:
    return Still(Frame(Path(f"{subject}-{label}-{take}.png")), label, subject)


def test_apex_frames_are_compared_with_their_own_sequences_first_frame():
    record = sequence("S1", 1, "anger")
    samples = pair([record], CLASS_SETS["7-contempt"]).samples
    apexes = [sample for sample in samples if sample.role == "apex"]
    assert [sample.frame for sample in apexes] == list(record.frames[2:])
    assert {sample.neutral for sample in apexes} == {record.frames[0]}
    assert [sample.frame for sample in samples if sample.role == "neutral"] == [record.frames[0]]


def test_a_sequence_without_a_label_is_left_out_by_rule_and_is_not_neutral():
    pairing = pair([sequence("S1", 1, None)], CLASS_SETS["8"])
    assert pairing.samples == []
    assert [(entry.reason, entry.fault) for entry in pairing.left_out] == [("no emotion label", False)]


def test_a_label_outside_the_class_set_is_left_out_and_counted():
    pairing = pair([sequence("S1", 1, "contempt"), sequence("S1", 2, "anger")], CLASS_SETS["6"])
    assert {sample.label for sample in pairing.samples if sample.role == "apex"} == {"anger"}
    assert [entry.reason for entry in pairing.left_out] == ["contempt is not among the classes"]


def test_where_neutral_is_a_class_it_is_compared_with_another_neutral_frame():
    records = [sequence("S1", 1, "anger"), sequence("S1", 2, "fear"), sequence("S2", 1, "fear")]
    pairing = pair(records, CLASS_SETS["7-neutral"])
    resting = {sample.frame: sample.neutral for sample in pairing.samples if sample.role == "neutral"}
    first, second, only = (record.frames[0] for record in records)
    assert resting == {first: second, second: first, only: None}
    assert [entry.reason for entry in pairing.left_out] == ["no second neutral picture of this subject (unpaired)"]


def test_a_still_is_compared_with_its_subjects_neutral_still():
    records = [still("A", "happiness"), still("A", "neutral"), still("B", "happiness")]
    pairing = pair(records, ("happiness", "neutral"))
    neutral_of = {sample.frame: sample.neutral for sample in pairing.samples if sample.label == "happiness"}
    assert neutral_of == {records[0].frame: records[1].frame, records[2].frame: None}


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
        st.builds(still, st.sampled_from(["A", "B", None]), st.sampled_from(EXPRESSIONS), st.integers(0, 3)),
    ),
    max_size=12,
    unique_by=lambda record: record.frames[0] if isinstance(record, Sequence) else record.frame,
)


@given(records, st.sampled_from(list(CLASS_SETS.values())))
def test_a_picture_is_never_its_own_neutral_and_never_another_persons(records, classes):
    samples = pair(records, classes).samples
    subject_of = {sample.frame: sample.subject for sample in samples}
    for sample in samples:
        assert sample.neutral != sample.frame
        if sample.neutral is not None:
            assert subject_of[sample.neutral] == sample.subject
