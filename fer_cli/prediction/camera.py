"""What a camera sees, as shots."""

import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from fer_cli.errors import FerError
from fer_cli.faces.video import Every
from fer_cli.prediction.outcomes import Outcome
from fer_cli.prediction.shots import Shot


def camera_shots(number: int, every: Every) -> Iterator[Shot]:
    """Shots of camera ``number``, counted from 0, until it ends or whoever takes them stops.

    Raises :class:`~fer_cli.errors.FerError` if there is no such camera.
    """
    # OpenCV would write its own account of what it tried to standard error.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise FerError(
                f"--camera {number}: there is no camera of this number here, or another program has it.",
                hint="Cameras are counted from 0; a video file can be given by its name.",
            )
        path, begun, last, index = Path(f"camera-{number}"), time.monotonic(), None, -1
        while camera.grab():
            index += 1
            now = time.monotonic() - begun
            if (step := every.step(index, now)) == last:
                continue
            last = step
            read, frame = camera.retrieve()
            if read:
                yield Shot(0, path, pixels=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), frame=index, time=now)
        yield Shot(0, path, end=True)
    finally:
        camera.release()


def until_interrupted(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes of a camera, which Ctrl-C ends as its own end would."""
    shot = None
    try:
        for outcome in outcomes:
            shot = outcome.shot
            yield outcome
    except KeyboardInterrupt:
        if shot is not None and not shot.end:
            yield Outcome(Shot(shot.index, shot.path, end=True))
