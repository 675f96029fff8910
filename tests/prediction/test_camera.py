import cv2
import numpy as np
import pytest

from fer_cli.errors import FerError
from fer_cli.faces.video import Every
from fer_cli.prediction.camera import camera_shots, until_interrupted
from fer_cli.prediction.outcomes import Outcome


class Camera:
    """Gives a few frames, blue in OpenCV's order of colours, and is let go of."""

    def __init__(self, number: int):
        self.left, self.released = 5, False
        Camera.last = self

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((4, 6, 3), (255, 0, 0), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return Camera


def test_what_a_camera_sees_is_numbered_timed_and_in_the_right_colours(camera):
    *seen, end = camera_shots(0, Every(frames=2))
    assert [shot.frame for shot in seen] == [0, 2, 4]
    assert seen[0].time <= seen[1].time <= seen[2].time
    assert seen[0].pixels[0, 0].tolist() == [0, 0, 255]
    assert end.end
    assert camera.last.released


def test_a_camera_is_let_go_of_when_nobody_watches(camera):
    shots = camera_shots(0, Every())
    next(shots)
    shots.close()
    assert camera.last.released


def test_a_camera_that_is_not_there_is_said():
    with pytest.raises(FerError, match="--camera 99: there is no camera"):
        next(camera_shots(99, Every()))


def test_ctrl_c_ends_a_camera_as_its_own_end_would(camera):
    def outcomes():
        yield from map(Outcome, camera_shots(0, Every()))
        raise AssertionError

    def interrupted():
        found = outcomes()
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    first, second, end = until_interrupted(interrupted())
    assert [first.shot.frame, second.shot.frame] == [0, 1]
    assert end.shot.end
    assert end.shot.path == first.shot.path
