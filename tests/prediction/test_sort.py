import os
from pathlib import Path

import pytest

from fer_cli.prediction.outcomes import Outcome, Prediction
from fer_cli.prediction.shots import Shot
from fer_cli.prediction.sort import SortInto

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")


def outcome(path: Path, *labels: str, frame: int | None = None) -> Outcome:
    predictions = [Prediction(path, number, None, {label: 1.0}) for number, label in enumerate(labels)]
    return Outcome(Shot(0, path, frame=frame), tuple(predictions))


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "a" / "face.jpg"
    path.parent.mkdir()
    path.write_bytes(b"picture")
    return path


def links(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path.resolve() for path in sorted(folder.rglob("*.*"))}


def test_a_picture_is_linked_under_each_of_its_faces_expressions_once(picture, tmp_path):
    SortInto(tmp_path / "sorted").write(outcome(picture, "anger", "surprise", "anger"))
    assert links(tmp_path / "sorted") == {"anger/face.jpg": picture, "surprise/face.jpg": picture}


def test_nothing_is_overwritten_and_the_same_is_linked_once(picture, tmp_path):
    other = tmp_path / "b" / "face.jpg"
    other.parent.mkdir()
    other.write_bytes(b"another")
    (tmp_path / "sorted" / "anger").mkdir(parents=True)
    (tmp_path / "sorted" / "anger" / "face.jpg").write_text("precious")
    sink = SortInto(tmp_path / "sorted")
    for path in (picture, other, picture, other):
        sink.write(outcome(path, "anger"))
    found = links(tmp_path / "sorted")
    assert found.pop("anger/face.jpg").read_text() == "precious"
    assert found == {"anger/face-2.jpg": picture, "anger/face-3.jpg": other}


def test_frames_and_pictures_without_a_face_are_passed_over(picture, tmp_path):
    SortInto(tmp_path / "sorted").write(outcome(picture, "anger", frame=3))
    SortInto(tmp_path / "sorted").write(outcome(picture))
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize("links_possible", [True, False])
def test_where_there_are_no_symbolic_links_it_is_a_hard_link_or_a_copy(picture, tmp_path, monkeypatch, links_possible):
    def refused(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    if not links_possible:
        monkeypatch.setattr(os, "link", refused)
    sink = SortInto(tmp_path / "sorted")
    sink.write(outcome(picture, "anger"))
    sink.write(outcome(picture, "anger"))
    (found,) = (tmp_path / "sorted" / "anger").iterdir()
    assert found.read_bytes() == b"picture"
    assert not found.is_symlink()
    assert found.samefile(picture) == links_possible


def test_case_35_a_number_in_the_longest_name_takes_the_place_of_letters(tmp_path):
    name = "笑顔" * 41 + "笑.jpeg"
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(folder)
        SortInto(tmp_path / "sorted").write(outcome(tmp_path / folder / name, "anger"))
    found = links(tmp_path / "sorted")
    assert len(os.fsencode(name)) > 250
    assert {path.read_text() for path in found.values()} == {"a", "b"}
    assert all(name.endswith(".jpeg") for name in found)
