"""Videos made for tests."""

from pathlib import Path

import av
import numpy as np


def shades(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Grey frames, each 5 levels lighter than the one before."""
    return [np.full((size[1], size[0], 3), 20 + 5 * number, np.uint8) for number in range(count)]


def make_video(path: Path, frames: list[np.ndarray], *, rate: int = 25, keys: int = 12) -> Path:
    """A video of the frames with a key frame every ``keys``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flv" if path.suffix == ".flv" else "mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.gop_size = keys
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
