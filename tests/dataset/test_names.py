from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from fer_cli.corpora.record import Frame
from fer_cli.dataset.names import crop_names

ROOT = Path("corpus")


def names(*pictures: tuple[str, str | None]) -> list[str]:
    return list(crop_names([(Frame(ROOT / path), subject) for path, subject in pictures], ROOT).values())


def test_a_crop_is_called_after_its_picture_under_its_subject():
    assert names(("images/S005/001/S005_001_00000011.png", "S005")) == ["images/S005/S005_001_00000011.png"]


def test_folders_are_added_where_the_picture_alone_is_not_unique():
    assert names(("smiling/001.jpg", "001"), ("neutral/001.jpg", "001")) == [
        "images/001/smiling-001.png",
        "images/001/neutral-001.png",
    ]


def test_pictures_that_differ_in_their_suffix_only_do_not_share_a_crop():
    assert len(set(names(("a.jpg", "S"), ("a.png", "S")))) == 2


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.text(min_size=1, max_size=6).filter(lambda t: "/" not in t and "\0" not in t and t != "."),
                min_size=1,
                max_size=3,
            ),
            st.one_of(st.none(), st.text(min_size=1, max_size=6)),
        ),
        max_size=12,
    )
)
def test_every_picture_has_a_crop_of_its_own_inside_the_folder(pictures):
    frames = {Frame(ROOT.joinpath(*parts)): subject for parts, subject in pictures if ".." not in parts}
    made = crop_names(frames.items(), ROOT)
    assert set(made) == set(frames)
    assert len({name.casefold() for name in made.values()}) == len(frames)
    for name in made.values():
        parts = PurePosixPath(name).parts
        assert parts[0] == "images"
        assert len(parts) == 3
        assert not any(part.startswith(".") for part in parts)
