import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.format import ContainerFormat

from fer_cli.corpora.io import frame_count
from fer_cli.errors import FerError, PictureError, UsageError
from fer_cli.faces.formats import VIDEO_HEAD, begins_as_video, is_video
from fer_cli.faces.video import Every, VideoSink, frames_of, sampled_frames, video_frame
from tests.videos import cut, make_video, set_matrix, shades


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
    assert "pip install 'fer-cli[video]'" in caught.value.hint
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


def as_far_as_it_goes(path) -> tuple[int, str]:
    """How many frames a video gives, and what is said at its end."""
    count = 0
    try:
        for _ in frames_of(path):
            count += 1
    except PictureError as error:
        return count, error.message
    return count, ""


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("ending", ["mp4", "mov", "3gp", "avi", "mkv", "flv", "ts", "mpg", "nut"])
def test_case_21_a_whole_video_is_whole(tmp_path, ending):
    assert as_far_as_it_goes(make_video(tmp_path / f"clip.{ending}", noise(30))) == (30, "")


@pytest.mark.parametrize("ending", ["mp4", "mov", "3gp", "avi", "mkv", "flv"])
def test_case_21_a_video_that_breaks_off_gives_what_it_has_and_says_so(tmp_path, ending):
    count, said = as_far_as_it_goes(cut(make_video(tmp_path / f"clip.{ending}", noise(30)), 0.57))
    assert 14 <= count <= 19
    assert re.fullmatch(rf"a video that breaks off (at frame {count} of 30|after 0\.[67] of 1\.2 seconds)", said)


def test_a_frame_that_cannot_be_decoded_is_said_and_the_others_are_given(tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuvj420p"
        for frame in noise(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    start = -1
    for _ in range(30):
        start = data.index(b"00dc", start + 1)
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    data[start + 8 : start + 8 + size] = bytes(size)
    path.write_bytes(data)
    assert as_far_as_it_goes(path) == (39, "a video of whose frames 1 cannot be decoded")


UPRIGHT = np.kron(np.array([[40, 120], [180, 230]], np.uint8), np.ones((32, 48), np.uint8))[:, :, None].repeat(
    3, axis=2
)


@pytest.mark.parametrize(
    ("matrix", "stored"),
    [
        ((1, 0, 0, 1), lambda frame: frame),
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, 1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, 3)),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
        ((1, 0, 0, -1), lambda frame: frame[::-1]),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda frame: frame[::-1, ::-1].transpose(1, 0, 2)),
    ],
    ids=["as it is", "90", "180", "270", "mirrored", "flipped", "transposed", "transversed"],
)
def test_case_01_frames_are_upright_by_the_display_matrix(tmp_path, matrix, stored):
    path = make_video(tmp_path / "phone.mp4", [np.ascontiguousarray(stored(UPRIGHT))] * 3)
    set_matrix(path, matrix)
    for pixels in (*(pixels for _, _, pixels in frames_of(path)), video_frame(path, 1)):
        assert pixels.shape == UPRIGHT.shape
        assert pixels.flags.c_contiguous
        assert np.abs(pixels.astype(int) - UPRIGHT).mean() < 6


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat"])
def test_a_playlist_opens_no_other_file(tmp_path, name):
    make_video(tmp_path / "other.ts", shades(5))
    path = tmp_path / name
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n"
    path.write_text("ffconcat version 1.0\nfile other.ts\n" if name != "list.m3u8" else playlist)
    assert as_far_as_it_goes(path) == (0, "a video that cannot be read")
    assert frame_count(path) is None


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
def test_case_25_pipes_sockets_and_devices_are_no_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.mp4")
        for name in ("pipe.mp4", "zero.mp4", "socket.mp4"):
            with pytest.raises(PictureError, match="a pipe, a socket or a device"):
                video_frame(tmp_path / name, 0)
            assert frame_count(tmp_path / name) is None


def without_size(path):
    """A video whose sample description says 0×0 and whose frames do not say more."""
    data = bytearray(make_video(path, shades(12)).read_bytes())
    at = data.index(b"mp4v") + 28
    assert data[at : at + 4] == b"\0\x40\0\x30"
    data[at : at + 4] = bytes(4)
    start = data.index(b"\0\0\1\x20")
    data[start : start + 12] = bytes(12)
    path.write_bytes(data)
    return path


def test_a_stream_without_width_is_said(tmp_path):
    count, said = as_far_as_it_goes(without_size(tmp_path / "clip.mov"))
    assert count == 0
    assert said.startswith("a video that cannot be read")


def test_a_decoder_that_fails_in_its_threads_can_be_freed(tmp_path):
    # PyAV's own log would wait for Python's lock in the decoder's threads, while the lock's holder waits for them.
    path = without_size(tmp_path / "clip.mov")
    script = (
        "import sys; from pathlib import Path; from fer_cli.errors import PictureError; "
        "from fer_cli.faces.video import frames_of\n"
        "for _ in range(300):\n try: list(frames_of(Path(sys.argv[1])))\n except PictureError: pass"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], timeout=120, check=False).returncode == 0
    frame_count(path)
    assert av.logging.get_level() is None


def test_a_video_of_larger_frames_than_allowed_is_skipped(tmp_path):
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


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "flv", "ts", "asf"])
def test_a_video_is_known_by_its_first_bytes(tmp_path, ending):
    path = make_video(tmp_path / f"clip.{ending}", shades(30))
    assert begins_as_video(path.read_bytes()[:VIDEO_HEAD])
    with path.open("rb") as file:
        assert [frame[0] for frame in frames_of(file)] == [frame[0] for frame in frames_of(path)] == list(range(30))


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"GIF89a", b"G" * 188, b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WEBP"),
        *(b"\0\0\0\x20ftyp" + brand for brand in (b"avif", b"heic", b"M4A ", b"crx ")),
    ],
)
def test_what_is_no_video_is_not_taken_for_one(head):
    assert not begins_as_video(head)


def test_endings_that_pyav_demuxes_are_those_of_videos():
    names = "avc bmv h26l imx ivr moflex mvi mxg pdv rcv sdr2 ty ty+ yop"
    known = {ending for name in av.formats_available for ending in _input_endings(name)}
    for name in names.split():
        assert is_video(Path(f"clip.{name}"))
        assert name in known


def _input_endings(name: str) -> set[str]:
    try:
        return ContainerFormat(name, "r").extensions
    except ValueError:
        return set()
