"""Patterns of paths: what a regular expression would find, in a time that a regular expression does not keep."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fer_cli.corpora.image_folder import PathPattern
from fer_cli.errors import UsageError

names = st.text("abcXYZ0189-. ", min_size=1, max_size=8).filter(lambda text: text.strip(". ") == text)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{subject}.jpg",
        "{label}/{label}.jpg",
        "{emotion}/{label}.jpg",
        "{label}/{frame}.jpg",
        "{label/x",
        "{}/{label}",
    ],
)
def test_what_is_no_pattern_is_a_typing_error(pattern):
    with pytest.raises(UsageError, match="--pattern"):
        PathPattern.parse(pattern)


@given(subject=names, label=names, frame=st.integers(0, 9999))
def test_a_path_made_from_fields_gives_them_back(subject, label, frame):
    fields = {"subject": subject, "label": label, "frame": str(frame)}
    assert PathPattern.parse("{subject}/{label}/f_{frame}.png").match(f"{subject}/{label}/f_{frame}.png") == fields


@given(st.text("a.b+c()[x]/", max_size=8), names)
def test_everything_but_fields_and_stars_stands_for_itself(literal, label):
    literal = literal.strip("/")
    pattern = PathPattern.parse(f"{literal}{{label}}.png")
    assert pattern.match(f"{literal}{label}.png") == {"label": label}
    assert pattern.match(f"{literal}{label}xpng") is None


def regex(pattern: str) -> re.Pattern[str]:
    """The same pattern as a regular expression: fields take as little as they can, stars as much."""
    pieces = re.split(r"(\{.*?\}|\*)", pattern)
    forms = {"*": "[^/]*"}
    return re.compile(
        "".join(
            forms.get(piece) or (f"(?P<{piece[1:-1]}>[^/]+?)" if piece.startswith("{") else re.escape(piece))
            for piece in pieces
        ),
        re.IGNORECASE,
    )


pieces = st.lists(st.sampled_from(["*", "{subject}", "{split}", "a", "b", "ab", "_", "/"]), max_size=6)


@given(pieces, pieces, st.text("abAB_/", max_size=12))
@example(["*"], [], "")
@example(["*", "_"], [], "a_b_happy")
@example([], ["_", "*"], "happy_a_b")
def test_it_finds_what_a_regular_expression_finds(before, after, path):
    pattern = "".join([*before, "{label}", *after])
    if any(pattern.count(field) > 1 for field in ("{subject}", "{split}")) or pattern != pattern.strip("/"):
        return
    found = regex(pattern).fullmatch(path)
    assert PathPattern.parse(pattern).match(path) == (found.groupdict() if found else None)


def test_sixty_stars_and_a_path_that_almost_fits_are_done_in_the_time_of_one_walk_through_it():
    pattern = PathPattern.parse("*a" * 60 + "{label}b")
    assert pattern.match("a" * 200) is None
    assert pattern.match("a" * 200 + "b") == {"label": "a"}


def test_case_19_decomposed_letters_follow_a_composed_pattern_and_the_other_way_round():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for typed in (composed, decomposed):
        for written in (composed, decomposed):
            assert PathPattern.parse(f"{typed}/{{label}}.jpg").match(f"{written}/{written}.jpg") == {"label": composed}


def test_letters_that_are_longer_in_lower_case_stay_where_they_are():
    assert PathPattern.parse("{label}/{subject}.jpg").match("İstanbul/İ1.JPG") == {"label": "İstanbul", "subject": "İ1"}
