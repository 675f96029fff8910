"""Frames of videos, by PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fer_cli.errors import FerError, PictureError
from fer_cli.faces.decode import MAX_PIXELS, TOO_MANY_PIXELS

BROKEN = "a video that cannot be read"


def video_frame(path: Path, index: int) -> np.ndarray:
    """The frame ``index``, counted from 0, of a video as H×W×3 uint8 RGB.

    It is sought from the key frame before it, not decoded from the start. Raises
    :class:`~fer_cli.errors.PictureError` if the video cannot be read or ends before it.
    """
    with _opened(path) as (container, stream):
        if stream.width * stream.height > MAX_PIXELS:
            raise PictureError(TOO_MANY_PIXELS)
        step = 1 / (stream.average_rate * stream.time_base)
        first = stream.start_time or 0
        wanted = first + round(index * step)
        container.seek(wanted, stream=stream, backward=True)
        for frame in container.decode(stream):
            # Half a frame's length allows for time stamps that are rounded.
            if frame.pts is not None and frame.pts >= wanted - step / 2:
                return frame.to_ndarray(format="rgb24")
        raise PictureError("a video that ends before this frame")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    try:
        import av
    except ImportError:
        raise FerError("Videos need PyAV.", mend="Type: pip install av") from None
    av.logging.set_level(av.logging.PANIC)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or not container.streams.video[0].average_rate:
                raise PictureError(BROKEN)
            yield container, container.streams.video[0]
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PictureError(BROKEN) from error
