import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_cli.errors import FerError, UsageError
from fer_cli.faces.detect import Face
from fer_cli.prediction.inputs import Input
from fer_cli.prediction.outcomes import Missed, Outcome, Prediction
from fer_cli.prediction.shots import Shot
from fer_cli.prediction.unfinished import Unfinished

INPUTS = [Input(Path("0.png"), "anna"), Input(Path("clip.mp4")), Input(Path(os.fsdecode(b"\xff\n.png")), None, "gone")]
SHARES = {"anger": 0.1 + 0.2, "surprise": 1 / 3}


def picture(index: int) -> Outcome:
    face = Face((0.1, 2, 3, 4), np.arange(10.0).reshape(5, 2) / 3, 0.7)
    path = INPUTS[index].path
    return Outcome(
        Shot(index, path),
        (Prediction(path, 0, face, SHARES, "rest.png"), Prediction(path, 1, None, SHARES)),
        (Missed(path, "no neutral", number=2), Missed(path, "first taken", fault=False)),
    )


def video(index: int, *frames: int, end: bool) -> list[Outcome]:
    path = INPUTS[index].path
    found = [
        Outcome(
            Shot(index, path, frame=frame, time=frame / 25),
            (Prediction(path, 0, None, SHARES, "", frame, frame / 25),),
            (Missed(path, "no face found", False, None, frame),),
        )
        for frame in frames
    ]
    return found + ([Outcome(Shot(index, path, end=True))] if end else [])


@pytest.fixture
def unfinished(tmp_path) -> Unfinished:
    made = Unfinished(tmp_path / "p.csv")
    made.begin({"faces": "all"}, resume=False)
    assert made.list_inputs(INPUTS) == 3
    return made


def keep(unfinished: Unfinished, outcomes, rank: int = 0) -> None:
    assert list(unfinished.keep(outcomes, rank)) == list(outcomes)


def left(unfinished: Unfinished, *share: int) -> list[int]:
    return [index for index, _ in unfinished.inputs(*share)]


def facts(outcome: Outcome) -> tuple:
    """An outcome with its landmarks as something that can be compared."""
    faces = [
        each.face and (each.face.box, each.face.landmarks.tolist(), each.face.score) for each in outcome.predictions
    ]
    return outcome.shot, faces, [replace(each, face=None) for each in outcome.predictions], outcome.missed


def test_inputs_come_back_with_their_numbers_whatever_their_names(unfinished):
    assert list(unfinished.inputs()) == list(enumerate(INPUTS))
    assert list(unfinished.all_inputs()) == INPUTS


def test_inputs_are_listed_once(unfinished):
    assert unfinished.list_inputs([Input(Path("another.png"))]) == 3


def test_outcomes_come_back_to_the_last_digit(unfinished):
    outcomes = [picture(0), *video(1, 0, 5, end=True), picture(2)]
    keep(unfinished, outcomes)
    assert [facts(each) for each in unfinished.outcomes()] == [facts(each) for each in outcomes]
    assert left(unfinished) == []


def test_an_outcome_is_kept_only_when_whoever_takes_it_comes_back(unfinished):
    kept = unfinished.keep([picture(0), picture(2)])
    next(kept)
    kept.close()
    assert left(unfinished) == [0, 1, 2]
    assert unfinished.empty


@pytest.mark.parametrize("torn", [1, 20, 200])
def test_a_line_cut_short_is_done_again(unfinished, torn):
    keep(unfinished, [picture(0), *video(1, 0, end=True)])
    part = unfinished.folder / "part-0.jsonl"
    whole = part.read_bytes()
    keep(unfinished, [picture(2)])
    part.write_bytes(part.read_bytes()[: len(whole) + torn])
    assert left(unfinished) == [2]
    assert part.read_bytes() == whole


def test_a_video_that_was_not_finished_is_done_again_from_its_start(unfinished):
    keep(unfinished, [picture(0), *video(1, 0, 5, end=False)])
    assert left(unfinished) == [1, 2]
    assert [each.shot.index for each in unfinished.outcomes()] == [0]


def test_processes_share_the_inputs_and_their_parts_are_merged_in_order(unfinished):
    assert left(unfinished, 0, 2) == [0, 2]
    assert left(unfinished, 1, 2) == [1]
    keep(unfinished, [picture(0), picture(2)], 0)
    keep(unfinished, video(1, 0, 5, end=True), 1)
    assert [each.shot.index for each in unfinished.outcomes()] == [0, 1, 1, 1, 2]
    assert [each.shot.frame for each in unfinished.outcomes()] == [None, 0, 5, None, None]


def test_what_was_begun_otherwise_is_not_gone_on_with(unfinished):
    keep(unfinished, [picture(0)])
    with pytest.raises(UsageError, match="faces is not what"):
        unfinished.begin({"faces": "largest"}, resume=True)
    unfinished.begin({"faces": "all"}, resume=True)
    assert left(unfinished) == [1, 2]
    unfinished.begin({"faces": "largest"}, resume=False)
    assert not list(unfinished.folder.glob("part-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_up_on_the_way_is_a_sentence(unfinished):
    (unfinished.folder / "part-0.jsonl").symlink_to("/dev/full")
    with pytest.raises(FerError, match=r"disk is full.*part-0\.jsonl"):
        list(unfinished.keep([picture(0)]))


def test_when_all_is_done_nothing_is_left(unfinished, tmp_path):
    unfinished.remove()
    assert not list(tmp_path.iterdir())
