"""The parts of a drawn face: nose, eyes, brows and mouth, which move most, and the hair."""

import numpy as np

from fer_cli.synthetic.face import LIP_LINE, Canvas, Face, by, curve, disc, mouth_shift, neutral_landmarks, ribbon


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
    canvas.fill(opening, np.array((236, 232, 228)) * (0.93 + 0.04 * person.light[0] * way))
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


#: How far the hair stands off the skull, in distances between the eyes.
_VOLUME = {"crop": 0.10, "part": 0.15, "fringe": 0.14, "swept": 0.17, "receding": 0.06, "shaven": 0.0}


def paint_hair_behind(canvas: Canvas, face: Face) -> None:
    """The hair that the head and neck stand before."""
    person = face.person
    colour = np.array(person.hair) * 0.72
    wide = 1.20 * person.face_width * (1 + 0.10 * person.hair_volume)
    if person.hair_back == "bun":
        centre = np.array((0.0, -face.crown_height - 0.22))
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        ball = centre + np.column_stack((0.42 * np.cos(angle), 0.36 * np.sin(angle)))
        canvas.fill(face.at(ball, 0.0), colour * 1.2)
        canvas.blob(face.at([centre + by(0.1, -0.1)], 0.0)[0], (face.px(0.15), face.px(0.10)), colour * 1.7, 0.5)
    if person.hair_back == "curls":
        _curls(canvas, face, colour)
    if person.hair_back in ("bob", "long"):
        bottom = 1.75 if person.hair_back == "bob" else 3.3
        flare = 0.08 if person.hair_back == "bob" else 0.22
        right = [
            (0.7, -1.5), (wide, -0.7), (wide + 0.10, 0.3), (wide + flare, 1.2), (wide + flare * 0.8, bottom - 0.2),
            (wide * 0.6, bottom),
        ]  # fmt: skip
        left = [(-x, y) for x, y in right[::-1]]
        mass = face.line([*left, *right], depth=-0.1)
        canvas.fill(mass, colour)
        within = canvas.mask(mass)
        for side in (-1, 1):
            for number in range(9):
                x = side * (0.72 + 0.08 * number)
                strand = face.line([(x, -0.9), (x * 1.12, 0.4), (x * 1.08, bottom)], depth=-0.1)
                tone = 1.35 if number % 3 == 0 else 0.72
                canvas.stroke(strand, face.px(0.05), np.clip(colour * tone, 0, 255), 0.35, blur=1, within=within)


def _curls(canvas: Canvas, face: Face, colour: np.ndarray) -> None:
    rng = np.random.default_rng(int(1000 * face.person.hair_volume))
    swell = 0.12 + 0.22 * face.person.hair_volume
    angles = np.linspace(-0.15 * np.pi, 1.15 * np.pi, 30) + rng.normal(0, 0.03, 30)
    half = 1.17 * face.person.face_width
    centres = np.column_stack(
        ((half + swell * 0.4) * np.cos(angles), -0.15 - (face.crown_height + swell * 0.3) * np.sin(angles))
    )
    for centre, radius in zip(face.at(centres, 0.0), rng.uniform(0.75, 1.2, 30) * swell, strict=True):
        canvas.fill(disc(centre, face.px(radius)), colour)
        canvas.blob(centre - face.px(0.06), (face.px(radius * 0.4), face.px(radius * 0.4)), colour * 1.6, 0.35)


def paint_hair_before(canvas: Canvas, face: Face) -> None:
    """The hair over the forehead and the crown, from the hairline out."""
    person = face.person
    colour = np.array(person.hair)
    inner, outer = _hairline(face), _outside(face)
    if person.hair_front == "shaven":
        scalp = face.at(np.concatenate((outer, inner[::-1])), 0.3)
        canvas.fill(scalp, colour * 0.6 + face.shade * 0.4, 0.35, blur=4)
        return
    shape = face.at(np.concatenate((outer, inner[::-1])), 0.3)
    throw = face.at(inner, 0.3) + by(0, face.px(0.05))
    canvas.stroke(throw[4:-4], face.px(0.10), face.crease, 0.35, blur=3, within=canvas.mask(face.at(face.outline)))
    canvas.fill(shape, colour, blur=0.7)
    hair = canvas.mask(shape)
    _strands(canvas, face, inner, outer, hair)
    light = person.light
    spot = face.at([(0.55 * np.sign(light[0]), -face.crown_height + 0.12)], 0.4)[0]
    canvas.blob(
        spot,
        (face.px(0.5), face.px(0.16)),
        np.clip(colour * 1.5 + 26, 0, 255),
        0.5,
        angle=0.5 * np.sign(light[0]),
        within=hair,
    )
    dim = face.at([(-0.95 * np.sign(light[0]), -0.8)], 0.3)[0]
    canvas.blob(dim, (face.px(0.4), face.px(0.6)), colour * 0.5, 0.5, within=hair)
    if person.hair_back in ("bob", "long"):
        _locks(canvas, face, colour)


def _outside(face: Face) -> np.ndarray:
    """The hair's outer edge (n, 2), from the picture's left over the crown to its right."""
    person = face.person
    volume = _VOLUME[person.hair_front] * person.hair_volume + (0.08 if person.hair_back == "curls" else 0)
    half = abs(face.landmarks[0, 0]) + 0.5 * volume
    angle = np.linspace(np.pi, 0, 40)
    cos, sin = np.cos(angle), np.sin(angle)
    lift = 1 + (0.05 if person.hair_front in ("part", "swept") else 0) * np.exp(-((cos - person.parting) ** 2) / 0.2)
    crown = np.column_stack(
        (half * np.sign(cos) * np.abs(cos) ** 0.85, 0.0 - (face.crown_height + volume) * lift * sin**0.85)
    )
    low = 0.12 if person.hair_front != "receding" else 0.0
    crown[:4, 1] += low
    crown[-4:, 1] += low
    return crown


def _hairline(face: Face) -> np.ndarray:
    """Line at which the hair ends on the forehead (40, 2), from the picture's left to its right."""
    person = face.person
    half = abs(face.landmarks[0, 0])
    side = np.sign(person.parting)
    if person.hair_front == "fringe":
        half_line = [(0.98, 0.12), (0.93, -0.38), (0.80, -0.66), (0.42, -0.72), (0.0, -0.74)]
        points = half_line + [(-x, y) for x, y in half_line[-2::-1]]
    elif person.hair_front == "part":
        parting = abs(person.parting)
        points = [
            (0.99, 0.10), (0.93, -0.45), (0.80, -0.78), (parting + 0.1, -1.06), (parting, -1.14),
            (parting - 0.2, -1.02), (-0.35, -0.80), (-0.78, -0.62), (-0.94, -0.35), (-0.99, 0.12),
        ]  # fmt: skip
    elif person.hair_front == "swept":
        points = [
            (0.99, 0.08), (0.93, -0.50), (0.82, -0.84), (0.5, -1.06), (0.0, -1.12), (-0.5, -1.04), (-0.82, -0.82),
            (-0.93, -0.48), (-0.99, 0.08),
        ]  # fmt: skip
    elif person.hair_front == "receding":
        points = [
            (0.99, 0.05), (0.95, -0.45), (0.86, -0.95), (0.62, -1.28), (0.2, -1.16), (-0.2, -1.16), (-0.62, -1.28),
            (-0.86, -0.95), (-0.95, -0.45), (-0.99, 0.05),
        ]  # fmt: skip
    else:
        points = [
            (0.99, 0.14), (0.95, -0.40), (0.86, -0.74), (0.72, -0.94), (0.3, -0.98), (0.0, -1.0), (-0.3, -0.98),
            (-0.72, -0.94), (-0.86, -0.74), (-0.95, -0.40), (-0.99, 0.14),
        ]  # fmt: skip
    line = curve(np.array(points) * (half * side, person.crown), 8)
    line = line if line[0, 0] < 0 else line[::-1]
    pick = np.linspace(0, len(line) - 1, 40)
    return np.column_stack([np.interp(pick, np.arange(len(line)), line[:, axis]) for axis in (0, 1)])


def _strands(canvas: Canvas, face: Face, inner: np.ndarray, outer: np.ndarray, hair: np.ndarray) -> None:
    rng = np.random.default_rng(int(1000 * face.person.hair_volume))
    colour = np.array(face.person.hair)
    part = np.clip(np.round(20 + 20 * face.person.parting).astype(int), 6, 33)
    combed = face.person.hair_front in ("part", "swept")
    strands: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for at in range(1, 39):
        start = 0.6 * outer[at] + 0.4 * outer[part] if combed else outer[at]
        end = inner[at]
        bend = (start + end) / 2 + by(0.06 * np.sign(end[0]), -0.02)
        strand = face.line([start, bend, end], 4, depth=0.3)
        strands[at % 3 == 0].append(ribbon(strand, face.px(rng.uniform(0.015, 0.06))))
    canvas.fill(strands[True], np.clip(colour * 1.5 + 8, 0, 255), 0.35, blur=0.7, within=hair)
    canvas.fill(strands[False], colour * 0.6, 0.4, blur=0.7, within=hair)


def _locks(canvas: Canvas, face: Face, colour: np.ndarray) -> None:
    """Long hair comes forward along the cheeks."""
    half = abs(face.landmarks[0, 0])
    bottom = 1.65 if face.person.hair_back == "bob" else 2.9
    for way in (-1, 1):
        edge = [
            (0.86, -0.75), (1.0, -0.2), (0.99, 0.5), (0.96, 1.0), (0.93, bottom), (1.16, bottom - 0.08), (1.24, 1.0),
            (1.20, 0.2), (1.10, -0.6),
        ]  # fmt: skip
        lock = face.line(np.array(edge) * (way * half, 1), depth=0.1)
        canvas.fill(lock, colour * 0.92, blur=0.8)
        within = canvas.mask(lock)
        for number, x in enumerate((1.02, 1.06, 1.10, 1.15, 1.19)):
            strand = face.line(
                np.array([(x - 0.05, -0.6), (x, 0.3), (x, 1.0), (x, bottom)]) * (way * half, 1), depth=0.1
            )
            tone = 1.35 if number % 2 else 0.7
            canvas.stroke(strand, face.px(0.035), np.clip(colour * tone, 0, 255), 0.4, blur=0.8, within=within)
