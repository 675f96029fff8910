import pytest

from fer_cli.evaluation.subgroups import by_sequence, merge
from tests.evaluation.predictions import CLASSES, random_table, table


def test_frames_average_their_probabilities_or_vote():
    # Two frames are slightly for fear, one much for anger: the votes and the average disagree.
    rows = table(
        [
            ("A", "1", "anger", (0.40, 0.45, 0.15)),
            ("A", "1", "anger", (0.40, 0.45, 0.15)),
            ("A", "1", "anger", (0.90, 0.05, 0.05)),
        ]
    )
    merged = merge(rows, CLASSES)
    assert merged[["subject", "label", "frames", "average", "vote"]].values.tolist() == [
        ["A", "anger", 3, "anger", "fear"]
    ]
    assert merged["p_anger"].item() == pytest.approx(1.7 / 3)


def test_of_equal_votes_the_likelier_class_wins():
    rows = table([("A", "1", "fear", (0.6, 0.4, 0)), ("A", "1", "fear", (0.3, 0.7, 0)), *_other()])
    assert merge(rows, CLASSES).loc[0, "vote"] == "fear"
    rows = table([("A", "1", "fear", (0.8, 0.2, 0)), ("A", "1", "fear", (0.4, 0.6, 0)), *_other()])
    assert merge(rows, CLASSES).loc[0, "vote"] == "anger"


def test_sequences_are_by_subject_number_and_label():
    same = (0.8, 0.1, 0.1)
    rows = table(
        [
            ("A", "1", "anger", same),
            ("B", "1", "anger", same),
            ("A", "2", "anger", same),
            ("A", "2", "fear", same),
            ("A", "2", "anger", same),
            # Without a sequence, or with nobody's name, a row is not merged with another.
            ("A", None, "anger", same),
            ("A", None, "anger", same),
        ]
    )
    assert merge(rows, CLASSES)["frames"].tolist() == [1, 1, 2, 1, 1, 1]


def test_measures_are_of_sequences_and_votes_have_no_probabilities():
    rows = random_table(0, frames=3)
    found = by_sequence(rows, CLASSES)
    merged = merge(rows, CLASSES)
    assert set(found) == {"average", "vote"}
    for rule, measures in found.items():
        assert measures.loc["accuracy", "value"] == pytest.approx((merged[rule] == merged["label"]).mean())
        assert measures.loc["accuracy", "low"] < measures.loc["accuracy", "high"]
    assert found["average"].notna().all(axis=None)
    assert found["vote"].loc[["roc_auc", "ece"]].isna().all(axis=None)


def test_where_each_sequence_has_one_frame_there_is_nothing_to_merge():
    assert by_sequence(random_table(0, frames=1), CLASSES) == {}


def _other():
    return [("B", "1", "anger", (1, 0, 0))]
