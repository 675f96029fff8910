from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.prediction.neutral import AutoNeutral
from fer_cli.prediction.neutral.identity import IdentityEncoder
from fer_cli.prediction.neutral.scoring import Neutrality
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult

MEAN = NeutralMean(torch.tensor([-1.0, -1.0]), 5)


class WhoIsIt(nn.Module):
    """A face's first colour says who it is: people are a right angle apart."""

    def forward(self, crops):
        return nn.functional.one_hot(crops[:, 0, 0, 0].long(), 8).float()


class HowNeutral:
    """A face's second colour says how neutral it is, in parts of 255; certain above a half."""

    about, confident = "the second colour", True

    def __call__(self, crops, embeddings):
        scores = crops[:, 1, 0, 0].numpy() / 255
        return Neutrality(scores, scores > 0.5)


CLASSIFIER = SimpleNamespace(
    model=SimpleNamespace(encoder=nn.Identity()), embed=lambda crops: crops[:, :2, 0, 0].float()
)


class Aligned(IdentityEncoder):
    """An identity encoder of aligned faces."""

    aligned = True


class Extract:
    """An extractor whose faces have no landmarks."""

    def __init__(self, extract):
        self.extract = extract

    def __call__(self, frame: Frame) -> FrameResult:
        return self.extract(frame)

    def aligning(self):
        return self


def find(album: dict[str, list[tuple[int, int]]], *, frames: bool = False, tell=lambda _: None, aligns: bool = False):
    """Neutral faces for pictures by name, each a list of faces: who, and how neutral."""

    def extract(frame: Frame) -> FrameResult:
        faces = album[frame.path.name]
        crops = (np.full((4, 4, 3), (who, neutral, 0), np.uint8) for who, neutral in faces)
        return FrameResult(frame, tuple(FacePrediction(number, crop=crop) for number, crop in enumerate(crops)))

    frames = [
        Frame(number, Path("album", name), number=10 * number if frames else None) for number, name in enumerate(album)
    ]
    kind = Aligned if aligns else IdentityEncoder
    extract = Extract(extract)
    identity = kind(WhoIsIt(), lambda crops: crops, 0.5, "the first colour", torch.device("cpu"))
    found = AutoNeutral(CLASSIFIER, identity, HowNeutral(), MEAN, tell=tell)
    found.fit(frames, extract)
    return found, {frame.path.name: frame for frame in frames}


def served(found, frames, name: str, number: int = 0) -> str:
    return found.neutral_for(frames[name], FacePrediction(number)).name


def test_a_face_is_compared_with_the_most_neutral_one_of_the_same_person():
    found, frames = find({"a": [(1, 20)], "b": [(2, 250)], "c": [(1, 200)], "d": [(1, 180)], "e": [(2, 10)]})
    assert served(found, frames, "a") == served(found, frames, "d") == "album/c"
    assert served(found, frames, "e") == "album/b"
    neutral = found.neutral_for(frames["a"], FacePrediction(0))
    assert neutral.embedding.tolist() == [1, 200]
    assert neutral.confidence == pytest.approx(200 / 255)


def test_faces_that_cannot_be_aligned_are_told_apart_and_it_is_said():
    told = []
    found, frames = find({"a": [(1, 20)], "b": [(1, 200)]}, tell=told.append, aligns=True)
    assert served(found, frames, "a") == "album/b"
    assert any("2 of 2 faces have no landmarks" in line for line in told)
    others = []
    find({"a": [(1, 20)], "b": [(1, 200)]}, tell=others.append)
    assert not any("landmarks" in line for line in others)


def test_a_picture_is_never_its_own_neutral():
    found, frames = find({"a": [(1, 20)], "b": [(1, 200)]})
    assert served(found, frames, "b") == "mean"
    assert found.neutral_for(frames["b"], FacePrediction(0)).embedding.tolist() == [-1, -1]
    assert found.neutral_for(frames["b"], FacePrediction(0)).confidence is None


def test_a_person_seen_once_or_never_surely_neutral_is_compared_with_the_average():
    found, frames = find({"a": [(1, 250)], "b": [(2, 100)], "c": [(2, 90)]})
    assert {served(found, frames, name) for name in "abc"} == {"mean"}
    people = found.people
    assert (people.faces, people.people, people.served, people.once, people.unsure) == (3, 2, 0, 1, 1)
    assert people.confidence is None


def test_every_face_of_a_picture_has_its_own():
    found, frames = find({"group": [(1, 20), (2, 30)], "one": [(2, 200)], "other": [(3, 220), (1, 210)]})
    assert served(found, frames, "group", 0) == "album/other face 1"
    assert served(found, frames, "group", 1) == "album/one"


def test_frames_of_a_video_are_told_apart():
    found, frames = find({"clip": [(1, 200)], "again": [(1, 20)]}, frames=True)
    assert served(found, frames, "again") == "album/clip frame 0"


def test_what_was_not_there_before_is_compared_with_the_average():
    found, _ = find({"a": [(1, 20)], "b": [(1, 200)]})
    assert found.neutral_for(Frame(9, Path("album/late")), FacePrediction(0)).name == "mean"
    assert found.neutral_for(Frame(0, Path("album/a")), FacePrediction(7)).name == "mean"


def test_of_two_as_neutral_the_first_serves():
    found, frames = find({"a": [(1, 200)], "b": [(1, 200)], "c": [(1, 0)]})
    assert served(found, frames, "c") == "album/a"
    assert found.people.confidence == pytest.approx(200 / 255)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 40])
def test_any_number_of_faces(count):
    album = {f"{number:02d}": [(number % 3, 255 - number)] for number in range(count)}
    found, frames = find(album)
    assert found.people.faces == count
    for number, name in enumerate(album):
        # The first three pictures are the three people's most neutral ones, and nobody is seen once above five.
        expected = "mean" if number < 3 or count < 4 else f"album/{number % 3:02d}"
        assert served(found, frames, name) == expected


def test_names_that_are_no_text_are_kept():
    found, frames = find({"a\udce9": [(1, 200)], "b": [(1, 20)]})
    assert served(found, frames, "b") == "album/a\udce9"
