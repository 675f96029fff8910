"""Videos made for tests."""

import struct
from pathlib import Path

import av
import numpy as np


def shades(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Grey frames, each 5 levels lighter than the one before."""
    return [np.full((size[1], size[0], 3), 20 + 5 * number, np.uint8) for number in range(count)]


def scenes(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Frames of stripes, upright in the first and last quarter and level between: two scenes, the first twice."""
    level = (np.indices((size[1], size[0])) // 8 % 2 * 150 + 50).astype(np.uint8)
    upright = [not count / 4 <= number < 3 * count / 4 for number in range(count)]
    return [np.stack([level[int(each)]] * 3, axis=-1) for each in upright]


def make_video(path: Path, frames: list[np.ndarray], *, rate: int = 25, keys: int = 12) -> Path:
    """A video of the frames with a key frame every ``keys``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The index first, so that the beginning of a file can be read without its end.
    options = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov", ".3gp") else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("flv" if path.suffix == ".flv" else "mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.gop_size = keys
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write the upper left 2×2 part of the display matrix into an MP4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    # Version and flags, three numbers of 4 bytes, two of 8, and eight bytes of layer, group and volume come before.
    at = data.index(b"tkhd") + 44
    assert struct.unpack(">9i", data[at : at + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (side << 16 for side in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Break the file off."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path
