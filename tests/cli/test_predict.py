"""``fer predict`` as a person types it, in processes of its own where that is what matters."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from fer_cli import extras
from fer_cli.cli.app import app
from fer_cli.cli.console import PlainConsole
from fer_cli.cli.predict import ResultTable, _show_summary
from fer_cli.prediction import sources
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Summary
from fer_cli.prediction.sinks.rows import FORMATS, RowSink
from fer_cli.prediction.sources import Input, Source
from tests.prediction.made import made_pictures, made_run
from tests.videos import cut, make_video, scenes, shades


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of a small model."""
    return made_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def paired_run(tmp_path_factory) -> Path:
    """A finished run of a model that compares with neutral faces."""
    return made_run(tmp_path_factory.mktemp("paired"), "both")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with a dozen pictures of faces."""
    monkeypatch.chdir(tmp_path)
    made_pictures(tmp_path / "faces", 12)
    return tmp_path


def fer(run: Path, *words: str, code: int = 0, stdin: bytes | None = None) -> tuple[str, str]:
    """What ``fer predict`` shows and says; fails if it exits otherwise than with ``code``."""
    result = CliRunner().invoke(app, ["predict", "--run", str(run), *words], env={"COLUMNS": "160"}, input=stdin)
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result.stdout, result.stderr


def command(run: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "fer_cli", "predict", "--run", str(run), *words]


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_go_to_standard_output_in_either_format_and_words_elsewhere(here, run):
    shown, said = fer(run, "faces")
    assert [row["file"] for row in csv.DictReader(shown.splitlines())] == [f"faces/{n:03d}.png" for n in range(12)]
    lines, _ = fer(run, "faces/*0.png", "--format", "jsonl")
    assert [json.loads(line)["file"] for line in lines.splitlines()] == ["faces/000.png", "faces/010.png"]
    assert "12 faces in 12 of 12 pictures" in said
    assert "expression" in said


def test_the_sum_counts_faces_by_expression(here, run):
    _, said = fer(run, "faces", "--out", "p.csv")
    counts = pd.Series([row["label"] for row in rows("p.csv")]).value_counts()
    for label, count in counts.items():
        assert any(line.split()[:2] == [label, str(count)] for line in said.splitlines())


def test_the_ending_of_the_file_is_its_format(here, run):
    for name in ("p.csv", "p.jsonl", "p.parquet"):
        fer(run, "faces", "--out", name)
    tables = [pd.read_csv("p.csv"), pd.read_json("p.jsonl", lines=True), pd.read_parquet("p.parquet")]
    assert [len(table) for table in tables] == [12] * 3
    assert len({tuple(table["label"]) for table in tables}) == 1
    assert "ending" in fer(run, "faces", "--out", "p.txt", code=2)[1]


def test_names_may_come_through_a_pipe(here, run):
    names = sorted(Path("faces").iterdir())[:3]
    shown, _ = fer(run, "-", "--format", "jsonl", stdin="\n".join(map(str, names)).encode())
    assert [json.loads(line)["file"] for line in shown.splitlines()] == list(map(str, names))
    fer(run, "-", "--out", "p.csv", stdin=b"\0".join(map(bytes, names)))
    assert [row["file"] for row in rows("p.csv")] == list(map(str, names))


def test_a_row_is_there_before_the_names_end_and_whoever_has_read_enough_may_go(here, run):
    with subprocess.Popen(
        command(run, "-", "--format", "jsonl"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(b"faces/000.png\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["file"] == "faces/000.png"
        process.stdout.close()
        process.stdin.write(b"faces/001.png\n")
        process.stdin.flush()
        # The names have not ended, and nobody reads: like head -1 after a find that goes on.
        said = process.stderr.read().decode()
        assert process.wait() == 0
    assert "Traceback" not in said
    assert "rror" not in said


def test_bad_inputs_are_in_a_file_of_their_own_and_told_by_the_exit_code(here, run):
    (here / "faces" / "005.png").write_bytes(b"")
    _, said = fer(run, "faces", "--out", "p.csv", code=3)
    assert "faces/005.png: empty file" in said
    assert "p.errors.csv" in said
    assert rows("p.errors.csv") == [
        {"file": "faces/005.png", "frame": "", "face": "", "kind": "fault", "reason": "empty file"}
    ]
    assert len(rows("p.csv")) == 11
    fer(run, "faces/005.png", "--errors", "e.csv", code=1)
    assert len(rows("e.csv")) == 1
    (here / "faces" / "005.png").unlink()
    fer(run, "faces", "--out", "p.csv", "--overwrite")
    assert not Path("p.errors.csv").exists()


def test_a_long_list_of_bad_inputs_does_not_drown_the_terminal(here, run):
    for number in range(30):
        (here / "faces" / f"bad{number}.png").touch()
    _, said = fer(run, "faces", code=3)
    assert said.count("empty file") == 20
    assert "and 10 more like these; --errors FILE takes them all" in " ".join(said.split())


def test_nothing_is_overwritten_unasked(here, run):
    Path("p.csv").write_text("mine")
    Path("crops").mkdir()
    Path("crops/mine.png").touch()
    assert "p.csv is there already" in fer(run, "faces", "--out", "p.csv", code=2)[1]
    assert "crops is there already" in fer(run, "faces", "--out", "q.csv", "--crops", "crops", code=2)[1]
    assert Path("p.csv").read_text() == "mine"
    fer(run, "faces", "--out", "p.csv", "--overwrite")
    assert len(rows("p.csv")) == 12


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_sentence(here, run, monkeypatch):
    said = fer(run, "faces", "--out", "/dev/full", code=1)[1]
    assert "disk is full (No space left on device): nothing more can be written to /dev/full" in said


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
def test_a_killed_prediction_goes_on_and_gives_what_one_in_one_go_gives(here, run):
    made_pictures(here / "many", 150)
    make_video(here / "many" / "b.mp4", scenes(40))
    (here / "many" / "c.png").touch()
    common = ("many", "--every", "2", "--smooth", "0.5", "--device", "cpu")
    fer(run, *common, "--out", "whole.csv", code=3)
    part = Path(".p.csv.unfinished/part-0.jsonl")
    with subprocess.Popen(command(run, *common, "--out", "p.csv"), stderr=subprocess.DEVNULL) as process:
        while not (part.exists() and part.read_bytes().count(b"\n") >= 40):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not Path("p.csv").exists()
    assert list(here.glob(".p.csv.*.part"))
    said = fer(run, *common, "--out", "p.csv", code=2)[1]
    assert "--resume" in said
    for changed in ("--faces=largest", "--schema=openface"):
        said = fer(run, *common, changed, "--out", "p.csv", "--resume", code=2)[1]
        assert f"{changed[2:].split('=')[0]} is not what" in said
    fer(run, *common, "--out", "p.csv", "--resume", code=3)
    assert Path("p.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert Path("p.errors.csv").read_bytes() == Path("whole.errors.csv").read_bytes()
    assert len(rows("p.csv")) == 170
    assert [row["track"] for row in rows("p.csv") if row["frame"]] == ["0"] * 5 + ["1"] * 10 + ["0"] * 5
    assert not part.parent.exists()
    assert not list(here.glob(".*"))
    # What is finished is not begun again.
    assert "is complete" in fer(run, *common, "--out", "p.csv", "--resume", code=2)[1]


def test_under_torchrun_the_engine_for_several_machines_is_named(here, run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "--engine ray" in fer(run, "faces", "--out", "p.csv", code=2)[1]


def test_on_ray_neutral_faces_are_not_searched_for(here, paired_run, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda module: True)
    said = fer(paired_run, "faces", "--engine", "ray", "--out", "p.csv", code=2)[1]
    assert "--neutral mean, --neutral PICTURE, or --people DIR" in said
    assert not Path(".p.csv.unfinished").exists()


def test_a_video_gives_times_a_timeline_and_a_video_drawn_on(here, run):
    make_video(here / "clip.mp4", shades(30, (320, 240)))
    fer(run, "clip.mp4", "--every", "0.4s", "--out", "v.jsonl", "--annotate", "drawn")
    found = [json.loads(line) for line in Path("v.jsonl").read_text().splitlines()]
    assert [(row["frame"], row["time"]) for row in found] == [(0, 0.0), (10, 0.4), (20, 0.8)]
    assert Path("v.timeline.png").exists()
    assert [path.name for path in Path("drawn").iterdir()] == ["000000-clip.mp4"]


def test_a_table_has_the_columns_of_other_programs(here, run):
    make_video(here / "clip.mp4", scenes(4))
    fer(run, "clip.mp4", "--schema", "openface", "--out", "o.csv")
    found = rows("o.csv")
    assert [(row["frame"], row["face_id"], row["success"]) for row in found] == [
        *(("1", "0", "1"), ("2", "1", "1"), ("3", "1", "1"), ("4", "0", "1"))
    ]
    piped = fer(run, "clip.mp4", "--schema", "pyfeat")[0].splitlines()
    assert piped[0].startswith(
        "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,anger,happiness,surprise,input"
    )
    assert "openface" in fer(run, "clip.mp4", "--schema", "none", code=2)[1]


def test_smoothing_makes_what_flickers_calmer(here, run):
    flicker = [np.full((48, 64, 3), level, np.uint8) for level in (30, 220) * 10]
    make_video(here / "clip.avi", flicker, keys=1)
    fer(run, "clip.avi", "--out", "raw.csv")
    fer(run, "clip.avi", "--out", "calm.csv", "--smooth", "1")
    raw, calm = (pd.read_csv(name)["p_anger"].diff().abs().sum() for name in ("raw.csv", "calm.csv"))
    assert calm < raw / 5


def test_pictures_are_sorted_by_their_label(here, run):
    fer(run, "faces", "--out", "p.csv", "--sort-into", "sorted")
    linked = {path.resolve().name: path.parent.name for path in Path("sorted").rglob("*.png")}
    assert linked == {Path(row["file"]).name: row["label"] for row in rows("p.csv")}


def test_each_row_says_which_neutral_face_served(here, paired_run):
    fer(paired_run, "faces", "--neutral", "faces/003.png", "--out", "p.csv")
    found = {row["file"]: row["neutral"] for row in rows("p.csv")}
    assert set(found.values()) == {"faces/003.png"}
    assert len(found) == 11
    assert rows("p.errors.csv")[0]["kind"] == "note"
    Path("list.csv").write_text("file,subject\nfaces/001.png,anna\nfaces/002.png,bert\nfaces/003.png,carl\n")
    Path("rest.csv").write_text("subject,file\nanna,faces/010.png\nbert,faces/011.png\n")
    fer(paired_run, "list.csv", "--neutral", "rest.csv", "--out", "s.csv", code=3)
    assert [row["neutral"] for row in rows("s.csv")] == ["faces/010.png", "faces/011.png"]
    assert "carl" in rows("s.errors.csv")[0]["reason"]
    # It was made without an average neutral face, and without the dataset that would tell it.
    assert "--neutral PICTURE" in fer(paired_run, "faces", "--out", "t.csv", code=1)[1]
    assert not list(here.glob(".t.csv*"))


def test_a_camera_that_is_not_there_is_said(here, run):
    assert "no camera of this number" in fer(run, "--camera", "99", "--out", "p.csv", code=1)[1]
    assert not list(here.glob("*p.csv*"))
    assert "--camera" in fer(run, code=2)[1]
    assert "one of them" in fer(run, "faces", "--camera", "0", code=2)[1]


def test_a_name_cannot_move_the_cursor(here, run):
    Image.new("L", (8, 8)).save("a.png")
    Path("a.png").rename("\x1b[2J.png")
    Path("\x1b[2J.png").write_bytes(b"")
    assert "\x1b[2J" not in fer(run, "\x1b[2J.png", code=1)[1]


def test_case_14_rows_that_are_piped_are_utf8_whatever_the_locale(here, run):
    Path("faces/000.png").rename("你好.png")
    done = subprocess.run(
        command(run, "你好.png", "--format", "jsonl"),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["file"] == "你好.png"


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (26, ["file", "label"]),
        (40, ["file", "label", "confidence"]),
        (50, ["file", "face", "label", "confidence"]),
        (100, ["file", "face", "label", "confidence", "then"]),
    ],
)
def test_case_14_a_narrow_terminal_shows_fewer_columns_and_whole_words(monkeypatch, width, columns):
    shares = {"happiness": 0.9, "neutral": 0.1}
    screen = Console(width=width, force_terminal=True, color_system=None, file=StringIO())
    monkeypatch.setattr("fer_cli.cli.predict.out", screen)
    shown = ResultTable()
    for number in range(2):
        path = Path(f"albums/{number}.png")
        shown.add(FrameResult(Frame(number, path), (FacePrediction(0, shares),)))
    shown.show(to_file=False)
    header, *lines = (line.split() for line in screen.file.getvalue().splitlines())
    assert header == columns
    assert [line[0] for line in lines] == ["albums/0.png", "albums/1.png"]
    assert all(line[columns.index("label")] == "happiness" for line in lines)


def test_case_14_a_name_wider_than_the_terminal_goes_on_in_the_next_line(monkeypatch):
    screen = Console(width=40, force_terminal=True, color_system=None, file=StringIO())
    monkeypatch.setattr("fer_cli.cli.predict.out", screen)
    path = Path("/".join(["albums"] * 10))
    shown = ResultTable(paired=True)
    shown.add(FrameResult(Frame(0, path), (FacePrediction(0, {"happiness": 1.0}, neutral="[red].png"),)))
    shown.show(to_file=True)
    _, *lines = screen.file.getvalue().splitlines()
    assert "".join(line.split()[0] for line in lines) == str(path)
    assert lines[0].split()[1] == "happiness"


def ending(monkeypatch, width: int, summary: Summary, **options) -> list[str]:
    """What a terminal shows at the end of a prediction."""
    screen = PlainConsole(width=width, force_terminal=True, color_system=None, file=StringIO())
    for module in ("predict", "console"):
        monkeypatch.setattr(f"fer_cli.cli.{module}.err", screen)
    _show_summary(summary, PredictOptions(**options))
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_ends_with_counts_the_least_certain_faces_and_what_to_type_next(monkeypatch, width):
    summary = Summary()
    for number, share in enumerate((0.9, 0.6, 0.7, 0.8)):
        path = Path(f"albums/{number}.png")
        faces = [FacePrediction(face, {"happiness": share, "anger": 1 - share}) for face in range(1 + number % 2)]
        summary.count(FrameResult(Frame(number, path), tuple(faces)))
    summary.count(FrameResult(Frame(4, Path("albums/4.png")), (FacePrediction(0, {"happiness": 0.1, "anger": 0.9}),)))
    shown = ending(monkeypatch, width, summary, out=Path("p.csv"))
    assert max(map(len, shown)) <= width
    bars = {line.split()[0]: line for line in shown[1:3]}
    assert bars["happiness"].split()[1:3] == ["6", "86%"]
    assert bars["happiness"].count("█") == pytest.approx(6 * bars["anger"].count("█"), abs=5)
    assert shown[3] == "7 faces in 5 of 5 pictures: p.csv"
    assert shown[4].strip() == "least certain"
    # Of each picture one.
    assert [line.split()[:3] for line in shown[5:8]] == [
        ["albums/1.png", "happiness", "60%"],
        ["albums/2.png", "happiness", "70%"],
        ["albums/3.png", "happiness", "80%"],
    ]
    assert shown[8:] == ["next      --report FILE.html shows the faces on a page"]
    shown = ending(monkeypatch, width, summary, report=Path("a.html"))
    assert shown[4] == "report    a.html"
    assert shown[-1] == "next      --out FILE.csv stores the rows"


def test_case_21_a_video_that_breaks_off_is_said_and_told_by_the_exit_code(here, run):
    cut(make_video(here / "clip.mp4", shades(30)), 0.9)
    _, said = fer(run, "clip.mp4", "--out", "p.csv", code=3)
    kept = len(rows("p.csv"))
    assert 0 < kept < 30
    assert f"clip.mp4: a video that breaks off at frame {kept} of 30" in said
    assert [row["kind"] for row in rows("p.errors.csv")] == ["fault"]


class Noise(Source):
    """``noise:3``: pictures of noise, made as they are read."""

    @classmethod
    def opens(cls, name: str) -> bool:
        return name.startswith("noise:")

    def inputs(self) -> Iterator[Input]:
        yield from (Input(Path(f"noise-{number}")) for number in range(int(self.name.removeprefix("noise:"))))

    def frames(self, index: int, given: Input) -> Iterator[Frame]:
        pixels = np.random.default_rng(index).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        yield Frame(index, given.path, pixels=pixels)


class TabRows(RowSink):
    """Tab-separated values."""

    endings = (".tsv",)

    def begin(self, target: TextIO) -> None:
        self._stream = target
        self._stream.write("\t".join(self.columns) + "\n")

    def add(self, row: Mapping[str, Any]) -> None:
        self._stream.write("\t".join("" if cell is None else str(cell) for cell in row.values()) + "\n")


def test_a_source_defined_here_works_from_the_command_line(here, run, monkeypatch):
    monkeypatch.setattr(sources, "SOURCES", [Noise, *sources.SOURCES])
    shown, said = fer(run, "noise:3")
    assert [row["file"] for row in csv.DictReader(shown.splitlines())] == ["noise-0", "noise-1", "noise-2"]
    assert "3 faces in 3 of 3 pictures" in said
    # Next to other sources, into a file that can be resumed, with crops.
    fer(run, "faces/000.png", "noise:2", "--out", "p.csv", "--crops", "crops")
    assert [row["file"] for row in rows("p.csv")] == ["faces/000.png", "noise-0", "noise-1"]
    assert len(list(Path("crops").iterdir())) == 3


def test_a_row_format_defined_here_works_from_the_command_line(here, run, monkeypatch):
    monkeypatch.setitem(FORMATS, "tsv", TabRows)
    fer(run, "faces", "--out", "p.tsv")
    fer(run, "faces", "--out", "p.csv")
    by_ending = pd.read_csv("p.tsv", sep="\t")
    pd.testing.assert_frame_equal(by_ending, pd.read_csv("p.csv"))
    shown, _ = fer(run, "faces", "--format", "tsv")
    assert shown.splitlines() == Path("p.tsv").read_text().splitlines()
    assert "csv, jsonl, parquet, tsv" in fer(run, "faces", "--format", "xml", code=2)[1]
