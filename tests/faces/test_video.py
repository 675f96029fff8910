import sys

import numpy as np
import pytest

from fer_cli.corpora.clips import frame_count
from fer_cli.errors import FerError, PictureError, UsageError
from fer_cli.faces.video import Every, VideoSink, frames_of, sampled_frames, video_frame
from tests.videos import make_video, shades


@pytest.mark.parametrize("ending", ["avi", "mp4", "flv"])
def test_the_frame_asked_for_is_the_one_given(tmp_path, ending):
    path = make_video(tmp_path / f"clip.{ending}", shades(40))
    for index in (0, 1, 11, 12, 13, 25, 39, 5):
        pixels = video_frame(path, index)
        assert pixels.shape == (48, 64, 3)
        assert abs(pixels.mean() - (20 + 5 * index)) < 2


def test_a_video_that_ends_before_the_frame_is_said(tmp_path):
    path = make_video(tmp_path / "clip.avi", shades(10))
    with pytest.raises(PictureError, match="ends before"):
        video_frame(path, 30)


@pytest.mark.parametrize("content", [b"", b"no video", b"RIFF\xff\xff\xff\x00AVI LIST"])
def test_what_is_no_video_is_said(tmp_path, content):
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(PictureError, match="cannot be read"):
        video_frame(path, 0)
    with pytest.raises(PictureError, match="cannot be read"):
        video_frame(tmp_path / "nowhere.avi", 0)


def test_a_video_that_stops_half_way_gives_what_it_has(tmp_path):
    path = make_video(tmp_path / "clip.avi", shades(40, (160, 120)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert abs(video_frame(path, 2).mean() - 30) < 2
    with pytest.raises(PictureError):
        video_frame(path, 39)


def test_without_pyav_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FerError, match="PyAV") as caught:
        video_frame(tmp_path / "clip.avi", 0)
    assert "pip install av" in caught.value.mend
    with pytest.raises(FerError, match="PyAV"):
        frame_count(tmp_path / "clip.avi")


def taken(path, every: str) -> list[tuple[int, float]]:
    return [(number, round(time, 3)) for number, time, _ in sampled_frames(path, Every.parse(every))]


def test_every_so_many_frames_or_seconds_are_taken_in_order(tmp_path):
    path = make_video(tmp_path / "clip.mp4", shades(40), rate=25)
    assert taken(path, "1") == [(number, round(number / 25, 3)) for number in range(40)]
    assert taken(path, "15") == [(0, 0.0), (15, 0.6), (30, 1.2)]
    # The first frame of each half second: half a second is twelve frames and a half.
    assert taken(path, "0.5s") == [(0, 0.0), (13, 0.52), (25, 1.0), (38, 1.52)]
    assert taken(path, "0.001s") == taken(path, "1")
    assert taken(path, "60s") == [(0, 0.0)]
    for number, _, pixels in sampled_frames(path, Every.parse("15")):
        assert abs(pixels.mean() - (20 + 5 * number)) < 2


@pytest.mark.parametrize("text", ["", "0", "-1", "0s", "-1s", "s", "infs", "nans", "half", "1.5", "1m"])
def test_what_is_no_distance_between_frames_is_refused(text):
    with pytest.raises(UsageError, match="--every"):
        Every.parse(text)


def test_frames_before_the_place_where_a_video_breaks_off_are_given(tmp_path):
    path = make_video(tmp_path / "clip.avi", shades(40, (160, 120)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < len(list(frames_of(path))) < 40


def test_a_video_of_larger_frames_than_allowed_is_left_out(tmp_path):
    path = make_video(tmp_path / "clip.avi", shades(3))
    with pytest.raises(PictureError, match="million pixels"):
        list(sampled_frames(path, Every(), max_pixels=64 * 48 - 1))
    assert len(list(sampled_frames(path, Every(), max_pixels=64 * 48))) == 3


def test_a_video_in_the_making_appears_when_it_is_closed(tmp_path):
    like = make_video(tmp_path / "clip.mp4", shades(3), rate=10)
    sink = VideoSink(like, tmp_path / "made.mp4")
    for number in range(5):
        sink.write(np.full((50, 61, 3), 40 * number, np.uint8), number / 10)
    assert not (tmp_path / "made.mp4").exists()
    sink.close()
    made = list(frames_of(tmp_path / "made.mp4"))
    assert [(number, round(time, 3)) for number, time, _ in made] == [(number, number / 10) for number in range(5)]
    assert [pixels.shape for _, _, pixels in made] == [(50, 60, 3)] * 5
    assert all(abs(pixels.mean() - 40 * number) < 4 for number, _, pixels in made)
    # Nothing to show is no video.
    VideoSink(like, tmp_path / "empty.mp4").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "made.mp4"]


def test_case_02_a_git_lfs_pointer_is_named(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:92\nsize 414429\n")
    with pytest.raises(PictureError, match="git lfs pull"):
        video_frame(path, 0)
