"""From an album to its people: who is recognised, and what each face is compared with, from one album to the next."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_cli.prediction.neutral.faces import Encoders
from fer_cli.prediction.neutral.identity import IdentityEncoder
from fer_cli.prediction.people.finder import StoredPeople
from fer_cli.prediction.people.matching import person_confidence
from fer_cli.prediction.people.store import PeopleStore
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult
from tests.prediction.neutral.test_auto import CLASSIFIER, MEAN, HowNeutral, WhoIsIt
from tests.prediction.people.made import BINDING


def as_they_are(crops: torch.Tensor) -> torch.Tensor:
    return crops


IDENTITY = IdentityEncoder(WhoIsIt(), as_they_are, 0.5, "the first colour", torch.device("cpu"))
#: Who, how neutral, and what tells pictures of the same person apart.
Face = tuple[int, int, int]


class Album:
    """Pictures by name, each a list of faces, predicted with the people of a store."""

    def __init__(self, folder: Path, *, once: bool = False, tell=lambda _: None, **pictures: list[Face]):
        self._faces = {
            name: [FacePrediction(number, crop=np.full((4, 4, 3), face, np.uint8)) for number, face in enumerate(faces)]
            for name, faces in pictures.items()
        }
        self._frames = {name: Frame(number, Path(name)) for number, name in enumerate(pictures)}
        self.store = PeopleStore.open(folder, BINDING)
        self.people = StoredPeople(self.store, Encoders(CLASSIFIER, IDENTITY, HowNeutral()), MEAN, tell=tell)
        self.people.fit(None if once else self._frames.values(), self._extract)

    def _extract(self, frame: Frame) -> FrameResult:
        return FrameResult(frame, tuple(self._faces[frame.path.name]))

    def face(self, name: str, number: int = 0) -> FacePrediction:
        return self.people.identify(self._frames[name], self._faces[name][number])

    def who(self, *names: str) -> list[str]:
        return [self.face(name).person for name in names or self._frames]

    def neutral(self, name: str):
        return self.people.neutral_for(self._frames[name], self.face(name))

    def finish(self, **labels: dict[str, float]) -> None:
        """Predict: each picture's face with these probabilities."""
        [telling] = self.people.sinks()
        with telling as sink:
            for name, shares in labels.items():
                face = self._faces[name][0]
                sink.write(FrameResult(self._frames[name], (FacePrediction(0, shares, crop=face.crop),)))
        self.store.close()


def test_yesterdays_resting_face_serves_todays_picture(tmp_path):
    Album(tmp_path, rest=[(1, 250, 0)], other=[(2, 240, 0)]).finish()
    today = Album(tmp_path, smile=[(1, 10, 0)], stranger=[(3, 10, 0)])
    assert today.who() == ["person-1", "person-3"]
    neutral = today.neutral("smile")
    assert neutral.name == "people:person-1 (1 picture)"
    assert neutral.embedding.tolist() == [1, 250]
    assert neutral.confidence == pytest.approx(250 / 255)
    assert today.neutral("stranger").name == "mean"


def test_the_profile_is_the_mean_of_all_albums_neutral_pictures_but_this_one(tmp_path):
    Album(tmp_path, a=[(1, 250, 0)], b=[(1, 200, 0)], c=[(1, 100, 0)]).finish()
    album = Album(tmp_path, d=[(1, 240, 0)], e=[(1, 20, 0)])
    assert album.neutral("e").embedding.tolist() == [1, 230]
    assert album.neutral("e").name == "people:person-1 (3 pictures)"
    assert album.neutral("d").embedding.tolist() == [1, 225]
    again = Album(tmp_path, copy=[(1, 250, 0)])
    assert again.neutral("copy").embedding.tolist() == [1, 220]


def test_a_picture_is_never_its_own_neutral(tmp_path):
    album = Album(tmp_path, a=[(1, 250, 0)])
    neutral = album.neutral("a")
    assert (neutral.name, neutral.confidence) == ("mean", None)
    assert neutral.embedding.tolist() == [-1, -1]


def test_the_same_album_again_gives_the_same_rows_and_counts(tmp_path):
    pictures = {"a": [(1, 250, 0)], "b": [(1, 20, 0), (2, 30, 0)], "c": [(1, 250, 0)]}
    first = Album(tmp_path, **pictures)
    before = [first.face("a"), first.face("b", 1), first.neutral("b").embedding.tolist()]
    people = first.store.people()
    # A copy of a picture counts once.
    assert [each.faces for each in people] == [2, 1]
    first.finish()
    second = Album(tmp_path, **pictures)
    assert [second.face("a"), second.face("b", 1), second.neutral("b").embedding.tolist()] == before
    assert second.store.people() == people


def test_what_was_found_is_told(tmp_path):
    Album(tmp_path, a=[(1, 250, 0)]).finish()
    told: list[str] = []
    Album(tmp_path, tell=told.append, a=[(1, 20, 0)], b=[(2, 20, 0)])
    assert told[-1].endswith("2 people in 2 faces, 1 of them known before and 1 new; 1 have neutral pictures")
    assert "the first colour" in told[0]


def test_pictures_that_come_once_are_matched_as_they_come(tmp_path):
    Album(tmp_path, rest=[(1, 250, 0)]).finish()
    told: list[str] = []
    stream = Album(
        tmp_path, once=True, tell=told.append, a=[(1, 9, 0)], b=[(2, 250, 0)], c=[(2, 9, 0)], again=[(1, 9, 0)]
    )
    assert stream.who() == ["person-1", "person-2", "person-2", "person-1"]
    assert stream.neutral("a").embedding.tolist() == [1, 250]
    assert stream.neutral("c").name == "mean"
    assert [(each.faces, each.albums) for each in stream.store.people()] == [(2, 2), (2, 1)]
    assert "as it comes" in told[-1]


def test_a_merge_by_another_process_changes_no_id_within_a_prediction(tmp_path):
    album = Album(tmp_path, a=[(1, 250, 0)], b=[(2, 250, 0)])
    with PeopleStore.open(tmp_path) as other:
        other.merge(other.find("person-1"), other.find("person-2"))
    assert album.who() == ["person-1", "person-2"]
    later = Album(tmp_path, c=[(2, 10, 0)])
    assert later.who() == ["person-1"]
    assert later.neutral("c").name == "people:person-1 (2 pictures)"


def test_whoever_is_forgotten_meanwhile_stays_so(tmp_path):
    album = Album(tmp_path, a=[(1, 250, 0)], b=[(2, 250, 0)])
    with PeopleStore.open(tmp_path) as other:
        other.forget([other.find("person-2")])
    album.finish(a={"happiness": 1.0}, b={"happiness": 1.0})
    with PeopleStore.open(tmp_path) as store:
        assert [each.id for each in store.people()] == ["person-1"]


def test_a_track_of_a_video_is_one_person(tmp_path):
    crops = [(1, 250, 0), (1, 200, 0), (2, 9, 0), (1, 9, 0)]
    frames = [Frame(0, Path("clip"), number=number, time=float(number)) for number in range(len(crops))]

    def extract(frame: Frame) -> FrameResult:
        crop = np.full((4, 4, 3), crops[frame.number], np.uint8)
        return FrameResult(frame, (FacePrediction(0, track=0, crop=crop),))

    for once in (False, True):
        store = PeopleStore.open(tmp_path / str(once), BINDING)
        people = StoredPeople(store, Encoders(CLASSIFIER, IDENTITY, HowNeutral()), MEAN)
        people.fit(None if once else frames, extract)
        found = [people.identify(frame, *extract(frame).faces) for frame in frames]
        # The third frame looks like another, as a face turned away does.
        assert {each.person for each in found} == {"person-1"}
        assert found[2].person_confidence < found[0].person_confidence


def test_the_surest_picture_of_each_expression_is_kept(tmp_path):
    album = Album(tmp_path, a=[(1, 250, 0)], b=[(1, 9, 0)], c=[(1, 8, 0)])
    album.finish(a={"neutral": 1.0}, b={"happiness": 0.7, "anger": 0.3}, c={"happiness": 0.9, "anger": 0.1})
    with PeopleStore.open(tmp_path) as store:
        found = [(each.label, each.name, each.score) for each in store.pictures([1])]
    assert found == [("neutral", "a", pytest.approx(250 / 255)), ("happiness", "c", 0.9)]


def test_the_confidence_falls_with_the_distance():
    found = [person_confidence(distance, 0.4) for distance in (0, 0.2, 0.4, 0.8, 2)]
    assert found == pytest.approx([1, 0.75, 0.5, 0, 0])


def test_ten_thousand_pictures_of_one_person_take_little_memory(tmp_path, monkeypatch):
    width, count = 128, 10_000
    monkeypatch.setattr("fer_cli.prediction.people.finder.embed_faces", lambda *_: None)
    people = StoredPeople(PeopleStore.open(tmp_path, BINDING), Encoders(CLASSIFIER, IDENTITY, HowNeutral()), MEAN)
    from fer_cli.prediction.people import finder

    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)

    def embed(frames, extract, encoders, faces, progress):
        for number in range(count):
            identity = np.eye(1, width, dtype=np.float32)[0] + rng.normal(0, 0.02, width).astype(np.float32)
            face = FacePrediction(0, crop=crops[number])
            faces.add(Frame(number, Path(f"{number}.jpg")), face, np.ones(2), identity, number / count, True)

    monkeypatch.setattr(finder, "embed_faces", embed)
    # Clustering has its own bound, and its own test.
    monkeypatch.setattr(finder, "cluster", lambda faces, *_, **__: np.zeros(len(faces), np.int64))
    tracemalloc.start()
    people.fit([], None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Embeddings alone would take 5 MB as float32.
    assert peak < 4_500_000
    with PeopleStore.open(tmp_path) as store:
        [person] = store.people()
        assert (person.faces, person.neutral) == (count, 5)
        assert [each.name for each in store.pictures([1])] == [f"{count - number}.jpg" for number in range(1, 6)]
        assert (tmp_path / "people.sqlite").stat().st_size < 2_000_000
