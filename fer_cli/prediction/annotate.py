"""Pictures and videos with what was predicted drawn on them."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.decode import decode
from fer_cli.faces.video import VideoSink, frames_of
from fer_cli.files import write_bytes
from fer_cli.prediction.draw import drawn
from fer_cli.prediction.outcomes import Outcome, Prediction
from fer_cli.prediction.safe_names import safe_name
from fer_cli.prediction.shots import Shot
from fer_cli.prediction.writers import said

QUALITY = 90


class Annotate:
    """Writes a drawn-on JPEG of each picture, and a drawn-on MP4 without sound of each video, into ``folder``.

    A video keeps all its frames; those between two that were looked at show what was found in the first.
    """

    def __init__(self, folder: Path, *, max_pixels: int):
        self._folder = folder
        self._max_pixels = max_pixels
        self._video: _Drawing | None = None

    def write(self, outcome: Outcome) -> None:
        """Draw what was found."""
        shot = outcome.shot
        with said(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            if shot.frame is None and not shot.end:
                self._picture(outcome)
            elif shot.end:
                if self._video is not None:
                    self._video.close()
                self._video = None
            else:
                if self._video is None:
                    name = safe_name(Shot(shot.index, shot.path), ending=".mp4")
                    self._video = _Drawing(shot.path, self._folder / name, self._max_pixels)
                self._video.draw(shot.frame, outcome.predictions)

    def _picture(self, outcome: Outcome) -> None:
        if not outcome.predictions:
            return
        try:
            # Decoded once more: to keep the pixels of all that is under way would take far more memory than time.
            pixels = decode(outcome.shot.path, max_pixels=self._max_pixels)
        except PictureError:
            return
        picture = Image.fromarray(drawn(pixels, outcome.predictions))
        encoded = BytesIO()
        picture.save(encoded, format="JPEG", quality=QUALITY)
        write_bytes(self._folder / safe_name(outcome.shot, ending=".jpg"), encoded.getvalue())


class _Drawing:
    """A video that is read along with its predictions, drawn on, and written."""

    def __init__(self, path: Path, target: Path, max_pixels: int):
        self._frames: Iterator[tuple[int, Any, np.ndarray]] = frames_of(path, max_pixels=max_pixels)
        self._sink = VideoSink(path, target)
        self._current: tuple[Prediction, ...] = ()
        self._next: tuple[int, Any, np.ndarray] | None = None

    def draw(self, frame: int, predictions: tuple[Prediction, ...]) -> None:
        self._forward(frame)
        self._current = predictions

    def close(self) -> None:
        self._forward(None)
        self._sink.close()

    def _forward(self, until: int | None) -> None:
        """Write the frames before ``until`` with what is known of them."""
        while True:
            if self._next is None:
                try:
                    self._next = next(self._frames, None)
                except PictureError:
                    # It breaks off here; what came before is drawn.
                    self._next = None
            if self._next is None or (until is not None and self._next[0] >= until):
                return
            _, stamp, pixels = self._next
            self._sink.write(drawn(pixels, self._current), stamp)
            self._next = None
