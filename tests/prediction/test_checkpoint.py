import errno
import os
from pathlib import Path

import numpy as np
import pytest

from fer_cli.errors import DiskFullError, FerError, UsageError
from fer_cli.prediction.checkpoint import Block, Checkpoint, input_of, line_of
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


def store(checkpoint: Checkpoint, results) -> None:
    assert list(checkpoint.store(results)) == list(results)


def remaining(checkpoint: Checkpoint) -> list[int]:
    return [index for index, _ in checkpoint.remaining()]


def pictures(tmp_path, *names: str) -> Checkpoint:
    made = Checkpoint(tmp_path / "many.csv")
    made.begin({}, resume=False)
    made.list_inputs(Input(Path(name)) for name in names)
    return made


def store_block(checkpoint: Checkpoint, start: int, stop: int) -> None:
    results = [
        FrameResult(Frame(index, Path(f"{index}.png")), (FacePrediction(0, SHARES),)) for index in range(start, stop)
    ]
    checkpoint.store_block(start, stop, b"".join(map(line_of, results)))


def ranges(checkpoint: Checkpoint, size: int) -> list[tuple[int, int]]:
    return [(start, stop) for start, stop, _ in checkpoint.remaining_blocks(size)]


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


def test_blocks_hold_so_many_inputs_in_order_and_a_video_is_one_of_its_own(tmp_path):
    many = pictures(tmp_path, "0.png", "1.png", "2.png", "3.mp4", "4.png")
    blocks = list(many.remaining_blocks(2))
    assert [block[:2] for block in blocks] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    found = [input_of(line) for block in blocks for line in block.inputs.splitlines()]
    assert found == list(many.inputs())
    assert isinstance(blocks[0], Block)


def test_blocks_stored_in_any_order_come_back_in_the_order_of_the_inputs_and_the_gaps_remain(tmp_path):
    many = pictures(tmp_path, *(f"{index}.png" for index in range(12)))
    for start, stop in ((10, 12), (3, 6), (0, 1)):
        store_block(many, start, stop)
    assert ranges(many, 4) == [(1, 3), (6, 10)]
    # Blocks of another size than those of the interrupted prediction.
    assert ranges(many, 1) == [(index, index + 1) for index in (1, 2, 6, 7, 8, 9)]
    for start, stop in ranges(many, 3):
        store_block(many, start, stop)
    assert ranges(many, 4) == []
    assert [each.frame.index for each in many.results()] == list(range(12))


@pytest.mark.parametrize("damage", ["cut", "empty", "shifted", "foreign", "overlapping"])
def test_a_damaged_block_is_done_again(tmp_path, damage):
    many = pictures(tmp_path, *(f"{index}.png" for index in range(4)))
    store_block(many, 0, 2)
    store_block(many, 2, 4)
    part = many.folder / "part-2-4.jsonl"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-20])
    elif damage == "empty":
        part.write_bytes(b"")
    elif damage == "shifted":
        part.write_bytes((many.folder / "part-0-2.jsonl").read_bytes())
    elif damage == "foreign":
        part.write_bytes(b"[" * 100_000 + b"\n")
    else:
        part.rename(many.folder / "part-1-3.jsonl")
    assert ranges(many, 4) == [(2, 4)]
    assert [each.frame.index for each in many.results()] == [0, 1]


def test_a_block_whose_video_was_not_finished_is_no_block(tmp_path):
    many = pictures(tmp_path, "0.png", "clip.mp4")
    many.store_block(1, 2, b"".join(map(line_of, video(1, 0, 5, end=False))))
    assert ranges(many, 4) == [(0, 1), (1, 2)]
    many.store_block(1, 2, b"".join(map(line_of, video(1, 0, 5, end=True))))
    assert ranges(many, 4) == [(0, 1)]


def test_a_checkpoint_of_a_version_that_counted_processes_is_gone_on_with_if_it_was_one(checkpoint):
    for processes in (1, 2):
        checkpoint.begin({"faces": "all", "processes": processes}, resume=False)
        if processes == 1:
            checkpoint.begin({"faces": "all"}, resume=True)
    with pytest.raises(UsageError, match="processes is not what"):
        checkpoint.begin({"faces": "all"}, resume=True)


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


def test_a_block_for_which_there_is_no_room_is_not_there_at_all(tmp_path, monkeypatch):
    many = pictures(tmp_path, "0.png")

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="disk is full"):
        store_block(many, 0, 1)
    assert ranges(many, 1) == [(0, 1)]


def test_when_all_is_done_nothing_is_left(checkpoint, tmp_path):
    checkpoint.remove()
    assert not list(tmp_path.iterdir())
