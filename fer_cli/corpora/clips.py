"""What a reader needs to know of a video before its frames are taken."""

from pathlib import Path

from fer_cli.errors import PictureError
from fer_cli.files import LFS_POINTER, is_lfs_pointer

#: No clip of a corpus is longer; a header may claim anything, and what is counted by it would fill the memory.
MAX_FRAMES = 10_000_000


def frame_count(path: Path) -> int | None:
    """How many frames a video says that it has, or None if it cannot be read.

    Raises :class:`~fer_cli.errors.FerError` if PyAV is not installed.
    """
    # Readers are imported for their help, which needs neither Pillow nor PyAV.
    from fer_cli.faces.video import TIME_BASE, open_video

    try:
        with open_video(path) as (container, stream):
            count = stream.frames
            if not count:
                seconds = stream.duration * stream.time_base if stream.duration else container.duration / TIME_BASE
                count = int(seconds * stream.average_rate)
            return count if 0 < count <= MAX_FRAMES else None
    except (PictureError, TypeError):
        return None


def why_unreadable(path: Path) -> str:
    """What is said of a video of which :func:`frame_count` is None or too small."""
    return LFS_POINTER if is_lfs_pointer(path) else "a video that cannot be read"


def about_the_middle(count: int, wanted: int) -> list[int]:
    """``wanted`` neighbouring frames in the middle of ``count``, never the first."""
    start = max(1, count // 2 - wanted // 2)
    return list(range(start, min(count, start + wanted)))
