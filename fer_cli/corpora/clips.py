"""What a reader needs to know of a video before its frames are taken."""

from pathlib import Path

from fer_cli.errors import PictureError
from fer_cli.faces.video import TIME_BASE, open_video


def frame_count(path: Path) -> int | None:
    """How many frames a video says that it has, or None if it cannot be read.

    Raises :class:`~fer_cli.errors.FerError` if PyAV is not installed.
    """
    try:
        with open_video(path) as (container, stream):
            if stream.frames:
                return stream.frames
            seconds = stream.duration * stream.time_base if stream.duration else container.duration / TIME_BASE
            return int(seconds * stream.average_rate) or None
    except (PictureError, TypeError):
        return None


def about_the_middle(count: int, wanted: int) -> list[int]:
    """``wanted`` neighbouring frames in the middle of ``count``, never the first."""
    start = max(1, count // 2 - wanted // 2)
    return list(range(start, min(count, start + wanted)))
