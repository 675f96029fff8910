from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, smoothed

CLIP = Path("clip.mp4")


def result(time: float, *faces: tuple[float | None, float]) -> FrameResult:
    """Faces at x with a probability of happiness."""
    predictions = [
        FacePrediction(number, {"happiness": share, "anger": 1 - share}, box=None if x is None else (x, 0, 100, 100))
        for number, (x, share) in enumerate(faces)
    ]
    return FrameResult(Frame(0, CLIP, number=round(time * 25), time=time), tuple(predictions))


def shares(results, seconds: float) -> list[list[float]]:
    return [[each.probabilities["happiness"] for each in found.faces] for found in smoothed(results, seconds)]


def test_a_frame_counts_half_after_so_many_seconds():
    steps = [result(0, (None, 1.0)), result(1, (None, 0.0)), result(3, (None, 0.0)), result(4, (None, 1.0))]
    # After 1 s half of the past is left, after 2 s a quarter of that.
    assert shares(steps, 1) == [[1.0], [0.5], [0.125], [pytest.approx(0.5625)]]


def test_the_label_is_that_of_the_average():
    calm = list(smoothed([result(0, (None, 0.9)), result(0.1, (None, 0.3))], 1))
    assert calm[1].faces[0].label == "happiness"


def test_faces_are_followed_by_their_boxes_not_by_their_number():
    steps = [result(0, (0, 1.0), (500, 0.0)), result(1, (510, 0.0), (5, 1.0))]
    assert shares(steps, 1)[1] == [0.0, 1.0]


def test_a_face_that_was_long_out_of_sight_or_elsewhere_begins_anew():
    assert shares([result(0, (0, 1.0)), result(9, (0, 0.0))], 1)[1] == [0.0]
    assert shares([result(0, (0, 1.0)), result(1, (90, 0.0))], 1)[1] == [0.0]


def test_pictures_stay_as_they_are_and_videos_do_not_run_into_each_other():
    end, picture = FrameResult(Frame(0, CLIP, end=True)), FrameResult(Frame(1, Path("a.jpg")))
    steps = [result(0, (None, 1.0)), end, picture, result(0.5, (None, 0.0))]
    calm = list(smoothed(steps, 1))
    assert calm[1:3] == [end, picture]
    assert calm[3].faces[0].probabilities["happiness"] == 0.0


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=1, max_size=20), st.floats(0.01, 10))
def test_probabilities_stay_probabilities_between_the_least_and_the_most_that_was_seen(steps, seconds):
    time, results = 0.0, []
    for after, share in steps:
        time += after
        results.append(result(time, (None, share)))
    seen = [share for _, share in steps]
    for number, (share,) in enumerate(shares(results, seconds), start=1):
        assert min(seen[:number]) - 1e-9 <= share <= max(seen[:number]) + 1e-9
