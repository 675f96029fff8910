import sys

import pytest

from fer_cli.corpora.clips import frame_count
from fer_cli.errors import FerError, PictureError
from fer_cli.faces.video import video_frame
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
