"""The faces that the synthetic corpus draws: what an expression moves, and whether a detector takes them for faces."""

import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.labels import CLASS_SETS
from fer_cli.synthetic.action_units import MIRROR, UNITS, folds, move_landmarks
from fer_cli.synthetic.face import AVERAGE, Canvas, Pose, curve, neutral_landmarks
from fer_cli.synthetic.head import face_of, landmarks_in_pixels, paint
from fer_cli.synthetic.person import UNITS_OF, draw_identity, draw_performance, draw_rest, intensity

SUBJECTS = range(1, 9)


def person(number: int):
    return draw_identity(np.random.default_rng([0, number]))


def at(label: str, subject: int, amount: float = 1.0) -> np.ndarray:
    """Landmarks in the face's plane: no pose, so that nothing but the expression moves them."""
    performance = draw_performance(label, np.random.default_rng([1, subject]))
    return face_of(person(subject), performance, {}, amount).landmarks


def change(label: str, subject: int) -> np.ndarray:
    """How each landmark moves from rest to the apex; down is positive."""
    return at(label, subject) - at(label, subject, 0.0)


def test_the_mirror_pairs_every_landmark_with_the_one_across_the_face():
    assert np.allclose(AVERAGE[MIRROR] * (-1, 1), AVERAGE)
    assert (MIRROR[MIRROR] == np.arange(68)).all()


def test_each_class_has_its_units_and_every_unit_is_known():
    assert set(UNITS_OF) == set(CLASS_SETS["7-contempt"])
    assert {unit for units in UNITS_OF.values() for unit in units} == set(UNITS)


@pytest.mark.parametrize("number", sorted(UNITS))
def test_a_unit_that_acts_on_both_sides_alike_moves_them_alike(number):
    landmarks = move_landmarks(AVERAGE, {number: (1.0, 1.0)})
    assert np.allclose(landmarks[MIRROR] * (-1, 1), landmarks)
    assert not np.allclose(landmarks, AVERAGE)


@pytest.mark.parametrize("number", [1, 4, 12, 15])
def test_a_unit_that_acts_on_one_side_leaves_the_other_outer_side_alone(number):
    way = move_landmarks(AVERAGE, {number: (1.0, 0.0)}) - AVERAGE
    other_side = AVERAGE[:, 0] > 0.02
    assert np.abs(way[other_side]).max() < 0.02
    assert np.abs(way[~other_side]).max() > 0.1


@given(
    st.dictionaries(
        st.sampled_from(sorted(UNITS)), st.tuples(st.floats(0, 1.5), st.floats(0, 1.5)), min_size=1, max_size=len(UNITS)
    )
)
def test_lids_and_lips_never_cross(activation):
    landmarks = move_landmarks(AVERAGE, activation)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65), (51, 62), (66, 57)):
        assert landmarks[upper, 1] < landmarks[lower, 1]


@pytest.mark.parametrize("subject", SUBJECTS)
class TestEachClassMovesByItsUnits:
    def test_happiness_raises_and_widens_the_mouth_corners(self, subject):
        way = change("happiness", subject)
        assert way[48, 1] < -0.08
        assert way[54, 1] < -0.08
        assert way[54, 0] - way[48, 0] > 0.15

    def test_surprise_opens_the_mouth_and_the_eyes_and_raises_the_brows(self, subject):
        way = change("surprise", subject)
        assert way[66, 1] - way[62, 1] > 0.2
        assert way[8, 1] > 0.2
        assert way[17:27, 1].max() < -0.08
        assert way[[37, 38, 43, 44], 1].max() < -0.03

    def test_contempt_is_one_sided(self, subject):
        way = change("contempt", subject)
        strong, weak = sorted((np.hypot(*way[48]), np.hypot(*way[54])), reverse=True)
        assert strong > 0.08
        assert weak < 0.25 * strong

    def test_sadness_raises_the_inner_brows_and_draws_the_corners_down(self, subject):
        way = change("sadness", subject)
        assert way[[21, 22], 1].max() < way[[17, 26], 1].min() - 0.05
        assert way[[48, 54], 1].min() > 0.08

    def test_anger_lowers_the_brows_and_thins_the_lips(self, subject):
        before, after = at("anger", subject, 0.0), at("anger", subject)
        assert (after - before)[[20, 21, 22, 23], 1].min() > 0.08
        assert after[57, 1] - after[51, 1] < 0.8 * (before[57, 1] - before[51, 1])

    def test_disgust_raises_nose_and_upper_lip(self, subject):
        way = change("disgust", subject)
        assert way[[31, 35], 1].max() < -0.04
        assert way[[50, 51, 52], 1].max() < -0.04

    def test_fear_stretches_the_mouth_and_widens_the_eyes(self, subject):
        way = change("fear", subject)
        assert way[54, 0] - way[48, 0] > 0.2
        assert way[[37, 38, 43, 44], 1].max() < -0.03
        assert way[[21, 22], 1].max() < -0.05


@pytest.mark.parametrize("label", sorted(UNITS_OF))
def test_the_face_moves_further_from_rest_with_every_frame(label):
    rest = at(label, 1, 0.0)
    ways = [np.abs(at(label, 1, intensity(frame, 6)) - rest).sum() for frame in range(6)]
    assert ways[0] == 0
    assert (np.diff(ways) > 0).all()


@pytest.mark.parametrize("frames", [4, 6, 20])
def test_a_sequence_begins_at_rest_and_its_last_three_frames_are_near_the_apex(frames):
    amounts = [intensity(frame, frames) for frame in range(frames)]
    assert amounts[0] == 0
    assert amounts[-1] == 1
    assert amounts[-3] >= 0.85


def test_resting_faces_differ_as_expressions_do_only_where_confounded():
    def rests(confound: float) -> np.ndarray:
        return np.stack(
            [
                move_landmarks(neutral_landmarks(person(number)), draw_rest(np.random.default_rng(number), confound))
                - neutral_landmarks(person(number))
                for number in range(30)
            ]
        )

    expressions = np.stack([change(label, 1) for label in UNITS_OF])
    assert np.abs(rests(0.0)).max() < 1e-9
    half, whole = (np.abs(rests(confound)).mean() for confound in (0.5, 1.0))
    assert half < 0.7 * whole
    assert whole > 0.5 * np.abs(expressions).mean()


def test_folds_deepen_with_the_units_that_make_them():
    assert not any(sum(sides) for sides in folds({}).values())
    assert folds({9: (1.0, 1.0)})["nose"] == (1.0, 1.0)
    assert folds({12: (1.0, 0.0)})["nasolabial"][1] == 0


def test_a_head_that_faces_the_camera_is_drawn_to_scale():
    points = Pose(0, 0, 0, 320, 200, 80)(np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 1.0]]))
    assert np.allclose(points, [[320, 200], [360, 200], [320, 280]])


def test_a_curve_goes_through_its_points():
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [4.0, 4.0]])
    line = curve(points, 8)
    assert np.allclose(line[::8], points)


def test_a_filled_polygon_covers_its_area():
    canvas = Canvas(60, 40)
    canvas.fill(np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 20.0], [10.0, 20.0]]), (200, 100, 50))
    assert canvas.pixels[:, 15, 20].tolist() == [200, 100, 50]
    assert canvas.pixels[:, 30, 50].tolist() == [0, 0, 0]
    assert canvas.pixels[0].sum() / 200 == pytest.approx(21 * 11, rel=0.1)


def test_what_lies_beyond_the_picture_is_skipped():
    canvas = Canvas(20, 20)
    canvas.fill(np.array([[100.0, 100.0], [120.0, 100.0], [110.0, 120.0]]), (255, 255, 255), blur=2)
    canvas.blob(np.array([-90.0, 10.0]), (3, 3), (255, 255, 255), 1.0)
    assert canvas.pixels.max() == 0


def painted(subject: int, label: str, amount: float):
    performance = draw_performance(label, np.random.default_rng([2, subject]))
    face = face_of(person(subject), performance, {}, amount)
    pixels = paint(face, exposure=performance.exposure, noise=performance.noise, rng=np.random.default_rng(subject))
    return pixels, landmarks_in_pixels(face)


def test_the_pupils_are_dark_and_the_whites_beside_them_light_where_the_landmarks_say():
    for subject in SUBJECTS:
        pixels, landmarks = painted(subject, "surprise", 1.0)
        for eye in (landmarks[36:42], landmarks[42:48]):
            x, y = eye.mean(0)
            patch = pixels[int(y) - 8 : int(y) + 9, int(x) - 8 : int(x) + 9].mean(-1)
            opening = cv2.fillPoly(np.zeros(pixels.shape[:2], np.uint8), [eye.astype(np.int32)], 1).astype(bool)
            assert patch.min() < 40
            assert pixels[opening].mean(-1).max() > 170


def test_a_detector_takes_them_for_faces_and_finds_eyes_and_mouth_where_they_were_drawn(shared):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    if not model.is_file():
        pytest.skip(f"{model.name} is not beside the checkout")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = cv2.FaceDetectorYN_create(str(model), "", (640, 490), 0.6)
    for subject, label in zip([*SUBJECTS, *SUBJECTS][:14], sorted(UNITS_OF) * 2, strict=True):
        pixels, landmarks = painted(subject, label, 1.0)
        _, faces = detector.detect(np.ascontiguousarray(pixels[..., ::-1]))
        assert faces is not None, f"{label} of {subject} is not found"
        assert len(faces) == 1
        found = faces[0, 4:14].reshape(5, 2)
        drawn = np.stack((landmarks[36:42].mean(0), landmarks[42:48].mean(0), *landmarks[[30, 48, 54]]))
        between_eyes = np.hypot(*(drawn[1] - drawn[0]))
        assert np.hypot(*(found - drawn)[:2].T).max() < 0.2 * between_eyes
        assert np.hypot(*(found - drawn)[3:].T).max() < 0.4 * between_eyes
