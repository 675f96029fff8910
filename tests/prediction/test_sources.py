import errno
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.format import ContainerFormat
from PIL import Image

from fer_cli.errors import FerError, PictureError
from fer_cli.faces.formats import is_video
from fer_cli.faces.video import Every
from fer_cli.prediction import sources
from fer_cli.prediction.results import Frame, FrameResult
from fer_cli.prediction.sources import Input, Reading, end_on_interrupt, list_inputs, open_sources, read_frames
from tests.videos import make_video, shades


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("b.jpg", "a.png", "deep/er/c.webp", ".hidden/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / name)
    Image.new("L", (8, 8)).save(folder / "subject01.happy", format="GIF")
    (folder / "clip.MP4").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def inputs(names, **settings) -> Iterator[Input]:
    return list_inputs(open_sources(names, Reading(**settings)))


def below(folder: Path, *sources, **settings) -> list[str]:
    return [each.path.relative_to(folder).as_posix() for each in inputs(sources or [folder], **settings)]


def test_a_folder_gives_its_pictures_and_videos_at_every_depth_by_name(folder):
    # A file that is named as a picture and is none is for the person to hear of; others are passed over.
    assert below(folder) == ["a.png", "b.jpg", "broken.jpg", "clip.MP4", "subject01.happy", "deep/er/c.webp"]


def test_case_05_whatever_is_named_as_a_picture_is_an_input_read_or_not(tmp_path):
    names = ["a.avif", "b.HEIC", "c.JP2", "d.mpo", "e.CR3", "f.jxl", "g.psd", "h.dib", "i.Jfif"]
    for name in (*names, "letter.pdf", "sound.wav"):
        (tmp_path / name).write_bytes(b"")
    assert below(tmp_path) == names


def test_a_video_without_an_ending_is_told_by_its_first_bytes(tmp_path):
    make_video(tmp_path / "clip.mp4", shades(3)).rename(tmp_path / "clip")
    (tmp_path / "README").write_text("no video")
    assert below(tmp_path) == ["clip"]
    sources = open_sources([tmp_path / "clip"])
    *found, end = read_frames(sources, enumerate(list_inputs(sources)))
    assert [frame.number for frame in found] == [0, 1, 2]
    assert end.end


def test_files_come_in_the_order_in_which_they_are_named(folder):
    assert list(inputs([folder / "b.jpg", str(folder / "a.png")])) == [
        Input(folder / "b.jpg"),
        Input(folder / "a.png", source=1),
    ]


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_loop_of_links_ends_and_each_folder_is_entered_once(folder):
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "deep", target_is_directory=True)
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    found = below(folder)
    assert sorted(name.rpartition("/")[2] for name in found) == [
        *("a.png", "b.jpg", "broken.jpg", "c.webp", "clip.MP4", "itself.jpg", "subject01.happy")
    ]


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_linked_folder_elsewhere_is_followed(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "elsewhere" / "e.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert "link/e.png" in below(folder)


def test_what_is_made_meanwhile_is_passed_over(folder):
    assert below(folder, exclude=[folder / "deep"]) == ["a.png", "b.jpg", "broken.jpg", "clip.MP4", "subject01.happy"]


def test_a_pattern_gives_what_it_matches_in_order(folder):
    assert below(folder, f"{folder}/**/*.[pw]*") == ["a.png", "deep/er/c.webp"]


def test_a_name_that_looks_like_a_pattern_is_a_name_where_there_is_one(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "face[1].png")
    assert below(tmp_path, tmp_path / "face[1].png") == ["face[1].png"]


def test_a_list_gives_paths_from_its_own_folder(folder):
    (folder / "list.txt").write_text("b.jpg\n\ndeep/er/c.webp\nnowhere.png\n")
    assert below(folder, folder / "list.txt") == ["b.jpg", "deep/er/c.webp", "nowhere.png"]


def test_names_come_from_standard_input_where_a_dash_is_typed(folder, monkeypatch):
    monkeypatch.setattr(sources, "standard_input", lambda: io.BytesIO(bytes(folder / "b.jpg")))
    assert below(folder, "-", folder / "a.png") == ["b.jpg", "a.png"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("empty", "folder without"), ("list.txt", "names no picture"), ("*.nothing", "nothing matches")],
)
def test_a_source_that_comes_to_nothing_is_an_input_with_a_problem(tmp_path, name, problem):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").touch()
    (found,) = inputs([tmp_path / name])
    assert problem in found.problem
    assert found.path == tmp_path / name


def test_a_mistyped_name_is_said_before_work(folder, tmp_path):
    with pytest.raises(PictureError, match=r"no file or folder .*nowhere"):
        open_sources([folder, tmp_path / "nowhere"])
    open_sources([folder, "-", f"{tmp_path}/*.nothing"])


def test_a_mistyped_name_is_answered_with_the_one_most_like_it(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(PictureError) as caught:
        open_sources([tmp_path / "imges"])
    assert caught.value.hint == f"Did you mean {tmp_path / 'images'}?"
    with pytest.raises(PictureError) as caught:
        open_sources([tmp_path / "nowhere" / "images"])
    assert caught.value.hint == ""


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
def test_case_25_pipes_and_sockets_of_a_folder_are_given_for_somebody_to_say(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "list.txt")
    (folder / "zero").symlink_to("/dev/zero")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        assert {"pipe", "list.txt", "zero", "socket"} <= set(below(folder))
    # By its name alone a pipe is no list that could be read.
    assert list(inputs([folder / "list.txt"])) == [Input(folder / "list.txt")]


#: What the same containers are called that hold sound alone, or are manifests.
SOUND = {"mka", "m4a", "m4b", "isma", "wma", "mks"}


def test_case_21_every_container_that_ffmpeg_writes_videos_into_is_a_video():
    films = {"mp4", "mov", "3gp", "3g2", "avi", "matroska", "webm", "mpegts", "mpeg", "vob", "flv", "asf", "mxf", "ogv"}
    films |= {"nut", "dv", "ivf", "h264", "hevc", "mjpeg", "m4v", "swf", "gxf", "yuv4mpegpipe", "obu", "ismv", "psp"}
    films &= av.formats_available
    assert len(films) > 20
    for name in films:
        for ending in ContainerFormat(name, "w").extensions - SOUND:
            assert is_video(Path(f"clip.{ending}")), (name, ending)
            assert is_video(Path(f"CLIP.{ending.upper()}"))


@pytest.mark.parametrize("name", ["00001.MTS", "a.m2ts", "b.VOB", "c.wmv", "d.3g2", "e.ogm", "f.dv"])
def test_case_21_a_camera_s_own_endings_are_found_in_a_folder(tmp_path, name):
    (tmp_path / name).touch()
    assert below(tmp_path) == [name]


def test_case_16_a_folder_that_may_not_be_read_is_an_input_with_a_problem(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    *_, last = inputs([folder])
    assert last == Input(folder / "deep", problem="a folder that cannot be read: Permission denied")


def test_case_06_a_row_that_does_not_fit_its_header_is_an_input_with_a_problem(folder):
    (folder / "list.csv").write_text("path,subject\nb.jpg\na.png,anna\n")
    assert list(inputs([folder / "list.csv"])) == [
        Input(folder / "list.csv:2", problem="a row of 1 values under 2 columns"),
        Input(folder / "a.png", "anna"),
    ]


class FakeCamera:
    """Gives a few frames, blue in OpenCV's order of colours, and is let go of."""

    def __init__(self, number: int):
        self.left, self.released = 5, False
        FakeCamera.last = self

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((4, 6, 3), (255, 0, 0), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    return FakeCamera


def camera_frames(number: int = 0, **settings) -> Iterator[Frame]:
    [source] = open_sources([f"camera:{number}"], Reading(**settings))
    return read_frames([source], enumerate(source.inputs()))


def test_what_a_camera_sees_is_numbered_timed_and_in_the_right_colours(camera):
    *seen, end = camera_frames(every=Every(frames=2))
    assert [frame.number for frame in seen] == [0, 2, 4]
    assert seen[0].time <= seen[1].time <= seen[2].time
    assert seen[0].pixels[0, 0].tolist() == [0, 0, 255]
    assert end.end
    assert camera.last.released


def test_a_camera_is_let_go_of_when_nobody_watches(camera):
    frames = camera_frames()
    next(frames)
    frames.close()
    assert camera.last.released


def test_a_camera_that_is_not_there_is_said():
    with pytest.raises(FerError, match="--camera 99: there is no camera"):
        next(camera_frames(99))


def test_ctrl_c_ends_a_camera_as_its_own_end_would(camera):
    def results():
        yield from map(FrameResult, camera_frames())
        raise AssertionError

    def interrupted():
        found = results()
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    first, second, end = end_on_interrupt(interrupted())
    assert [first.frame.number, second.frame.number] == [0, 1]
    assert end.frame.end
    assert end.frame.path == first.frame.path
