"""From inputs to shots: a picture is one, a video or a camera as many as are taken of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_cli.errors import PictureError
from fer_cli.faces.decode import MAX_PIXELS
from fer_cli.faces.formats import is_video
from fer_cli.faces.video import Every, sampled_frames
from fer_cli.prediction.inputs import Input

NO_FRAMES = "a video without frames"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to look at.

    ``index`` counts the inputs from 0. ``pixels`` is None for a picture file, which whoever looks at it decodes, and
    the frame itself (H×W×3 uint8 RGB) for ``frame`` of a video or camera, ``time`` seconds from its start. ``problem``
    says why there is nothing to look at. After the last frame comes a shot of nothing whose ``end`` is True.
    """

    index: int
    path: Path
    subject: str | None = None
    pixels: np.ndarray | None = None
    frame: int | None = None
    time: float | None = None
    problem: str | None = None
    end: bool = False

    @property
    def closes(self) -> bool:
        """Whether no other shot of the same input follows."""
        return self.end or self.frame is None


def shots(inputs: Iterable[tuple[int, Input]], every: Every, *, max_pixels: int = MAX_PIXELS) -> Iterator[Shot]:
    """The shots of numbered ``inputs``, in order; what cannot be opened gives one with a problem."""
    for index, given in inputs:
        if given.problem is not None or not is_video(given.path):
            yield Shot(index, given.path, given.subject, problem=given.problem)
        else:
            yield from _of_video(index, given, every, max_pixels)


def _of_video(index: int, given: Input, every: Every, max_pixels: int) -> Iterator[Shot]:
    number, problem = None, None
    try:
        for number, time, pixels in sampled_frames(given.path, every, max_pixels=max_pixels):
            yield Shot(index, given.path, given.subject, pixels, number, time)
    except PictureError as error:
        problem = error.message
    yield Shot(index, given.path, given.subject, problem=problem or (NO_FRAMES if number is None else None), end=True)
