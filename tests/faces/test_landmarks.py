import os

import numpy as np
import pytest

from fer_cli.errors import PictureError
from fer_cli.faces.crop import five_points, read_landmarks

POINTS = np.stack([np.arange(68) * 4.0 + 0.5, 300.0 - np.arange(68)], axis=1)


def as_ckplus(points: np.ndarray) -> str:
    """Cohn-Kanade's own way of writing: three spaces before each number, in powers of ten."""
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in points)


def test_the_layout_of_cohn_kanade(tmp_path):
    path = tmp_path / "S005_001_00000011_landmarks.txt"
    path.write_text(as_ckplus(POINTS))
    points = read_landmarks(path)
    assert points.dtype == np.float64
    assert np.allclose(points, POINTS)


def test_blank_lines_and_windows_line_ends_are_no_points(tmp_path):
    path = tmp_path / "landmarks.txt"
    path.write_bytes(as_ckplus(POINTS).replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert np.allclose(read_landmarks(path), POINTS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]), "landmarks that are not 68 points"),
        (as_ckplus(POINTS) + "1 2\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS).replace("\n", " "), "landmarks that are not 68 points"),
        ("1 2 3 4\n" * 34, "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "nan 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "inf 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "1e300 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "-1e7 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS[:-1]) + "9" * 5_000 + " 1\n", "landmarks that are not 68 points"),
        (as_ckplus(POINTS) * 100, "landmarks that cannot be read"),
        (as_ckplus(POINTS[:-1]) + "x y\n", "landmarks that cannot be read"),
        (as_ckplus(POINTS[:-1]) + "7\n", "landmarks that cannot be read"),
        (as_ckplus(POINTS[:-1]) + "٣ é\n", "landmarks that cannot be read"),
    ],
    ids=[
        "empty",
        "67",
        "69",
        "one line",
        "four a line",
        "nan",
        "inf",
        "far",
        "far left",
        "5,000 digits",
        "huge",
        "words",
        "half a point",
        "not ASCII",
    ],
)
def test_anything_else_is_refused_with_a_reason(tmp_path, text, reason):
    path = tmp_path / "landmarks.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PictureError) as caught:
        read_landmarks(path)
    assert caught.value.message == reason


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(PictureError, match="cannot be read"):
        read_landmarks(tmp_path / "absent.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "landmarks.txt")
    with pytest.raises(PictureError, match="cannot be read"):
        read_landmarks(tmp_path / "landmarks.txt")


def test_the_five_points_of_sixty_eight():
    five = five_points(POINTS)
    assert five.tolist() == [
        POINTS[36:42].mean(axis=0).tolist(),
        POINTS[42:48].mean(axis=0).tolist(),
        POINTS[30].tolist(),
        POINTS[48].tolist(),
        POINTS[54].tolist(),
    ]


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
def test_case_25_a_pipe_or_a_device_holds_no_landmarks(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(PictureError, match="landmarks that cannot be read"):
            read_landmarks(tmp_path / name)
