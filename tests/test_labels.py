import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.errors import UsageError
from fer_cli.labels import CLASS_SETS, EXPRESSIONS, class_set, class_set_name, expression, folded, in_order


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
    assert "7-contempt" in caught.value.hint
    assert "7-neutral" in caught.value.hint


@pytest.mark.parametrize("text", ["happy,bored", "neutral", "", "9"])
def test_what_is_no_class_set_is_refused_as_a_typing_error(text):
    with pytest.raises(UsageError):
        class_set(text)


def test_classes_may_be_spelled_as_labels_may():
    assert class_set("Happy, sad,natural") == ("neutral", "happiness", "sadness")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("happy", "happiness"),
        ("SAD", "sadness"),
        (" angry ", "anger"),
        ("Surprised", "surprise"),
        ("fearful", "fear"),
        ("disgusted", "disgust"),
        ("natural", "neutral"),
        ("neutrality", "neutral"),
        ("no_emotion", "neutral"),
        ("no-emotion", "neutral"),
        ("calm", None),
        ("", None),
        ("1", None),
    ],
)
def test_case_19_one_vocabulary_of_spellings(text, name):
    assert expression(text) == name


def test_every_expression_means_itself():
    assert tuple(map(expression, EXPRESSIONS)) == EXPRESSIONS


def test_case_19_decomposed_letters_equal_composed_ones():
    assert folded("Cafe\u0301 ") == folded("CAF\u00c9")


@given(st.permutations(EXPRESSIONS), st.integers(2, 8))
def test_classes_come_in_one_order_however_they_are_typed(order, size):
    typed = order[:size]
    assert class_set(",".join(typed)) == tuple(name for name in EXPRESSIONS if name in typed) == in_order(typed)


@pytest.mark.parametrize("name", CLASS_SETS)
def test_a_class_set_is_named_in_words(name):
    assert class_set_name(CLASS_SETS[name]).startswith(f"{len(CLASS_SETS[name])} classes")
