"""A store that is only read: who is recognised, what each face is compared with, and that nothing is stored."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from fer_cli.errors import UsageError
from fer_cli.prediction.people.file import FILE
from fer_cli.prediction.people.snapshot import KnownPeople
from fer_cli.prediction.people.store import PeopleStore
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult
from tests.prediction.neutral.test_auto import MEAN, Extract
from tests.prediction.people.made import BINDING
from tests.prediction.people.test_finder import IDENTITY, Album, Face


def known(folder: Path) -> KnownPeople:
    with PeopleStore.open(folder, BINDING, existing=True) as store:
        return KnownPeople(store, IDENTITY, MEAN)


def identified(people: KnownPeople, *faces: Face, track: int | None = None) -> list[FacePrediction]:
    """The faces of as many pictures, or frames of a video that show one track, with their people."""

    def extract(frame: Frame) -> FrameResult:
        number = frame.index if track is None else frame.number
        crop = np.full((4, 4, 3), faces[number], np.uint8)
        return FrameResult(frame, (FacePrediction(0, track=track, crop=crop),))

    extracting, found = people.extracting(Extract(extract)), []
    for number in range(len(faces)):
        frame = Frame(number, Path(f"{number}")) if track is None else Frame(0, Path("clip"), number=number)
        [face] = extracting(frame).faces
        found.append(people.identify(frame, face))
    return found


def test_known_people_are_recognised_and_nobody_is_stored(tmp_path):
    Album(tmp_path, rest=[(1, 250, 0)], other=[(2, 240, 0)]).finish()
    before = (tmp_path / FILE).read_bytes()
    people = known(tmp_path)
    assert len(people) == 2
    found = identified(people, (1, 10, 0), (3, 10, 0), (2, 240, 0))
    assert [face.person for face in found] == ["person-1", "", "person-2"]
    assert [face.person_confidence for face in found] == [1, None, 1]
    assert (tmp_path / FILE).read_bytes() == before


def test_rows_of_an_album_that_is_stored_are_those_of_the_engine_that_stored_it(tmp_path):
    pictures: dict[str, list[Face]] = {"a": [(1, 250, 0)], "b": [(1, 20, 0)], "c": [(2, 240, 0)], "d": [(1, 200, 9)]}
    album = Album(tmp_path, **pictures)
    people = known(tmp_path)
    for name, face in zip(pictures, identified(people, *(each for [each] in pictures.values())), strict=True):
        assert (face.person, face.person_confidence) == (album.face(name).person, album.face(name).person_confidence)
        one, other = people.neutral_for(Frame(0, Path(name)), face), album.neutral(name)
        assert (one.name, one.confidence, one.embedding.tolist()) == (
            other.name,
            other.confidence,
            other.embedding.tolist(),
        )


def test_who_is_unknown_is_compared_with_the_mean(tmp_path):
    Album(tmp_path, rest=[(1, 250, 0)]).finish()
    people = known(tmp_path)
    for face in identified(people, (3, 10, 0), (1, 250, 0)):
        # A stranger, and the only neutral picture itself.
        assert people.neutral_for(Frame(0, Path("a")), face).name == "mean"


def test_a_merged_person_has_one_id_and_one_profile(tmp_path):
    album = Album(tmp_path, a=[(1, 250, 0)], b=[(2, 200, 0)])
    album.store.merge(album.store.find("person-1"), album.store.find("person-2"))
    people = known(tmp_path)
    [face] = identified(people, (2, 9, 0))
    assert face.person == "person-1"
    assert people.neutral_for(Frame(0, Path("c")), face).embedding.tolist() == [1.5, 225]


def test_the_first_known_face_of_a_track_says_who_the_rest_is(tmp_path):
    Album(tmp_path, rest=[(1, 250, 0)]).finish()
    people = known(tmp_path)
    found = identified(people, (3, 10, 0), (1, 10, 0), (4, 10, 0), track=0)
    assert [face.person for face in found] == ["", "person-1", "person-1"]
    assert found[2].person_confidence == 0
    assert [face.person for face in identified(people, (4, 10, 0), track=1)] == [""]


def test_it_can_be_sent_and_says_by_its_fingerprint_that_it_is_the_same(tmp_path):
    Album(tmp_path, rest=[(1, 250, 0)]).finish()
    people = known(tmp_path)
    sent = pickle.loads(pickle.dumps(people))  # noqa: S301
    assert identified(sent, (1, 10, 0)) == identified(people, (1, 10, 0))
    assert sent.fingerprint == people.fingerprint == known(tmp_path).fingerprint
    Album(tmp_path, smile=[(1, 10, 0)]).finish()
    assert known(tmp_path).fingerprint != people.fingerprint


def test_without_a_store_there_is_nobody_to_recognise(tmp_path):
    with pytest.raises(UsageError, match="There is no people store"):
        known(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
