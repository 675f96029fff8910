"""What pairing makes of one record: its samples, and how what is excluded is said."""

from pathlib import Path

import pytest

from fer_cli.corpora.base import Frame, Sequence, Skipped, Still
from fer_cli.dataset.pairing import Sample, pair, unpaired

CLASSES = ("fear", "happiness")


def frames(name: str, count: int) -> tuple[Frame, ...]:
    return tuple(Frame(Path(f"corpus/{name}/{place}.png")) for place in range(count))


def sequence(name: str, pictures: tuple[Frame, ...], label: str = "fear", neutral: int | None = 0) -> Sequence:
    return Sequence("S1", name, pictures, label, neutral, (len(pictures) - 1,), "last frame")


def still(name: str, label: str, subject: str | None = "S1", split: str | None = None) -> Still:
    return Still(Frame(Path(f"corpus/{name}.png")), label, subject, split)


def test_a_sequence_is_a_neutral_sample_and_an_apex_that_is_compared_with_it():
    first, _, last = pictures = frames("a", 3)
    assert pair([sequence("a", pictures)], CLASSES).samples == [
        Sample(first, "neutral", "S1", "a", "neutral", None, None),
        Sample(last, "fear", "S1", "a", "apex", first, None),
    ]


def test_stills_keep_their_owners_split_and_are_of_no_sequence():
    afraid, resting = still("afraid", "fear", split="val"), still("resting", "neutral", split="train")
    assert pair([afraid, resting], CLASSES).samples == [
        Sample(afraid.frame, "fear", "S1", None, "apex", resting.frame, "val"),
        Sample(resting.frame, "neutral", "S1", None, "neutral", None, "train"),
    ]


def test_where_neutral_is_a_class_each_neutral_picture_is_compared_with_the_next_and_the_last_with_the_first():
    pictures = [frames(name, 2) for name in "abc"]
    samples = pair([sequence(name, each) for name, each in zip("abc", pictures, strict=True)], ("fear", "neutral"))
    resting = [(sample.frame, sample.neutral) for sample in samples.samples if sample.role == "neutral"]
    first, second, third = (each[0] for each in pictures)
    assert resting == [(first, second), (second, third), (third, first)]


def test_a_neutral_picture_that_sequences_share_is_one_sample():
    shared, (_, one), (_, other) = frames("neutral", 1), frames("a", 2), frames("b", 2)
    samples = pair([sequence("a", (*shared, one)), sequence("b", (*shared, other))], CLASSES).samples
    assert [sample.frame for sample in samples] == [*shared, one, other]


def test_a_neutral_still_that_nothing_is_compared_with_is_no_sample():
    afraid, resting, alone = still("a", "fear"), still("b", "neutral"), still("c", "neutral", subject="S2")
    assert [sample.frame for sample in pair([afraid, resting, alone], CLASSES).samples] == [afraid.frame, resting.frame]
    assert len(pair([afraid, resting, alone], (*CLASSES, "neutral")).samples) == 3


def test_what_is_excluded_is_said_by_its_place_and_is_no_fault():
    records = [
        sequence("a", frames("a", 2), label="contempt"),
        sequence("b", frames("b", 2), label=None),
        still("c", "contempt"),
    ]
    assert pair(records, CLASSES).skipped == [
        Skipped(str(Path("corpus/a")), "contempt is not among the classes", fault=False),
        Skipped(str(Path("corpus/b")), "no emotion label", fault=False),
        Skipped(str(Path("corpus/c.png")), "contempt is not among the classes", fault=False),
    ]


def test_a_still_that_stays_unpaired_is_said_unless_nobody_knows_whose_it_is():
    alone, unknown = still("alone", "fear"), still("unknown", "fear", subject=None)
    paired, resting = still("paired", "fear", subject="S2"), still("resting", "neutral", subject="S2")
    pairing = pair([alone, unknown, paired, resting], CLASSES)
    assert [sample.frame for sample in pairing.samples] == [each.frame for each in (alone, unknown, paired, resting)]
    reason = "no neutral picture of this subject (unpaired)"
    assert pairing.skipped == [Skipped(str(alone.frame.path), reason, fault=False)]


def test_a_neutral_picture_without_a_second_one_stays_unpaired_and_is_said():
    only = still("only", "neutral")
    pairing = pair([only], (*CLASSES, "neutral"))
    assert [(sample.frame, sample.neutral) for sample in pairing.samples] == [(only.frame, None)]
    reason = "no second neutral picture of this subject (unpaired)"
    assert pairing.skipped == [Skipped(str(only.frame.path), reason, fault=False)]


@pytest.mark.parametrize("subject", ["S1", None])
def test_a_still_without_a_label_is_kept_for_its_votes_and_compared_with_nothing(subject):
    votes = (4, 3, 0, 0, 2, 0, 1, 0, 0, 0)
    voted = Still(Frame(Path("corpus/voted.png")), None, subject, "train", votes=votes)
    resting = Still(Frame(Path("corpus/resting.png")), "neutral", "S1", votes=(9, *votes[1:]))
    unvoted = Still(Frame(Path("corpus/unvoted.png")), None)
    pairing = pair([voted, still("afraid", "fear"), resting, unvoted], CLASSES)
    assert [(sample.label, sample.neutral, sample.votes) for sample in pairing.samples] == [
        (None, None, votes),
        ("fear", resting.frame, None),
        ("neutral", None, resting.votes),
    ]
    assert [(entry.path, entry.reason) for entry in pairing.skipped] == [
        (str(Path("corpus/unvoted.png")), "no emotion label"),
    ]
    assert [sample.label for sample in unpaired(pairing.samples, CLASSES)] == [None, "fear"]


def test_votes_are_one_number_for_each_thing_to_vote_for():
    with pytest.raises(ValueError, match="3 numbers of votes for the 10 things"):
        Still(Frame(Path("a.png")), "fear", votes=(1, 2, 3))
