"""What a reader needs to know of a video before its frames are taken."""

from pathlib import Path

from fer_cli.errors import CorpusError


def frame_count(path: Path) -> int | None:
    """How many frames a video says that it has, or None if it cannot be read.

    Raises :class:`~fer_cli.errors.CorpusError` if PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise CorpusError("Videos need PyAV.", mend="Type: pip install av") from None
    av.logging.set_level(av.logging.PANIC)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.frames:
                return stream.frames
            seconds = stream.duration * stream.time_base if stream.duration else container.duration / av.time_base
            return int(seconds * stream.average_rate) or None
    except (av.FFmpegError, OSError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return None


def about_the_middle(count: int, wanted: int) -> list[int]:
    """``wanted`` neighbouring frames in the middle of ``count``, never the first."""
    start = max(1, count // 2 - wanted // 2)
    return list(range(start, min(count, start + wanted)))
