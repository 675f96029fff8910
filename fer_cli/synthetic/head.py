"""Pictures of drawn heads: the background, the body, the ears, the head with its light and folds, and the whole."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike

from fer_cli.synthetic.action_units import Sides, folds, move_landmarks
from fer_cli.synthetic.face import HEIGHT, WIDTH, Canvas, Face, Pose, by, curve, disc, neutral_landmarks
from fer_cli.synthetic.features import (
    paint_brows,
    paint_eyes,
    paint_hair_before,
    paint_hair_behind,
    paint_mouth,
    paint_nose,
)
from fer_cli.synthetic.person import Identity, Performance, activation_at


def paint_background(canvas: Canvas, face: Face) -> None:
    """A wall, brighter where the light comes from."""
    height, width = canvas.height, canvas.width
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = 1 + 0.10 * face.person.light[0] * x - 0.09 * y - 0.10 * (x * x + y * y)
    canvas.pixels[:] = light * np.array(face.person.background, np.float32)[:, None, None]


def paint_body(canvas: Canvas, face: Face) -> None:
    """Shoulders in their clothes, and the neck, which follow the head's place but not its turns."""
    person, jaw = face.person, face.person.jaw_width * face.person.face_width
    size, centre = face.pose.size, np.array((face.pose.x, face.pose.y))

    def at(points: ArrayLike) -> np.ndarray:
        return centre + size * curve(np.asarray(points, dtype=float))

    clothes = np.array(person.clothes)
    shoulders = at(
        [
            (-3.4, 4.6), (-2.9, 2.95), (-1.9, 2.5), (-0.8, 2.2), (0, 2.15), (0.8, 2.2), (1.9, 2.5), (2.9, 2.95),
            (3.4, 4.6),
        ]
    )  # fmt: skip
    canvas.fill(shoulders, clothes)
    cloth = canvas.mask(shoulders)
    canvas.blob(centre + size * np.array((-1.3, 2.7)), (size * 0.7, size * 0.35), clothes + 26, 0.5, within=cloth)
    canvas.blob(centre + size * np.array((1.3, 2.7)), (size * 0.7, size * 0.35), clothes + 26, 0.5, within=cloth)
    canvas.blob(centre + size * np.array((0, 3.4)), (size * 1.6, size * 0.5), clothes * 0.55, 0.5, within=cloth)

    drop = 2.45 + 0.45 * person.collar
    half = 0.74 * jaw
    neck = at(
        [
            *((-half, 0.9), (-half * 0.97, 1.9), (-half * 1.2, 2.2), (-0.55, drop - 0.1), (0, drop)),
            *((0.55, drop - 0.1), (half * 1.2, 2.2), (half * 0.97, 1.9), (half, 0.9)),
        ]
    )
    canvas.stroke(neck[10:-10], size * 0.10, clothes * 0.72, 0.9, blur=1.5)
    canvas.fill(neck, face.skin * 0.95)
    skin = canvas.mask(neck)
    side = np.sign(person.light[0])
    canvas.blob(centre + size * np.array((0, 1.75)), (size * 0.85, size * 0.30), face.shade * 0.86, 0.95, within=skin)
    canvas.blob(centre + size * np.array((-side * half, 1.9)), (size * 0.3, size * 0.6), face.shade, 0.7, within=skin)
    for way in (-1, 1):
        tendon = at([(way * half * 0.75, 1.75), (way * 0.34, 2.2), (way * 0.12, 2.42)])
        canvas.stroke(tendon, size * 0.06, face.shade, 0.35, blur=3, within=skin)


def paint_ears(canvas: Canvas, face: Face) -> None:
    """Ears at the sides of the head, where no hair hides them; those far from the light are darker."""
    if face.person.hair_back in ("bob", "long"):
        return
    scale = face.person.ears
    for side, (x, y) in ((-1, face.landmarks[0]), (1, face.landmarks[16])):
        shape = [
            (0.04, -0.20), (-0.10, -0.27), (-0.20, -0.18), (-0.19, 0.06), (-0.12, 0.28), (-0.02, 0.40), (0.08, 0.35),
        ]  # fmt: skip
        points = np.array(shape) * (-side * scale, scale) + by(x, y + 0.22)
        outside = face.line(points, depth=-0.05)
        lit = 0.9 + 0.12 * side * face.person.light[0]
        canvas.fill(outside, face.skin * (0.97, 0.9, 0.88) * lit)
        inner = face.line(points * 0.6 + np.array((x - 0.02 * side, y + 0.24)) * 0.4, depth=-0.05)
        canvas.stroke(inner, face.px(0.07), face.crease, 0.45, blur=1.5)


def paint_head(canvas: Canvas, face: Face) -> np.ndarray:
    """The head's skin, rounded by the light. Returns its mask, that the parts of the face are painted within."""
    outline = face.at(face.outline)
    canvas.fill(outline, face.skin)
    head = canvas.mask(outline)
    _light_up(canvas, face, head)
    _colour_up(canvas, face, head)
    return head


def _light_up(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    """Shade the head as an ellipsoid that the light falls on; worked out at a quarter of the size, being smooth."""
    height, width = head.shape
    pose, step = face.pose, 4
    x = (np.arange(0, width, step, dtype=np.float32)[None, :] - pose.x) / pose.size
    y = (np.arange(0, height, step, dtype=np.float32)[:, None] - pose.y) / pose.size
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    u, v = (x * cos + y * sin) / 1.30, ((y * cos - x * sin) - 0.1) / 1.95
    depth = np.sqrt(np.clip(1 - u * u - v * v, 0.02, 1))
    light = np.array(face.person.light) / np.linalg.norm(face.person.light)
    toward = u * light[0] + v * light[1] + depth * light[2]
    gain = (0.66 + 0.42 * np.clip(toward, 0, 1) ** 0.9 - 0.66 * 0.10 * (1 - depth)) ** face.person.contrast
    gain = cv2.resize(gain.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    # Shadow on skin is warm: it takes more from blue than from red.
    change = (gain - 1) * head
    for plane, share in zip(canvas.pixels, (0.82, 1.0, 1.08), strict=True):
        plane *= 1 + np.float32(share) * change


def _colour_up(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    person, points = face.person, face.landmarks
    warm = face.skin * (1.02, 0.74, 0.70)
    for side, corner in ((0, 48), (1, 54)):
        way = -1 if side == 0 else 1
        lift = max(face.folds["cheek"][side], 0)
        x, y = way * 0.72 * person.face_width, 0.66 - 0.08 * min(lift, 1.2)
        canvas.blob(face.at([(x, y)])[0], (face.px(0.27), face.px(0.20)), warm, 0.22 + 0.3 * person.blush, within=head)
        bright = face.at([(way * 0.68 * person.face_width, 0.44 - 0.04 * lift)])[0]
        lit = 0.16 + 0.12 * way * person.light[0]
        canvas.blob(bright, (face.px(0.20), face.px(0.12)), face.glow, lit + 0.28 * min(lift, 1.2), within=head)
        # A raised cheek is a ball: its underside is in shade.
        under = [(way * 0.86, 0.80), (way * 0.70, 0.86), (way * 0.56, 0.82)]
        canvas.stroke(face.line(under), face.px(0.12), face.shade, 0.35 * min(lift, 1.2), blur=5, within=head)
        hollow = 0.12 + 0.10 * person.age + 0.30 * face.folds["hollow"][side]
        spot = face.at([(way * 0.86, (points[corner, 1] + 0.9) / 2 + 0.05)])[0]
        canvas.blob(spot, (face.px(0.14), face.px(0.30)), face.shade, hollow, within=head)
        temple = face.at([(way * 1.04 * person.face_width, -0.35)])[0]
        canvas.blob(temple, (face.px(0.14), face.px(0.35)), face.shade, 0.2, within=head)
    canvas.blob(
        face.at([(0.25 * person.light[0], -0.72)])[0], (face.px(0.42), face.px(0.2)), face.glow, 0.3, within=head
    )
    chin = face.at([(0, points[8, 1] - 0.20)])[0]
    canvas.blob(chin, (face.px(0.16), face.px(0.10)), face.glow, 0.22, within=head)
    rim = face.line(points[1:16] * (0.985, 0.99))
    canvas.stroke(rim, face.px(0.10), face.shade, 0.35, blur=5, within=head)
    if person.stubble:
        _stubble(canvas, face, head)
    _freckle(canvas, face, head)


def _stubble(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    points = face.landmarks
    beard = np.concatenate(
        (points[2:15], [points[54] + by(0.2, -0.1), (0.28, 0.90), (-0.28, 0.90), points[48] - by(0.2, 0.1)])
    )
    colour = np.array(face.person.hair) * 0.5 + face.shade * 0.35
    canvas.fill(face.at(beard, depth=0.4), colour, 0.6 * face.person.stubble, blur=face.px(0.09), within=head)


def _freckle(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    # A person's freckles are where they are in every frame.
    rng = np.random.default_rng(face.person.freckles)
    places = rng.normal((0, 0.45), (0.55, 0.16), (face.person.freckles, 2))
    radii = rng.uniform(0.012, 0.022, face.person.freckles)
    spots = [disc(centre, face.px(radius)) for centre, radius in zip(face.at(places), radii, strict=True)]
    if spots:
        canvas.fill(spots, face.shade * (1.05, 0.9, 0.8), 0.6, blur=0.7, within=head)


def paint_folds(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    """The folds that muscles and years make: of the forehead, between the brows, around nose, eyes and mouth."""
    points, folds, age = face.landmarks, face.folds, face.person.age

    def fold(line: ArrayLike, width: float, depth: float, blur: float = 1.2) -> None:
        path = face.line(line)
        canvas.stroke(path, face.px(width), face.crease, min(depth, 0.95), blur=blur, within=head)
        # Beside a fold the skin bulges and catches the light.
        canvas.stroke(
            path - by(0, face.px(width)), face.px(width), face.glow, min(depth, 0.95) * 0.30, blur=2, within=head
        )

    raised = sum(folds["forehead"]) / 2
    for number in range(3):
        y = -0.60 - 0.145 * number - 0.05 * raised
        reach = 0.62 - 0.08 * number
        depth = 0.10 * age + 0.42 * raised * (1 - 0.15 * number)
        wave = [(-reach, y + 0.04), (-reach / 2, y - 0.02), (0, y + 0.015), (reach / 2, y - 0.02), (reach, y + 0.04)]
        fold(wave, 0.035, depth, 1.5)
    frown = sum(folds["frown"]) / 2
    for way, brow in ((-1, points[21]), (1, points[22])):
        x = brow[0] - way * 0.06
        fold(
            [(x, brow[1] - 0.20), (x - way * 0.02, brow[1] - 0.05), (x - way * 0.005, brow[1] + 0.08)],
            0.045,
            0.55 * frown,
        )
    for side, way in ((0, -1), (1, 1)):
        _fold_side(face, fold, side, way)
    wrinkled = sum(folds["nose"]) / 2
    for number in range(3):
        y = points[28, 1] - 0.16 + 0.10 * number
        for way in (-1, 1):
            line = [(0.0, y), (way * 0.08, y - 0.01), (way * 0.15, y + 0.05), (way * 0.20, y + 0.12)]
            fold(line, 0.03, 0.5 * wrinkled, 1.0)
    chin = min(1.2, sum(folds["chin"]) / 2)
    middle = points[57, 1] + 0.13
    fold(
        [(-0.20, middle + 0.06), (-0.08, middle), (0.08, middle), (0.20, middle + 0.06)], 0.05, 0.18 + 0.45 * chin, 2.2
    )
    ball = face.at([(0, points[8, 1] - 0.17)])[0]
    canvas.blob(ball, (face.px(0.15), face.px(0.09)), face.glow, 0.25 * chin, within=head)


def _fold_side(face: Face, fold: Callable[..., None], side: int, way: int) -> None:
    """The folds that each half of the face has for itself."""
    points, folds, age = face.landmarks, face.folds, face.person.age
    corner, wing = points[48 if side == 0 else 54], points[31 if side == 0 else 35]
    outer = points[36 if side == 0 else 45]
    under = points[[41, 40] if side == 0 else [46, 47]].mean(0)

    start, end = wing + by(way * 0.07, -0.10), corner + by(way * 0.13, 0.02)
    bow = (start + end) / 2 + by(way * 0.07, -0.05)
    fold(
        [start, (start + bow) / 2 + by(way * 0.03, -0.02), bow, end],
        0.045,
        0.06 + 0.18 * age + 0.50 * folds["nasolabial"][side],
        2,
    )

    droop = folds["marionette"][side]
    fold(
        [corner + by(way * 0.03, 0.0), corner + by(way * 0.06, 0.09), corner + by(way * 0.04, 0.19)],
        0.04,
        0.08 * age + 0.5 * droop,
        1.6,
    )
    dent = folds["dimple"][side]
    fold(
        [corner + by(way * 0.10, -0.09), corner + by(way * 0.135, 0.0), corner + by(way * 0.10, 0.10)],
        0.055,
        0.75 * dent,
        1.3,
    )
    nick = 0.25 + 0.35 * folds["corner"][side]
    fold(
        [corner + by(-way * 0.02, -0.015), corner + by(way * 0.02, 0.0), corner + by(way * 0.03, 0.02)], 0.05, nick, 1.4
    )

    for tilt in (-0.10, 0.02, 0.13):
        tip = outer + by(way * 0.24, tilt * 1.3)
        fold(
            [outer + by(way * 0.07, tilt * 0.4), (outer + tip) / 2 + by(way * 0.04, tilt * 0.2), tip],
            0.022,
            0.12 * age + 0.5 * folds["crowsfeet"][side],
            0.9,
        )
    pouch = folds["pouch"][side]
    inner = under + by(-way * 0.17, 0.05)
    fold([inner, under + by(0, 0.10), under + by(way * 0.17, 0.06)], 0.035, 0.12 + 0.15 * age + 0.35 * pouch, 1.6)


def face_of(person: Identity, performance: Performance, rest: dict[int, Sides], amount: float) -> Face:
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
