import shutil

import pytest

from fer_cli.errors import PictureError, UsageError
from fer_cli.prediction.given_neutral import ITSELF, Neutral, NoNeutral, given_neutral
from fer_cli.prediction.shots import Shot
from tests.prediction.made import made_pictures


@pytest.fixture
def people(tmp_path, faces):
    """neutral/anna.png and neutral/bert.png, and pictures of both in folders of their own."""
    for name, face in zip(("neutral/anna", "neutral/bert", "anna/1", "bert/1", "carl/1"), faces * 2, strict=False):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(face, tmp_path / f"{name}.png")
    return tmp_path


def served(source, path, subject=None) -> str:
    found = source(Shot(0, path, subject), 0, None)
    assert isinstance(found, Neutral), found
    return found.served


def test_one_picture_serves_everybody_but_itself(looker, faces):
    source = given_neutral(faces[0], looker)
    assert served(source, faces[1]) == str(faces[0])
    assert (source(Shot(0, faces[1]), 0, None).pixels == looker.crop_of(faces[0]).pixels).all()
    assert source(Shot(0, faces[0].parent / "." / faces[0].name), 0, None) is ITSELF
    assert not ITSELF.fault


def test_a_picture_that_cannot_be_used_is_said(looker, tmp_path):
    with pytest.raises(PictureError, match=r"nowhere\.png cannot be used: no such file"):
        given_neutral(tmp_path / "nowhere.png", looker)


def test_a_folder_serves_each_subject_by_the_folder_of_its_pictures(looker, people):
    source = given_neutral(people / "neutral", looker)
    assert served(source, people / "anna" / "1.png") == str(people / "neutral" / "anna.png")
    assert served(source, people / "bert" / "1.png") == str(people / "neutral" / "bert.png")
    assert source(Shot(0, people / "neutral" / "anna.png"), 0, None) is ITSELF
    missing = source(Shot(0, people / "carl" / "1.png"), 0, None)
    assert isinstance(missing, NoNeutral)
    assert "carl" in missing.reason


@pytest.mark.parametrize("name", ["anna.png", "anna-2.png", "anna_smiles.png"])
def test_a_folder_serves_subjects_by_the_beginning_of_a_name_too(looker, people, name):
    assert served(given_neutral(people / "neutral", looker), people / "album" / name).endswith("anna.png")


def test_the_list_says_who_is_shown_whatever_the_path(looker, people):
    source = given_neutral(people / "neutral", looker)
    assert served(source, people / "anna" / "1.png", "bert").endswith("bert.png")
    assert isinstance(source(Shot(0, people / "anna" / "1.png", "dora"), 0, None), NoNeutral)


def test_a_folder_may_have_a_folder_for_each_subject(looker, tmp_path, faces):
    for subject in ("anna", "bert"):
        made_pictures(tmp_path / "rest" / subject, 2)
    source = given_neutral(tmp_path / "rest", looker)
    assert served(source, tmp_path / "bert" / "smile.png") == str(tmp_path / "rest" / "bert" / "000.png")


def test_a_table_names_each_subjects_picture_from_its_own_folder(looker, people):
    (people / "rest.csv").write_text("subject,file\nanna,neutral/anna.png\nbert,neutral/gone.png\n")
    source = given_neutral(people / "rest.csv", looker)
    assert served(source, people / "anna" / "1.png") == str(people / "neutral" / "anna.png")
    gone = source(Shot(0, people / "bert" / "1.png"), 0, None)
    assert "gone.png cannot be used: no such file" in gone.reason
    assert gone.fault


def test_case_19_names_with_decomposed_letters_are_the_same_subjects(looker, people):
    (people / "rest.csv").write_text("Subject;File\nJu\u0308rgen;neutral/anna.png\n", encoding="utf-16")
    source = given_neutral(people / "rest.csv", looker)
    assert served(source, people / "bert" / "1.png", "J\u00fcrgen").endswith("anna.png")
    assert served(source, people / "J\u00fcrgen" / "1.png").endswith("anna.png")


def test_a_table_without_a_column_and_a_folder_without_a_picture_are_said(looker, tmp_path):
    for text, said in (
        ("who,picture\n", "no column of paths"),
        ("who,file\nanna,anna.png\n", "no subject"),
        ("subject,file\nanna\n", "rest.csv:2: a row of 1 values under 2 columns"),
    ):
        (tmp_path / "rest.csv").write_text(text)
        with pytest.raises(UsageError, match=said):
            given_neutral(tmp_path / "rest.csv", looker)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no picture in the folder"):
        given_neutral(tmp_path / "empty", looker)
