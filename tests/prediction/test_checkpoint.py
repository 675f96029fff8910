import os
from pathlib import Path

import numpy as np
import pytest

from fer_cli.errors import FerError, UsageError
from fer_cli.prediction.checkpoint import Checkpoint
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Skipped
from fer_cli.prediction.sources import Input

INPUTS = [Input(Path("0.png"), "anna"), Input(Path("clip.mp4")), Input(Path(os.fsdecode(b"\xff\n.png")), None, "gone")]
SHARES = {"anger": 0.1 + 0.2, "surprise": 1 / 3}


def picture(index: int) -> FrameResult:
    located = {"box": (0.1, 2, 3, 4), "landmarks": np.arange(10.0).reshape(5, 2) / 3, "detection": 0.7}
    path = INPUTS[index].path
    return FrameResult(
        Frame(index, path),
        (FacePrediction(0, SHARES, neutral="rest.png", **located), FacePrediction(1, SHARES)),
        (Skipped("no neutral", face=2), Skipped("first taken", fault=False)),
    )


def video(index: int, *frames: int, end: bool) -> list[FrameResult]:
    path = INPUTS[index].path
    found = [
        FrameResult(
            Frame(index, path, number=frame, time=frame / 25),
            (FacePrediction(0, SHARES),),
            (Skipped("no face found", fault=False),),
        )
        for frame in frames
    ]
    return found + ([FrameResult(Frame(index, path, end=True))] if end else [])


@pytest.fixture
def checkpoint(tmp_path) -> Checkpoint:
    made = Checkpoint(tmp_path / "p.csv")
    made.begin({"faces": "all"}, resume=False)
    assert made.list_inputs(INPUTS) == 3
    return made


def store(checkpoint: Checkpoint, results, rank: int = 0) -> None:
    assert list(checkpoint.store(results, rank)) == list(results)


def remaining(checkpoint: Checkpoint, *share: int) -> list[int]:
    return [index for index, _ in checkpoint.remaining(*share)]


def facts(result: FrameResult) -> tuple:
    """A result with its landmarks as something that can be compared."""
    landmarks = [None if each.landmarks is None else each.landmarks.tolist() for each in result.faces]
    return result, landmarks


def test_inputs_come_back_with_their_numbers_whatever_their_names(checkpoint):
    assert list(checkpoint.remaining()) == list(enumerate(INPUTS))
    assert list(checkpoint.inputs()) == INPUTS


def test_inputs_are_listed_once(checkpoint):
    assert checkpoint.list_inputs([Input(Path("another.png"))]) == 3


def test_results_come_back_to_the_last_digit(checkpoint):
    results = [picture(0), *video(1, 0, 5, end=True), picture(2)]
    store(checkpoint, results)
    assert [facts(each) for each in checkpoint.results()] == [facts(each) for each in results]
    assert remaining(checkpoint) == []


def test_a_result_is_stored_only_when_whoever_takes_it_comes_back(checkpoint):
    stored = checkpoint.store([picture(0), picture(2)])
    next(stored)
    stored.close()
    assert remaining(checkpoint) == [0, 1, 2]
    assert checkpoint.empty


@pytest.mark.parametrize("torn", [1, 20, 200])
def test_a_line_cut_short_is_done_again(checkpoint, torn):
    store(checkpoint, [picture(0), *video(1, 0, end=True)])
    part = checkpoint.folder / "part-0.jsonl"
    whole = part.read_bytes()
    store(checkpoint, [picture(2)])
    part.write_bytes(part.read_bytes()[: len(whole) + torn])
    assert remaining(checkpoint) == [2]
    assert part.read_bytes() == whole


def test_a_video_that_was_not_finished_is_done_again_from_its_start(checkpoint):
    store(checkpoint, [picture(0), *video(1, 0, 5, end=False)])
    assert remaining(checkpoint) == [1, 2]
    assert [each.frame.index for each in checkpoint.results()] == [0]


def test_processes_share_the_inputs_and_their_parts_are_merged_in_order(checkpoint):
    assert remaining(checkpoint, 0, 2) == [0, 2]
    assert remaining(checkpoint, 1, 2) == [1]
    store(checkpoint, [picture(0), picture(2)], 0)
    store(checkpoint, video(1, 0, 5, end=True), 1)
    assert [each.frame.index for each in checkpoint.results()] == [0, 1, 1, 1, 2]
    assert [each.frame.number for each in checkpoint.results()] == [None, 0, 5, None, None]


def test_what_was_begun_otherwise_is_not_gone_on_with(checkpoint):
    store(checkpoint, [picture(0)])
    with pytest.raises(UsageError, match="faces is not what"):
        checkpoint.begin({"faces": "largest"}, resume=True)
    checkpoint.begin({"faces": "all"}, resume=True)
    assert remaining(checkpoint) == [1, 2]
    checkpoint.begin({"faces": "largest"}, resume=False)
    assert not list(checkpoint.folder.glob("part-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_up_on_the_way_is_a_sentence(checkpoint):
    (checkpoint.folder / "part-0.jsonl").symlink_to("/dev/full")
    with pytest.raises(FerError, match=r"disk is full.*part-0\.jsonl"):
        list(checkpoint.store([picture(0)]))


def test_when_all_is_done_nothing_is_left(checkpoint, tmp_path):
    checkpoint.remove()
    assert not list(tmp_path.iterdir())
