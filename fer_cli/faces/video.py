"""Frames of videos read and written, by PyAV."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from fer_cli.errors import PictureError, UsageError
from fer_cli.extras import require
from fer_cli.faces.decode import MAX_PIXELS, too_many_pixels, why_unreadable
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_regular

BROKEN = "a video that cannot be read"
#: Rounding of a stated duration, in seconds.
ROUNDING = 0.25
#: FFmpeg's ``AV_TIME_BASE`` and ``AVFMT_NOTIMESTAMPS``.
TIME_BASE, NO_TIMESTAMPS = 1_000_000, 0x80


@dataclass(frozen=True)
class Every:
    """Sampling of a video's frames: one every ``seconds``, or every ``frames``-th; the first is always one."""

    seconds: float | None = None
    frames: int = 1

    @classmethod
    def parse(cls, text: str) -> "Every":
        """The sampling of ``0.5s`` or ``10`` (frames).

        Raises :class:`~fer_cli.errors.UsageError` if it means nothing.
        """
        try:
            if text.strip().lower().endswith("s"):
                seconds = float(text.strip()[:-1])
                every, meant = cls(seconds=seconds), 0 < seconds < float("inf")
            else:
                every = cls(frames=int(text))
                meant = every.frames >= 1
        except ValueError:
            meant = False
        if not meant:
            raise UsageError(
                f"--every {text}: not a distance.", hint="Type seconds, such as 0.5s, or frames, such as 10."
            )
        return every

    def step(self, index: int, time: float) -> int:
        """In which step, counted from 0, frame ``index`` at ``time`` lies; the first frame of each is taken."""
        if self.seconds is None:
            return index // self.frames
        # Time stamps are rounded to the container's clock.
        return int((time + 1e-3) / self.seconds)


def sampled_frames(
    path: Path | IO[bytes], every: Every, *, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[int, float, np.ndarray]]:
    """The number, the time in seconds from the start, and the pixels (H×W×3 uint8 RGB) of every frame taken, in order.

    A file that is given open is read from its beginning, and stays open. Frames are upright by the stream's display
    matrix. Raises :class:`~fer_cli.errors.PictureError` if the video cannot be read, or after its last frame if it
    breaks off before the end that it states or parts of it cannot be decoded.
    """
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        taken = first = last = None
        index, failed, lost, end, sized = 0, 0, 0, float("-inf"), bool(stream.width)
        for packet in container.demux():
            # The packets that empty the decoders at the end have no size.
            last = packet if packet.size else last
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            for frame in _decoded(packet):
                if frame is None:
                    failed += 1
                    # A recording may begin between two key frames; what lies before the first one no player shows.
                    lost += index > 0
                    continue
                time = frame.time if frame.time is not None else index / float(_rate(stream))
                first = time if first is None else first
                if (step := every.step(index, time - first)) != taken:
                    taken = step
                    yield index, time - first, _upright(frame, max_pixels)
                index += 1
        if failed and not index:
            # FFmpeg tells no size of frames that it refused to decode when it opened the file.
            why = "" if sized else f": its frames state no size, or are {too_many_pixels(max_pixels)}"
            raise PictureError(BROKEN + why)
        if where := _breaks_off(container, stream, index, end, last):
            raise PictureError(f"a video that breaks off {where}")
        if lost:
            raise PictureError(f"a video of whose frames {lost} cannot be decoded")


def video_frame(path: Path, index: int) -> np.ndarray:
    """The frame ``index``, counted from 0, of a video as H×W×3 uint8 RGB, upright by the stream's display matrix.

    It is sought from the key frame before it, not decoded from the start. Raises
    :class:`~fer_cli.errors.PictureError` if the video cannot be read or ends before it.
    """
    with open_video(path) as (container, stream):
        step = 1 / (_rate(stream) * stream.time_base)
        first = stream.start_time or 0
        wanted = first + round(index * step)
        container.seek(wanted, stream=stream, backward=True)
        for frame in container.decode(stream):
            # Half a frame's length allows for time stamps that are rounded.
            if frame.pts is not None and frame.pts >= wanted - step / 2:
                return _upright(frame, MAX_PIXELS)
        raise PictureError("a video that ends before this frame")


@contextmanager
def open_video(path: Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[Any, Any]]:
    """PyAV's container of the video at ``path`` and its first stream of moving pictures, open within the block.

    ``path`` may be an open file, which is read from its beginning and stays open. Nothing but this file is opened,
    whatever it names. Raises :class:`~fer_cli.errors.PictureError`, with a reason in a few words, for what cannot be
    read, here or in the block, and for frames of more than ``max_pixels``;
    :class:`~fer_cli.errors.MissingLibraryError` if PyAV is not installed.
    """
    require("av", "A video")
    import av

    # Any level but None makes a decoder's threads wait for Python's lock to log an error, and whoever frees the decoder
    # holds that lock while it waits for its threads: a hang.
    av.logging.set_level(None)
    # FFmpeg counts the columns and rows with which it fills a frame up, and so is given some room.
    limit = {"max_pixels": str(2 * max_pixels + 65_536)}
    try:
        opened = open_regular(path) if isinstance(path, Path) else nullcontext(path)
    except (OSError, ValueError) as error:
        raise PictureError(f"{BROKEN}: {why_unreadable(error)}") from error
    try:
        # A playlist would have FFmpeg open the files and addresses that it lists.
        with opened as file, av.open(_Quiet(file), options={"protocol_whitelist": "none", **limit}) as container:
            # The cover of a recording of sound is a stream of one picture.
            stream = next((each for each in container.streams.video if not _is_cover(each)), None)
            if stream is None or stream.codec_context is None or not stream.time_base or not _rate(stream):
                raise PictureError(BROKEN)
            if stream.width * stream.height > max_pixels:
                raise PictureError(too_many_pixels(max_pixels))
            stream.codec_context.options = limit
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        pointer = not hasattr(path, "read") and is_lfs_pointer(path)
        raise PictureError(LFS_POINTER if pointer else BROKEN) from error
    except MemoryError as error:
        raise PictureError("a video too large for this machine") from error


class _Quiet:
    """The file as PyAV reads it; seeking to a place that no file has fails without an exception, which it would print.

    The name is there because FFmpeg tells some formats by its ending.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        file.seek(0)
        self.name, self.read, self.tell = os.fspath(file.name), file.read, file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _rate(stream: Any) -> Any:
    """Frames a second, a fraction; none in a stream that :func:`open_video` refuses."""
    return stream.average_rate or stream.guessed_rate or stream.base_rate


def _decoded(packet: Any) -> Iterator[Any]:
    """The frames that come out when ``packet`` goes into its decoder, or None if it cannot be decoded."""
    from av import FFmpegError

    try:
        yield from packet.decode()
    except FFmpegError:
        yield None


def _breaks_off(container: Any, stream: Any, frames: int, end: float, last: Any) -> str:
    """Place where the file breaks off, ``frames`` decoded and its ``last`` packet cut short or over at ``end`` seconds.

    Empty if it is whole, as far as its container can tell.
    """
    stated, reached = 0.0, end - (container.start_time or 0) / TIME_BASE
    # Without time stamps there is no stated duration either: FFmpeg estimates one by the size of the file.
    if container.duration is not None and not container.format.flags & NO_TIMESTAMPS:
        stated = container.duration / TIME_BASE
    early = stated > 0 and reached < stated - max(3 / float(_rate(stream)), ROUNDING)
    if not early and not (last is not None and last.is_corrupt):
        return ""
    if frames < stream.frames:
        return f"at frame {frames} of {stream.frames}"
    return f"after {max(reached, 0):.1f} of {stated:.1f} seconds" if early else f"after {frames} frames"


def _upright(frame: Any, max_pixels: int) -> np.ndarray:
    """The frame as H×W×3 uint8 RGB, turned and mirrored as its display matrix says.

    Row vectors (x, y) are multiplied by the matrix's upper left 2×2 part (ISO/IEC 14496-12, 8.3.2), which moves every
    side of a picture onto a side, whatever its scale.
    """
    if frame.width * frame.height > max_pixels:
        raise PictureError(too_many_pixels(max_pixels))
    pixels = frame.to_ndarray(format="rgb24")
    try:
        matrix = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), "=i4").reshape(3, 3)[:2, :2]
    except KeyError:
        return pixels
    except ValueError:
        # PyAV refuses to list the side data where one kind is newer than itself, and still tells the angle.
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
    straight, crossed = np.diag(matrix), np.diag(matrix[::-1])
    if np.abs(straight).sum() < np.abs(crossed).sum():
        pixels, straight = pixels.transpose(1, 0, 2), crossed
    across, down = (-1 if side < 0 else 1 for side in straight)
    return np.ascontiguousarray(pixels[::down, ::across])


def frames_of(path: Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[int, float, np.ndarray]]:
    """Every frame of a video: its number, its time in seconds from the start, its pixels (H×W×3 uint8 RGB).

    Raises :class:`~fer_cli.errors.PictureError` if the video cannot be read, or from where it cannot.
    """
    return sampled_frames(path, Every(frames=1), max_pixels=max_pixels)


class VideoSink:
    """A video in the making at ``target``, at the rate of the video ``like``; frames come with their times in seconds.

    It is H.264 where PyAV has it, else MPEG-4, and appears at ``target`` when it is closed.
    """

    def __init__(self, like: Path | IO[bytes], target: Path):
        require("av", "An annotated video")
        import av

        with open_video(like) as (_, stream):
            rate = Fraction(_rate(stream)).limit_denominator(65_535)
        self._rate = float(rate)
        self._target = target
        self._part = target.with_name(f".{target.name}.part")
        self._container = av.open(str(self._part), "w", format="mp4")
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        # Any: PyAV's types tell a stream's kind by the name of its codec alone.
        self._stream = cast(Any, self._container.add_stream(codec, rate=rate))
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
            self._part.unlink(missing_ok=True)
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        self._part.replace(self._target)
