"""The contact sheet: a row a person, a column a picture."""

import numpy as np
import pytest

from fer_cli.errors import UsageError
from fer_cli.prediction.people.finder import encode_crop
from fer_cli.prediction.people.sheet import BLANK, GAP, LINE, NAMES, SIDE, ProfilePictures, contact_sheet, encoded
from fer_cli.prediction.people.store import Person
from tests.prediction.people.made import open_store, picture, see

RED, GREEN = (200, 20, 20), (20, 160, 20)


def crop(colour) -> bytes:
    return encode_crop(np.full((64, 64, 3), colour, np.uint8))


def middle(sheet, row: int, column: int) -> tuple[int, int, int]:
    x = NAMES + (SIDE + GAP) * column + SIDE // 2
    return sheet.getpixel((x, 2 * GAP + LINE + (SIDE + LINE + 2 * GAP) * row + SIDE // 2))


def person(number: int, name: str = "") -> Person:
    return Person(number, name, 3, "2026-01-01", "2026-01-02", (number,))


def test_a_row_a_person_neutral_pictures_first_then_a_column_an_expression():
    pictures = [picture("a", crop=crop(RED)), picture("b", label="happiness", crop=crop(GREEN))]
    sheet = contact_sheet([(person(1, "Anna"), pictures), (person(2), [picture("c", label="anger", crop=b"no JPEG")])])
    assert middle(sheet, 0, 0) == pytest.approx(RED, abs=6)
    # Expressions stand in the order of their names: anger, happiness.
    assert middle(sheet, 0, 2) == pytest.approx(GREEN, abs=6)
    assert middle(sheet, 0, 1) == middle(sheet, 1, 0) == (255, 255, 255)
    assert "#{:02x}{:02x}{:02x}".format(*middle(sheet, 1, 1)) == BLANK


def test_nobody_and_a_name_of_any_length_or_letters():
    assert contact_sheet([]).size[1] < 100
    long = contact_sheet([(person(1, "\udce9\x1b[31m" + "Anna" * 300), [])])
    # The name ends where the pictures begin.
    assert np.asarray(long)[2 * GAP + LINE + GAP : 2 * GAP + LINE + SIDE, NAMES:].min() == 255


def test_the_ending_is_the_format(tmp_path):
    sheet = contact_sheet([])
    assert encoded(sheet, tmp_path / "a.PNG").startswith(b"\x89PNG")
    assert encoded(sheet, tmp_path / "a.jpg").startswith(b"\xff\xd8")
    with pytest.raises(UsageError, match="names no picture"):
        encoded(sheet, tmp_path / "a.txt")


def shade(pixels: np.ndarray | None) -> int | None:
    return None if pixels is None else round(float(pixels.mean()) / 50)


@pytest.fixture
def profiles(tmp_path):
    """A person with two neutral pictures, another with none that is whole, and the store that they are in."""
    with open_store(tmp_path / "people") as store:
        see(store, 0, 1, 2)
        with store.writing():
            store.offer(1, picture("best.jpg", score=0.9, crop=crop((100,) * 3)))
            store.offer(2, picture("good.jpg", score=0.8, crop=crop((50,) * 3)))
            store.offer(2, picture("smile.jpg", label="happiness", crop=crop((200,) * 3)))
            store.offer(3, picture("broken.jpg", crop=b"no JPEG"))
        store.merge(store.find("person-1"), store.find("person-2"))
        yield store, ProfilePictures(store.path.parent)


def test_a_profile_is_shown_by_its_most_neutral_picture_but_never_by_the_face_itself(profiles):
    _, pictures = profiles
    assert shade(pictures("people:person-1 (2 pictures)", "other.jpg")) == 2
    assert shade(pictures("people:person-1 (1 picture)", "best.jpg")) == 1
    assert shade(pictures("people:person-2 (2 pictures)", "")) == 2
    assert pictures("people:person-3 (1 picture)", "") is None
    for name in ("people:person-9 (2 pictures)", "mean", "best.jpg", f"people:person-{'9' * 30} (1 picture)"):
        assert pictures(name, "") is None


def test_whoever_is_forgotten_has_no_picture_on_a_page(profiles):
    store, pictures = profiles
    store.forget([store.find("person-1")])
    assert pictures("people:person-1 (2 pictures)", "") is None


def test_a_store_that_is_gone_costs_no_page(tmp_path):
    assert ProfilePictures(tmp_path / "gone")("people:person-1 (2 pictures)", "") is None
