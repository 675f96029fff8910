"""Frames of videos, by PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fer_cli.errors import FerError, PictureError, UsageError
from fer_cli.faces.decode import MAX_PIXELS, too_many_pixels
from fer_cli.files import LFS_POINTER, is_lfs_pointer

BROKEN = "a video that cannot be read"


@dataclass(frozen=True)
class Every:
    """Which frames of a video are taken: one every ``seconds``, or every ``frames``-th; the first is always one."""

    seconds: float | None = None
    frames: int = 1

    @classmethod
    def parse(cls, text: str) -> "Every":
        """What ``0.5s`` or ``10`` (frames) means.

        Raises :class:`~fer_cli.errors.UsageError` if it means nothing.
        """
        try:
            if text.strip().lower().endswith("s"):
                every = cls(seconds=float(text.strip()[:-1]))
                meant = 0 < every.seconds < float("inf")
            else:
                every = cls(frames=int(text))
                meant = every.frames >= 1
        except ValueError:
            meant = False
        if not meant:
            raise UsageError(
                f"--every {text}: not a distance.", mend="Type seconds, such as 0.5s, or frames, such as 10."
            )
        return every

    def step(self, index: int, time: float) -> int:
        """In which step, counted from 0, frame ``index`` at ``time`` lies; the first frame of each is taken."""
        if self.seconds is None:
            return index // self.frames
        # Time stamps are rounded to the container's clock.
        return int((time + 1e-3) / self.seconds)


def sampled_frames(
    path: Path, every: Every, *, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[int, float, np.ndarray]]:
    """The number, the time in seconds from the start, and the pixels (H×W×3 uint8 RGB) of every frame taken, in order.

    Raises :class:`~fer_cli.errors.PictureError` if the video cannot be read, or from where it cannot.
    """
    last = None
    for index, time, frame in _frames(path, max_pixels):
        if (step := every.step(index, time)) != last:
            last = step
            yield index, time, frame.to_ndarray(format="rgb24")


def _frames(path: Path, max_pixels: int) -> Iterator[tuple[int, float, Any]]:
    with _opened(path) as (container, stream):
        if stream.width * stream.height > max_pixels:
            raise PictureError(too_many_pixels(max_pixels))
        stream.thread_type = "AUTO"
        first = None
        for index, frame in enumerate(container.decode(stream)):
            time = frame.time if frame.time is not None else index / float(stream.average_rate)
            first = time if first is None else first
            yield index, time - first, frame


def video_frame(path: Path, index: int) -> np.ndarray:
    """The frame ``index``, counted from 0, of a video as H×W×3 uint8 RGB.

    It is sought from the key frame before it, not decoded from the start. Raises
    :class:`~fer_cli.errors.PictureError` if the video cannot be read or ends before it.
    """
    with _opened(path) as (container, stream):
        if stream.width * stream.height > MAX_PIXELS:
            raise PictureError(too_many_pixels(MAX_PIXELS))
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
        raise PictureError(LFS_POINTER if is_lfs_pointer(path) else BROKEN) from error


def frames_of(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[int, float, np.ndarray]]:
    """Every frame of a video: its number, its time in seconds from the start, its pixels (H×W×3 uint8 RGB).

    Raises :class:`~fer_cli.errors.PictureError` if the video cannot be read, or from where it cannot.
    """
    return sampled_frames(path, Every(frames=1), max_pixels=max_pixels)


class VideoSink:
    """A video in the making at ``target``, at the rate of the video ``like``; frames come with their times in seconds.

    It is H.264 where PyAV has it, else MPEG-4, and appears at ``target`` when it is closed.
    """

    def __init__(self, like: Path, target: Path):
        import av

        with _opened(like) as (_, stream):
            rate = Fraction(stream.average_rate).limit_denominator(65_535)
        self._rate = float(rate)
        self._target = target
        self._beside = target.with_name(f".{target.name}.part")
        self._container = av.open(str(self._beside), "w", format="mp4")
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._stream = self._container.add_stream(codec, rate=rate)
        self._stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            self._stream.bit_rate = 8_000_000
        self._last: int | None = None

    def write(self, pixels: np.ndarray, time: float) -> None:
        """Add a frame, H×W×3 uint8 RGB."""
        import av

        # Colours are stored for two by two pixels.
        height, width = (side - side % 2 for side in pixels.shape[:2])
        if self._last is None:
            self._stream.height, self._stream.width = height, width
            self._shape = height, width
        elif (height, width) != self._shape:
            return
        # A video whose rate varies is brought to the mean rate: of two frames for one place the first is kept.
        place = round(time * self._rate)
        if self._last is not None and place <= self._last:
            return
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        frame.pts = place
        frame.time_base = 1 / self._stream.codec_context.rate
        self._last = place
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left, and put the video in its place."""
        if self._last is None:
            self._container.close()
            self._beside.unlink(missing_ok=True)
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        self._beside.replace(self._target)
