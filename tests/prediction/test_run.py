import csv
from pathlib import Path

import cv2
import pytest

from fer_cli.errors import PictureError, UsageError
from fer_cli.prediction.neutral.given import GivenNeutral
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.run import check, run
from fer_cli.prediction.sinks.images import FaceCrops
from tests.prediction.made import made_pictures
from tests.prediction.test_sources import FakeCamera
from tests.videos import make_video, shades


def do(classifier, *sources, finder=None, progress=lambda *_, **__: None, **settings):
    names = list(map(str, sources))
    return run(names, check(names, PredictOptions(**settings)), classifier, finder=finder, progress=progress)


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
    assert (summary.frames, summary.used, summary.faces, summary.faults) == (9, 8, 8, 1)
    assert summary.labels.total() == 8


def stopped_after(results: int):
    """Progress in which Ctrl-C is pressed once so many results are counted."""

    def progress(stage, done, _total, **_):
        if (stage, done) == ("predicting", results):
            raise KeyboardInterrupt

    return progress


def test_a_resumed_prediction_writes_what_is_stored_and_then_what_is_new(alone, tmp_path, monkeypatch):
    made_pictures(tmp_path / "in", 9)
    (tmp_path / "in" / "000.png").write_bytes(b"")
    (tmp_path / "in" / "008.png").write_bytes(b"")
    whole = do(alone, tmp_path / "in", out=tmp_path / "whole.csv", crops=tmp_path / "all")
    settings = {"out": tmp_path / "p.csv", "crops": tmp_path / "crops", "report": tmp_path / "p.html"}
    with pytest.raises(KeyboardInterrupt):
        do(alone, tmp_path / "in", progress=stopped_after(5), **settings)
    assert not list(tmp_path.glob("*p.*csv"))
    # The fifth is made again: it was not stored when its sinks had it.
    cropped = {path.name for path in settings["crops"].iterdir()}
    assert len(cropped) == 4
    counted, written = [], []
    monkeypatch.setattr(FaceCrops, "write", lambda _, result: written.append(result.frame.index))
    summary = do(alone, tmp_path / "in", progress=lambda *step, **_: counted.append(step[1:]), resume=True, **settings)
    assert written == [4, 5, 6, 7, 8]
    assert counted[-9:] == [(done, 9) for done in range(1, 10)]
    assert summary == whole
    for name in ("csv", "errors.csv"):
        assert (tmp_path / f"p.{name}").read_bytes() == (tmp_path / f"whole.{name}").read_bytes()
    assert (tmp_path / "p.html").read_text(encoding="utf-8").count('class="card"') == 7


def test_files_go_next_to_the_output_unless_named(faces):
    options = check([str(faces[0])], PredictOptions(out=Path("out/p.parquet")))
    assert (options.errors, options.timeline) == (Path("out/p.errors.csv"), Path("out/p.timeline.png"))
    options = check([str(faces[0])], PredictOptions(out=Path("p.csv"), errors=Path("e.csv")))
    assert options.errors == Path("e.csv")
    assert check([str(faces[0])], PredictOptions()).errors is None


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
            finder=GivenNeutral(tmp_path / "nowhere.png"),
        )
    assert not list((tmp_path / "out").iterdir())


class Fitted(GivenNeutral):
    """Neutral faces that remember which frames they were fitted on."""

    def fit(self, frames, extract):
        self.seen = None if frames is None else [frame.path for frame in frames]
        super().fit(frames, extract)


@pytest.mark.parametrize("out", [None, "p.csv"])
def test_the_neutral_finder_is_fitted_on_all_frames_first(paired, faces, tmp_path, out):
    finder = Fitted(faces[0])
    summary = do(paired, *faces, out=out and tmp_path / out, finder=finder)
    assert finder.seen == faces
    assert summary.frames == len(faces)


@pytest.mark.parametrize("out", [None, "p.csv"])
def test_a_camera_gives_rows_and_is_read_once(paired, faces, tmp_path, out, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    finder = Fitted(faces[0])
    summary = do(paired, camera=0, every="2", out=out and tmp_path / out, finder=finder)
    assert summary.faces == 3
    assert finder.seen is None
    if out:
        with (tmp_path / out).open(newline="") as file:
            assert [row["frame"] for row in csv.DictReader(file)] == ["0", "2", "4"]
