"""Hair: what hangs behind the head, and what grows over it down to the hairline."""

import numpy as np

from fer_cli.synthetic.canvas import Canvas, disc, ribbon
from fer_cli.synthetic.face import Face, by, curve

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
