"""One frame: a person, the units that act, the camera; the picture and its landmarks."""

import cv2
import numpy as np

from fer_cli.synthetic.action_units import folds, move_landmarks
from fer_cli.synthetic.canvas import Canvas
from fer_cli.synthetic.face import HEIGHT, WIDTH, Face, Pose, neutral_landmarks
from fer_cli.synthetic.features import (
    paint_brows,
    paint_eyes,
    paint_hair_before,
    paint_hair_behind,
    paint_mouth,
    paint_nose,
)
from fer_cli.synthetic.head import paint_background, paint_body, paint_ears, paint_folds, paint_head
from fer_cli.synthetic.person import Identity, Performance, activation_at


def face_of(person: Identity, performance: Performance, rest: dict, amount: float) -> Face:
    """The person at ``amount`` of the performance, from 0 at rest to 1 at the apex."""
    activation = activation_at(performance, rest, amount)
    turn = np.array(performance.start_turn) + amount * np.array(performance.turn)
    shift = np.array(performance.start_shift) + amount * np.array(performance.shift)
    yaw, pitch, roll = turn
    x, y = WIDTH / 2 + person.size * shift[0], 0.43 * HEIGHT + person.size * shift[1]
    return Face(
        person=person,
        landmarks=move_landmarks(neutral_landmarks(person), activation),
        folds=folds(activation),
        pose=Pose(yaw, pitch, roll, x, y, person.size),
    )


def landmarks_in_pixels(face: Face) -> np.ndarray:
    """The 68 landmarks (68, 2), x and y in pixels of the picture, where :func:`paint` paints them."""
    return face.at(face.landmarks)


def paint(face: Face, *, exposure: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The picture of a face: RGB, uint8, (490, 640, 3).

    ``exposure`` multiplies the light, ``noise`` is the deviation of the sensor's noise in grey levels.
    """
    canvas = Canvas(WIDTH, HEIGHT)
    paint_background(canvas, face)
    paint_hair_behind(canvas, face)
    paint_body(canvas, face)
    paint_ears(canvas, face)
    head = paint_head(canvas, face)
    paint_folds(canvas, face, head)
    paint_nose(canvas, face, head)
    paint_eyes(canvas, face, head)
    paint_mouth(canvas, face, head)
    paint_brows(canvas, face)
    paint_hair_before(canvas, face)
    pixels = canvas.pixels * np.float32(exposure)
    # One value for the three channels: a grey grain, which also keeps the files half as large.
    pixels += rng.standard_normal((HEIGHT, WIDTH), np.float32) * np.float32(noise)
    return cv2.merge([cv2.convertScaleAbs(np.maximum(plane, 0)) for plane in pixels])
