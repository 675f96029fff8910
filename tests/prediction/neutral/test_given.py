import shutil
import zipfile

import numpy as np
import pytest

from fer_cli.errors import PictureError, UsageError
from fer_cli.prediction.listing import to_path
from fer_cli.prediction.neutral.given import ITSELF, GivenNeutral
from fer_cli.prediction.pipeline import Neutral
from fer_cli.prediction.results import FacePrediction, Frame, Skipped
from tests.prediction.made import made_pictures


@pytest.fixture
def people(tmp_path, faces):
    """neutral/anna.png and neutral/bert.png, and pictures of both in folders of their own."""
    for name, face in zip(("neutral/anna", "neutral/bert", "anna/1", "bert/1", "carl/1"), faces * 2, strict=False):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(face, tmp_path / f"{name}.png")
    return tmp_path


def fitted(path, extract) -> GivenNeutral:
    finder = GivenNeutral(path)
    finder.fit([], extract)
    return finder


def neutral(source, path, subject=None) -> Neutral | Skipped:
    return source.neutral_for(Frame(0, path, subject), FacePrediction(0))


def served(source, path, subject=None) -> str:
    found = neutral(source, path, subject)
    assert isinstance(found, Neutral), found
    return found.name


def test_one_picture_serves_everybody_but_itself(extract, faces):
    source = fitted(faces[0], extract)
    assert served(source, faces[1]) == str(faces[0])
    assert (neutral(source, faces[1]).pixels == extract.largest(faces[0])).all()
    assert neutral(source, faces[0].parent / "." / faces[0].name) is ITSELF
    assert not ITSELF.fault


def test_a_picture_that_cannot_be_used_is_said(extract, tmp_path):
    with pytest.raises(PictureError, match=r"nowhere\.png cannot be used: no such file"):
        fitted(tmp_path / "nowhere.png", extract)


def test_a_picture_at_an_address_serves_everybody_but_itself(extract, faces, tmp_path):
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as archive:
        archive.write(faces[0], "rest.png")
    address = f"zip://rest.png::{tmp_path / 'album.zip'}"
    finder = GivenNeutral(to_path(address))
    finder.fit(None, extract)
    neutral = finder.neutral_for(Frame(0, faces[1]), FacePrediction(0))
    assert neutral.name == address
    assert np.array_equal(neutral.pixels, extract.largest(faces[0]))
    assert finder.neutral_for(Frame(0, to_path(address)), FacePrediction(0)) == ITSELF


@pytest.mark.parametrize("inside", ["gone.png", "people.csv", ""])
def test_at_an_address_it_is_one_picture(extract, tmp_path, inside):
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as archive:
        archive.writestr("people/rest.png", b"")
    with pytest.raises((PictureError, UsageError), match="neutral") as caught:
        GivenNeutral(to_path(f"zip://{inside}::{tmp_path / 'album.zip'}")).fit(None, extract)
    assert "one picture" in caught.value.hint


def test_a_folder_serves_each_subject_by_the_folder_of_its_pictures(extract, people):
    source = fitted(people / "neutral", extract)
    assert served(source, people / "anna" / "1.png") == str(people / "neutral" / "anna.png")
    assert served(source, people / "bert" / "1.png") == str(people / "neutral" / "bert.png")
    assert neutral(source, people / "neutral" / "anna.png") is ITSELF
    missing = neutral(source, people / "carl" / "1.png")
    assert isinstance(missing, Skipped)
    assert "carl" in missing.reason


@pytest.mark.parametrize("name", ["anna.png", "anna-2.png", "anna_smiles.png"])
def test_a_folder_serves_subjects_by_the_beginning_of_a_name_too(extract, people, name):
    assert served(fitted(people / "neutral", extract), people / "album" / name).endswith("anna.png")


def test_the_list_says_who_is_shown_whatever_the_path(extract, people):
    source = fitted(people / "neutral", extract)
    assert served(source, people / "anna" / "1.png", "bert").endswith("bert.png")
    assert isinstance(neutral(source, people / "anna" / "1.png", "dora"), Skipped)


def test_a_folder_may_have_a_folder_for_each_subject(extract, tmp_path, faces):
    for subject in ("anna", "bert"):
        made_pictures(tmp_path / "rest" / subject, 2)
    source = fitted(tmp_path / "rest", extract)
    assert served(source, tmp_path / "bert" / "smile.png") == str(tmp_path / "rest" / "bert" / "000.png")


def test_a_table_names_each_subjects_picture_from_its_own_folder(extract, people):
    (people / "rest.csv").write_text("subject,file\nanna,neutral/anna.png\nbert,neutral/gone.png\n")
    source = fitted(people / "rest.csv", extract)
    assert served(source, people / "anna" / "1.png") == str(people / "neutral" / "anna.png")
    gone = neutral(source, people / "bert" / "1.png")
    assert "gone.png cannot be used: no such file" in gone.reason
    assert gone.fault


def test_case_19_names_with_decomposed_letters_are_the_same_subjects(extract, people):
    (people / "rest.csv").write_text("Subject;File\nJu\u0308rgen;neutral/anna.png\n", encoding="utf-16")
    source = fitted(people / "rest.csv", extract)
    assert served(source, people / "bert" / "1.png", "J\u00fcrgen").endswith("anna.png")
    assert served(source, people / "J\u00fcrgen" / "1.png").endswith("anna.png")


def test_a_table_without_a_column_and_a_folder_without_a_picture_are_said(extract, tmp_path):
    for text, said in (
        ("who,picture\n", "no column of paths"),
        ("who,file\nanna,anna.png\n", "no subject"),
        ("subject,file\nanna\n", "rest.csv:2: a row of 1 values under 2 columns"),
    ):
        (tmp_path / "rest.csv").write_text(text)
        with pytest.raises(UsageError, match=said):
            fitted(tmp_path / "rest.csv", extract)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no picture in the folder"):
        fitted(tmp_path / "empty", extract)
