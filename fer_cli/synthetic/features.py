"""The parts of a face that move most: nose, eyes, brows and mouth."""

import numpy as np

from fer_cli.synthetic.canvas import Canvas, disc, ribbon
from fer_cli.synthetic.face import LIP_LINE, Face, by, curve, mouth_shift, neutral_landmarks


def paint_nose(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    """A nose is its shades: along the bridge away from the light, round the wings, beneath the tip."""
    points, light = face.landmarks, face.person.light
    tip, base, narrow = points[30], points[33], face.person.nose_width
    for way, wing, inner in ((-1, points[31], points[21]), (1, points[35], points[22])):
        away = 0.5 - 0.5 * way * np.sign(light[0]) * min(1, 2 * abs(light[0]))
        bridge = [
            (way * 0.20, min(inner[1] + 0.12, 0.0)),
            (way * 0.115, 0.10),
            (way * 0.125 * narrow, tip[1] - 0.22),
            (wing[0] * 0.82, tip[1] - 0.02),
        ]
        canvas.stroke(face.line(bridge), face.px(0.10), face.shade, 0.20 + 0.42 * away, blur=4, within=head)
        outer = wing + by(way * 0.035, -0.01)
        fold = [
            outer + by(-way * 0.055, -0.165),
            outer + by(way * 0.015, -0.10),
            outer + by(way * 0.012, -0.02),
            outer + by(-way * 0.05, 0.035),
        ]
        canvas.stroke(face.line(fold), face.px(0.045), face.crease, 0.55, blur=1.3, within=head)
        canvas.blob(
            face.at([wing + by(-way * 0.02, -0.09)])[0], (face.px(0.05), face.px(0.045)), face.glow, 0.22, within=head
        )
        nostril = (wing + points[32 if way < 0 else 34]) / 2 + by(way * 0.0, -0.005)
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        hole = nostril + np.column_stack(
            (0.068 * narrow * np.cos(angle), 0.028 * np.sin(angle) - way * 0.012 * np.cos(angle))
        )
        canvas.fill(face.at(hole), face.crease * 0.45, 0.85, blur=0.8, within=head)
    canvas.stroke(
        face.line([(0.02, -0.05), (0.01, 0.2), (0, tip[1] - 0.1)]), face.px(0.07), face.glow, 0.42, blur=3, within=head
    )
    canvas.blob(
        face.at([tip + by(0.03 * light[0], -0.02)])[0], (face.px(0.075), face.px(0.06)), face.glow, 0.6, within=head
    )
    below = [points[31] + by(0.0, 0.05), base + by(0, 0.06), points[35] + by(0.0, 0.05)]
    canvas.stroke(face.line(below), face.px(0.07), face.shade, 0.55, blur=2.5, within=head)
    groove = face.line([base + by(0, 0.07), (base + points[51]) / 2 + by(0, 0.03), points[51] + by(0, -0.02)])
    canvas.stroke(groove, face.px(0.06), face.shade, 0.32, blur=2, within=head)


def paint_eyes(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    """Both eyes: socket, white, iris and its highlight, lids, lashes."""
    for side, outer in ((0, 36), (1, 42)):
        lids = face.landmarks[outer : outer + 6]
        _paint_eye(canvas, face, head, lids, way=-1 if side == 0 else 1, opened=face.folds["lid"][side])


def _paint_eye(canvas: Canvas, face: Face, head: np.ndarray, lids: np.ndarray, *, way: int, opened: float) -> None:
    person = face.person
    upper, lower = lids[:4], lids[[3, 4, 5, 0]]
    centre = np.array((lids[[0, 3], 0].mean(), lids[[0, 3], 1].mean() - 0.02))
    canvas.blob(
        face.at([centre + by(-way * 0.16, -0.10)])[0], (face.px(0.13), face.px(0.12)), face.shade, 0.42, within=head
    )
    canvas.blob(face.at([centre + by(0, -0.02)])[0], (face.px(0.26), face.px(0.13)), face.shade, 0.34, within=head)
    lid_top = upper + np.array([(way * 0.01, -0.02), (0, -0.055), (0, -0.06), (0, -0.05)]) * (1 + 0.35 * min(0, opened))
    canvas.fill(
        face.line(np.concatenate((lid_top, upper[::-1]))), face.skin * (0.98, 0.9, 0.87), 0.55, blur=1, within=head
    )

    opening = face.at(np.concatenate((curve(upper), curve(lower)[1:-1])))
    white = canvas.mask(opening)
    canvas.fill(opening, (236, 232, 228) * np.array(0.93 + 0.04 * person.light[0] * way))
    canvas.blob(
        face.at([lids[3] if way < 0 else lids[0]])[0],
        (face.px(0.05), face.px(0.05)),
        (206, 140, 130),
        0.7,
        within=white,
    )
    iris = np.array(person.iris)
    middle, radius = face.at([centre + by(0, 0.012)], depth=0.86)[0], person.iris_size
    ring = disc(middle, face.px(radius))
    canvas.fill(ring, iris * 0.42, within=white)
    canvas.fill(disc(middle, face.px(radius * 0.86)), iris, blur=0.8, within=white)
    canvas.blob(
        middle + by(0, face.px(0.04)), (face.px(0.06), face.px(0.035)), iris + (255 - iris) * 0.35, 0.6, within=white
    )
    canvas.fill(disc(middle, face.px(radius * 0.45)), (14, 12, 12), blur=0.4, within=white)
    # The upper lid throws its shadow on the eye.
    canvas.stroke(face.line(upper + by(0, 0.015)), face.px(0.06), (70, 56, 52), 0.55, blur=1.5, within=white)
    glint = middle + by(face.px(0.045) * np.sign(person.light[0]), -face.px(0.042))
    canvas.fill(disc(glint, face.px(0.026)), (255, 255, 255), 0.95, blur=0.5, within=white)

    rim = np.concatenate((lower[1:], lower[-1:]))[:3]
    canvas.stroke(
        face.line(lower + by(0, 0.012)), face.px(0.028), face.glow * (1.0, 0.88, 0.86), 0.55, blur=0.8, within=head
    )
    canvas.stroke(face.line([lower[0], *rim]), face.px(0.016), face.crease * 0.7, 0.7, blur=0.5)
    lash = np.array(person.hair) * 0.35
    sweep = np.array([(way * 0.045, -0.012)]) + (upper[0] if way < 0 else upper[3])
    edge = np.concatenate((sweep, upper) if way < 0 else (upper, sweep))
    path = face.line(edge)
    weight = np.linspace(1.3, 0.6, len(path)) if way < 0 else np.linspace(0.6, 1.3, len(path))
    canvas.stroke(path, face.px(0.042) * person.lashes * weight, lash, 0.95, blur=0.5)
    crease = lid_top + by(0, -0.012)
    canvas.stroke(face.line(crease), face.px(0.024), face.crease, 0.7, blur=0.9, within=head)


def paint_brows(canvas: Canvas, face: Face) -> None:
    """Brows, thickest at their inner third, with a few hairs drawn out."""
    colour = np.array(face.person.hair) * 0.62 + face.shade * 0.10
    for indices in (range(17, 22), range(26, 21, -1)):
        path = curve(face.landmarks[list(indices)], 6)
        along = np.linspace(0, 1, len(path))
        thick = face.person.brow_weight * (0.035 + 0.085 * np.clip(along * 1.5, 0, 1)) * np.where(along > 0.9, 0.85, 1)
        pixels = face.at(path)
        canvas.fill(ribbon(pixels, face.px(1) * thick, taper=False), colour, 0.82, blur=1.2)
        hairs = []
        for at in range(2, len(path) - 2, 2):
            foot = path[at] + by(0, thick[at] * 0.45)
            tip = path[at] - by(0.05 * np.sign(path[-1, 0] - path[0, 0]), thick[at] * 0.55)
            hairs.append(ribbon(face.at([foot, (foot + tip) / 2, tip]), face.px(0.018)))
        canvas.fill(hairs, colour * 0.75, 0.28, blur=0.5)


def paint_mouth(canvas: Canvas, face: Face, head: np.ndarray) -> None:
    """Lips, and between them teeth, tongue and dark."""
    points, person = face.landmarks, face.person
    top, bottom = curve(points[48:55], 6), curve(points[[54, 55, 56, 57, 58, 59, 48]], 6)
    inner_top, inner_bottom = curve(points[60:65], 6), curve(points[[64, 65, 66, 67, 60]], 6)
    lips = np.array(person.lips)
    lips = lips + (np.array((168, 44, 62)) - lips) * person.lipstick
    tight = sum(face.folds["tight"]) / 2

    shadow = [points[59] + by(0.06, 0.05), points[57] + by(0, 0.075), points[55] + by(-0.06, 0.05)]
    canvas.stroke(face.line(shadow), face.px(0.08), face.shade, 0.55, blur=3, within=head)
    _paint_inside(canvas, face, np.concatenate((inner_top, inner_bottom[1:-1])))

    upper = face.at(np.concatenate((top, inner_top[::-1])))
    lower = face.at(np.concatenate((inner_bottom[::-1], bottom)))
    canvas.fill(upper, lips * (0.86, 0.80, 0.82), blur=0.6)
    canvas.fill(lower, lips, blur=0.6)
    low, high = canvas.mask(lower), canvas.mask(upper)
    middle = (points[57] + points[66]) / 2
    shine = face.at([middle + by(0.05 * np.sign(person.light[0]), -0.01)])[0]
    canvas.blob(shine, (face.px(0.15), face.px(0.035)), lips + (255 - lips) * 0.5, 0.45 * (1 - 0.5 * tight), within=low)
    canvas.stroke(
        face.line(points[[55, 56, 57, 58, 59]] + by(0, -0.01)), face.px(0.05), lips * 0.7, 0.4, blur=2, within=low
    )
    canvas.stroke(
        face.line(points[49:54] + by(0, 0.01)), face.px(0.03), lips + (255 - lips) * 0.25, 0.35, blur=1.5, within=high
    )
    ridge = points[49:54] + by(0, -0.015)
    canvas.stroke(face.line(ridge), face.px(0.022), face.glow, 0.35, blur=1, within=head)

    dark = lips * (0.34, 0.24, 0.25)
    canvas.stroke(face.at(inner_top), face.px(0.026 + 0.012 * tight), dark, 0.85, blur=0.6)
    canvas.stroke(face.at(inner_bottom), face.px(0.016), dark, 0.5, blur=0.6)


def _paint_inside(canvas: Canvas, face: Face, opening: np.ndarray) -> None:
    points = face.landmarks
    inside = canvas.mask(face.at(opening))
    canvas.fill(face.at(opening), (58, 22, 24))
    line = LIP_LINE + mouth_shift(face.person)
    # The lower teeth go with the jaw, the upper ones stay.
    drop = points[8, 1] - neutral_landmarks(face.person)[8, 1]
    left, right = points[60, 0] * 0.94, points[64, 0] * 0.94
    tongue = face.at([(0, line + drop + 0.10)])[0]
    canvas.blob(tongue, (face.px(0.20), face.px(0.10)), (176, 84, 86), 0.95, within=inside)
    low = line + drop + 0.015
    canvas.fill(
        face.line(
            [
                (left * 0.8, low + 0.15), (left * 0.75, low + 0.01), (0, low), (right * 0.75, low + 0.01),
                (right * 0.8, low + 0.15),
            ]
        ),
        (214, 206, 192),
        blur=0.7,
        within=inside,
    )  # fmt: skip
    edge = line + 0.035
    upper = [
        (left, line - 0.25), (left * 0.98, edge - 0.04), (left * 0.6, edge), (0, edge + 0.012), (right * 0.6, edge),
        (right * 0.98, edge - 0.04), (right, line - 0.25),
    ]  # fmt: skip
    canvas.fill(face.line(upper), (240, 236, 228), blur=0.7, within=inside)
    for number in range(-3, 4):
        x = 0.075 * number
        gap = face.at([(x, line - 0.12), (x, line - 0.04), (x, edge)])
        canvas.stroke(gap, face.px(0.010), (170, 156, 146), 0.4, blur=0.5, within=inside)
    canvas.stroke(face.line(points[60:65] + by(0, 0.012)), face.px(0.05), (50, 20, 22), 0.55, blur=2, within=inside)
    for corner in (points[60], points[64]):
        canvas.blob(face.at([corner])[0], (face.px(0.07), face.px(0.06)), (40, 14, 16), 0.7, within=inside)
