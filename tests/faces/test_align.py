"""The template: where the eyes come to lie, whatever the picture; how a face already cropped is fitted."""

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.errors import PictureError, UsageError
from fer_cli.faces.align import CropTemplate, inverse_of

templates = st.builds(CropTemplate, st.integers(32, 300), st.floats(0, 1))
#: Right eye, left eye, nose tip, corners of the mouth, of an upright face whose eyes are one apart.
UPRIGHT = np.array([[-0.5, 0], [0.5, 0], [0, 0.6], [-0.4, 1], [0.4, 1]])


def placed(apart: float, degrees: float, middle: tuple[float, float]) -> np.ndarray:
    """The upright face with its eyes ``apart`` pixels apart, turned, with ``middle`` between its eyes."""
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return apart * UPRIGHT @ rotation.T + middle


@given(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), st.floats(0, 360), st.floats(0.01, 100))
def test_an_inverse_is_opencvs(middle, degrees, scale):
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
    assert np.allclose(inverse_of(matrix), cv2.invertAffineTransform(matrix), rtol=1e-9, atol=1e-9)


def test_the_template_as_documented():
    tight = CropTemplate(size=250, margin=0)
    assert np.allclose(tight.eyes, [[75, 80], [175, 80]])
    # A margin of a half on each edge doubles the square's side, about the same middle.
    assert np.allclose(CropTemplate(size=500, margin=0.5).eyes, np.array([[75, 80], [175, 80]]) + 125)


@given(
    templates,
    st.floats(2, 2_000),
    st.floats(-180, 180),
    st.tuples(st.floats(-500, 5_000), st.floats(-500, 5_000)),
)
def test_any_face_comes_to_the_template_without_being_stretched_or_mirrored(template, apart, degrees, middle):
    matrix = template.matrix(placed(apart, degrees, middle))
    (right, left), linear = template.eyes, matrix[:, :2]
    wanted = (left[0] - right[0]) * UPRIGHT + template.eyes.mean(axis=0)
    assert np.allclose(placed(apart, degrees, middle) @ linear.T + matrix[:, 2], wanted, atol=1e-6 * template.size)
    assert np.allclose(linear @ linear.T, np.eye(2) * np.linalg.det(linear))
    assert np.linalg.det(linear) > 0


def dotted(landmarks: np.ndarray, shape: tuple[int, int], width: float) -> np.ndarray:
    """A dark picture with a round red glow at the right eye and a green one at the left."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = np.zeros((*shape, 3))
    for channel, (across, down) in enumerate(landmarks[:2]):
        picture[..., channel] = 255 * np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * width**2))
    return picture.round().astype(np.uint8)


def glows(crop: np.ndarray) -> np.ndarray:
    """2×2: where the red and the green glow are."""
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    weights = crop[..., :2].astype(float) ** 2
    return np.array([[(x * w).sum() / w.sum(), (y * w).sum() / w.sum()] for w in np.moveaxis(weights, 2, 0)])


@given(
    st.builds(CropTemplate, st.integers(48, 160), st.floats(0, 0.5)),
    st.floats(14, 120),
    st.floats(-180, 180),
    st.tuples(st.floats(140, 180), st.floats(140, 180)),
)
def test_the_eyes_of_a_picture_come_to_lie_where_the_template_says(template, apart, degrees, middle):
    landmarks = placed(apart, degrees, middle)
    crop = template.align(dotted(landmarks, (320, 320), width=apart / 10), landmarks)
    assert crop.shape == (template.size, template.size, 3)
    assert crop.dtype == np.uint8
    # 0.3 of a crop's pixel is the most that rounding to 8 bits and few pixels a glow move its middle.
    assert np.abs(glows(crop) - template.eyes).max() < 0.3


@pytest.mark.parametrize("quick", [None, 1, 2])
@pytest.mark.parametrize("apart", [30, 60, 120, 300])
def test_shrinking_does_not_shift_the_face_by_half_a_pixel(apart, quick):
    template, landmarks = CropTemplate(96), placed(apart, 20, (400, 410))
    crop = template.align(dotted(landmarks, (800, 800), width=apart / 10), landmarks, quick=quick)
    assert np.abs(glows(crop) - template.eyes).max() < 0.05


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    """A smooth picture with detail in every place, 600 × 600."""
    noise = np.random.default_rng(3).normal(size=(600, 600, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 12)
    return np.clip(128 + smooth * 1_500, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("scale", "degrees"), [(1, 0), (1, 30), (0.5, -75), (0.7, 180), (1.3, 10)])
def test_the_crop_is_the_same_however_the_picture_is_turned_and_scaled(texture, scale, degrees):
    template, landmarks = CropTemplate(96), placed(90, 0, (300, 280))
    change = cv2.getRotationMatrix2D((300, 280), degrees, scale)
    changed = cv2.warpAffine(texture, change, (600, 600), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    moved = landmarks @ change[:, :2].T + change[:, 2]
    difference = template.align(changed, moved).astype(int) - template.align(texture, landmarks)
    assert np.abs(difference).mean() < 2


def test_fine_patterns_are_averaged_not_sampled():
    stripes = np.zeros((1_000, 1_000, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = CropTemplate(64).align(stripes, placed(250, 0, (500, 400)))
    assert np.abs(crop.astype(int) - 127).max() < 16


def test_a_crop_that_reaches_out_of_the_picture_repeats_its_edge():
    picture = np.full((100, 100, 3), 90, np.uint8)
    assert (CropTemplate(64, margin=1).align(picture, placed(60, 0, (10, 90))) == 90).all()


@pytest.mark.parametrize("shape", [(60, 40_000, 3), (40_000, 60, 3)])
def test_a_strip_wider_than_opencv_maps_is_aligned(shape):
    picture = np.full(shape, 70, np.uint8)
    middle = (shape[1] - 30, shape[0] - 30)
    assert (CropTemplate(64).align(picture, placed(20, 0, middle)) == 70).all()


@pytest.mark.parametrize(
    "eyes",
    [[[50, 50], [50, 50]], [[50, 50], [50.5, 50]], [[np.nan, 50], [60, 50]], [[50, 50], [np.inf, 50]]],
    ids=["one place", "half a pixel", "nan", "inf"],
)
def test_eyes_that_give_no_direction_are_refused(eyes):
    landmarks = np.array([*eyes, [0, 0], [0, 0], [0, 0]], dtype=float)
    with pytest.raises(PictureError, match="eyes in one place"):
        CropTemplate().align(np.zeros((100, 100, 3), np.uint8), landmarks)


@pytest.mark.parametrize(("shape", "content"), [((48, 48), np.s_[:, :]), ((50, 100), np.s_[16:48, :])])
def test_a_face_already_cropped_is_fitted_whole_and_undistorted(shape, content):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    fitted = CropTemplate(64).fit(picture)
    inside = fitted[content]
    assert fitted.shape == (64, 64, 3)
    method = cv2.INTER_AREA if max(shape) > 64 else cv2.INTER_LINEAR
    assert (inside == cv2.resize(picture, inside.shape[1::-1], interpolation=method)).all()


def test_the_shorter_side_is_filled_up_with_the_edge():
    picture = np.full((20, 100, 3), 50, np.uint8)
    picture[-1] = 200
    fitted = CropTemplate(100).fit(picture)
    assert (fitted[:40] == 50).all()
    assert (fitted[60:] == 200).all()


def test_a_strip_is_fitted_without_a_square_of_its_length():
    # 100,000 pixels squared would be 30 GB.
    assert CropTemplate(32).fit(np.zeros((1, 100_000, 3), np.uint8)).shape == (32, 32, 3)


@pytest.mark.parametrize("wrong", [{"size": 31}, {"size": 1025}, {"margin": -0.01}, {"margin": 1.01}])
def test_templates_out_of_range_are_refused_by_their_flag(wrong):
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        CropTemplate(**wrong)


def test_a_template_travels_to_another_process():
    assert pickle.loads(pickle.dumps(CropTemplate(96, 0.3))) == CropTemplate(96, 0.3)  # noqa: S301 - our own bytes
