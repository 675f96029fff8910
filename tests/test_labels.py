import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.errors import UsageError
from fer_cli.labels import CLASS_SETS, EXPRESSIONS, class_set, class_set_name, in_order


def test_the_vocabulary_is_neutral_and_seven_expressions():
    assert EXPRESSIONS == (
        "neutral",
        "anger",
        "contempt",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
    )


def test_class_sets_hold_as_many_classes_as_they_say():
    assert {name: len(members) for name, members in CLASS_SETS.items()} == {
        "6": 6,
        "7-contempt": 7,
        "7-neutral": 7,
        "8": 8,
    }
    assert "contempt" in CLASS_SETS["7-contempt"]
    assert "neutral" not in CLASS_SETS["7-contempt"]
    assert "neutral" in CLASS_SETS["7-neutral"]
    assert "contempt" not in CLASS_SETS["7-neutral"]


def test_seven_alone_is_ambiguous():
    with pytest.raises(UsageError) as caught:
        class_set("7")
    assert "7-contempt" in caught.value.mend
    assert "7-neutral" in caught.value.mend


@pytest.mark.parametrize("text", ["happy,sad", "neutral", "", "9"])
def test_what_is_no_class_set_is_refused_as_a_typing_error(text):
    with pytest.raises(UsageError):
        class_set(text)


@given(st.permutations(EXPRESSIONS), st.integers(2, 8))
def test_classes_come_in_one_order_however_they_are_typed(order, size):
    typed = order[:size]
    assert class_set(",".join(typed)) == tuple(name for name in EXPRESSIONS if name in typed) == in_order(typed)


@pytest.mark.parametrize("name", CLASS_SETS)
def test_a_class_set_is_named_in_words(name):
    assert class_set_name(CLASS_SETS[name]).startswith(f"{len(CLASS_SETS[name])} classes")
