import csv
from pathlib import Path

import cv2
import pytest

from fer_cli.errors import PictureError, UsageError
from fer_cli.prediction.given_neutral import given_neutral
from fer_cli.prediction.perform import check, perform
from fer_cli.prediction.request import Request
from tests.prediction.made import made_pictures
from tests.prediction.test_camera import Camera
from tests.videos import make_video, shades


def do(classifier, *sources, make_neutral=None, progress=lambda *_, **__: None, **settings):
    names = list(map(str, sources))
    return perform(names, check(names, Request(**settings)), classifier, make_neutral=make_neutral, progress=progress)


def test_progress_counts_inputs_and_says_how_many_there_are(alone, tmp_path):
    made_pictures(tmp_path / "in", 5)
    for out in (None, tmp_path / "p.csv"):
        seen = []
        do(alone, tmp_path / "in", out=out, progress=lambda *step, seen=seen, **_: seen.append(step))
        assert [step for step in seen if step[0] == "predicting"] == [("predicting", done, 5) for done in range(1, 6)]


def test_the_sum_counts_frames_faces_labels_and_faults(alone, tmp_path):
    made_pictures(tmp_path / "in", 3)
    (tmp_path / "in" / "empty.png").touch()
    make_video(tmp_path / "in" / "clip.mp4", shades(10))
    summary = do(alone, tmp_path / "in", every="2")
    assert (summary.shots, summary.used, summary.faces, summary.faults) == (9, 8, 8, 1)
    assert summary.labels.total() == 8


def test_files_go_beside_the_output_unless_named(faces):
    request = check([str(faces[0])], Request(out=Path("out/p.parquet")))
    assert (request.errors, request.timeline) == (Path("out/p.errors.csv"), Path("out/p.timeline.png"))
    request = check([str(faces[0])], Request(out=Path("p.csv"), errors=Path("e.csv")))
    assert request.errors == Path("e.csv")
    assert check([str(faces[0])], Request()).errors is None


@pytest.mark.parametrize("name", ["p.csv", "p.errors.csv", "p.timeline.png", "crops/1.png"])
def test_what_would_be_overwritten_is_refused_before_work(alone, faces, tmp_path, name):
    (tmp_path / "crops").mkdir()
    (tmp_path / name).write_text("mine")
    settings = {"out": tmp_path / "p.csv", "crops": tmp_path / "crops"}
    with pytest.raises(UsageError, match="is there already"):
        do(alone, faces[0], **settings)
    assert (tmp_path / name).read_text() == "mine"
    do(alone, faces[0], **settings, overwrite=True)


def test_a_source_is_needed_and_must_be_there(alone, tmp_path):
    with pytest.raises(UsageError, match="SOURCE"):
        do(alone)
    with pytest.raises(PictureError, match="no file or folder"):
        do(alone, tmp_path / "nowhere")


def test_a_neutral_picture_that_cannot_be_used_leaves_nothing_behind(paired, faces, tmp_path):
    with pytest.raises(PictureError, match="nowhere"):
        do(
            paired,
            *faces,
            out=tmp_path / "out" / "p.csv",
            make_neutral=lambda looker, _: given_neutral(tmp_path / "nowhere.png", looker),
        )
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("out", [None, "p.csv"])
def test_whoever_makes_the_neutral_faces_may_look_at_all_shots_first(paired, faces, tmp_path, out):
    seen = []

    def make(looker, again):
        seen.append([shot.path for shot in again()])
        seen.append([shot.path for shot in again()])
        return given_neutral(faces[0], looker)

    do(paired, *faces, out=out and tmp_path / out, make_neutral=make)
    assert seen == [faces, faces]


@pytest.mark.parametrize("out", [None, "p.csv"])
def test_a_camera_gives_rows_and_is_looked_at_once(paired, faces, tmp_path, out, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    told = []

    def make(looker, again):
        told.append(again)
        return given_neutral(faces[0], looker)

    summary = do(paired, camera=0, every="2", out=out and tmp_path / out, make_neutral=make)
    assert summary.faces == 3
    assert told == [None]
    if out:
        with (tmp_path / out).open(newline="") as file:
            assert [row["frame"] for row in csv.DictReader(file)] == ["0", "2", "4"]
