"""A drawn person: measures, colours and hair, and how they show an expression, all decided by a random generator."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fer_cli.synthetic.action_units import Sides

Colour = tuple[float, float, float]

#: Skin from light to dark, and what the blood and the shade make of it. RGB, 0 to 255.
SKINS = np.array(
    [(246, 218, 198), (236, 198, 170), (222, 178, 144), (198, 148, 112), (166, 116, 84), (128, 86, 62), (98, 65, 48)],
    dtype=float,
)
HAIRS = np.array(
    [
        *((28, 24, 24), (48, 34, 28), (78, 52, 36), (116, 76, 46), (164, 116, 66), (206, 168, 108)),
        *((134, 62, 36), (150, 148, 148), (62, 58, 60)),
    ],
    dtype=float,
)
IRISES = np.array(
    [(72, 46, 28), (96, 66, 38), (112, 104, 58), (84, 116, 96), (88, 122, 152), (108, 116, 124)], dtype=float
)
BACKGROUNDS = np.array(
    [
        (188, 198, 204), (206, 200, 188), (176, 190, 178), (200, 186, 190), (168, 176, 192), (212, 208, 204),
        (150, 162, 168),
    ],
    dtype=float,
)  # fmt: skip
CLOTHES = np.array(
    [
        (62, 78, 104), (120, 56, 60), (72, 92, 78), (58, 58, 64), (176, 168, 156), (98, 78, 112), (44, 88, 96),
        (188, 142, 84),
    ],
    dtype=float,
)  # fmt: skip

HAIR_FRONTS = ("crop", "part", "fringe", "swept", "receding", "shaven")
HAIR_BACKS = ("none", "bob", "long", "bun", "curls")


@dataclass(frozen=True)
class Identity:
    """One person. Lengths are in distances between the eyes' centres; a factor of 1 is the average face's."""

    #: Distance between the eyes' centres, in pixels of the picture.
    size: float
    face_width: float
    jaw_width: float
    chin_drop: float
    chin_point: float
    crown: float
    eye_width: float
    eye_height: float
    eye_slant: float
    eye_spacing: float
    iris_size: float
    brow_height: float
    brow_slant: float
    brow_arch: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    upper_lip: float
    lower_lip: float
    cupid: float
    ears: float
    #: Lines that years have left, 0 to 1.
    age: float
    #: How warm the cheeks are, 0 to 1.
    blush: float
    freckles: int
    stubble: float
    lashes: float
    lipstick: float
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    background: Colour
    hair_front: str
    hair_back: str
    hair_volume: float
    parting: float
    collar: float
    #: Where the light comes from: to the picture's right, down, towards the camera.
    light: tuple[float, float, float]
    contrast: float


def draw_identity(rng: np.random.Generator) -> Identity:
    """A person drawn from ``rng``; one generator gives one person, whoever else there is."""

    def about(centre: float, spread: float, least: float = -np.inf, most: float = np.inf) -> float:
        return float(np.clip(rng.normal(centre, spread), least, most))

    tone = rng.uniform(0, len(SKINS) - 1)
    skin = _between(SKINS, tone) + rng.normal(0, 3, 3)
    feminine = rng.random() < 0.5
    age = float(rng.beta(1.3, 2.2))
    front = str(
        rng.choice(HAIR_FRONTS, p=(0.1, 0.35, 0.25, 0.3, 0, 0) if feminine else (0.4, 0.2, 0.05, 0.1, 0.15, 0.1))
    )
    back = str(rng.choice(HAIR_BACKS, p=(0.1, 0.27, 0.33, 0.15, 0.15) if feminine else (0.9, 0.02, 0.03, 0.0, 0.05)))
    if tone > 3.5 and front not in ("shaven", "receding") and rng.random() < 0.22:
        back = "curls"
    hair = HAIRS[rng.choice(len(HAIRS), p=_hair_odds(tone, age))] * rng.uniform(0.88, 1.12)
    side = rng.choice((-1.0, 1.0))
    redness = np.array((196, 96, 96)) if feminine else np.array((178, 102, 92))
    lips = skin * 0.62 + redness * (0.34 if tone < 4 else 0.24)
    return Identity(
        size=about(86, 3, 80, 92),
        face_width=about(1.0, 0.045, 0.9, 1.1) * (0.97 if feminine else 1.01),
        jaw_width=about(0.97 if feminine else 1.05, 0.06, 0.85, 1.18),
        chin_drop=about(0.97 if feminine else 1.03, 0.05, 0.88, 1.14),
        chin_point=about(0.0, 0.5, -1.0, 1.0),
        crown=about(1.0, 0.04, 0.92, 1.08),
        eye_width=about(1.0, 0.07, 0.85, 1.16),
        eye_height=about(1.06 if feminine else 0.97, 0.09, 0.8, 1.25),
        eye_slant=about(0.0, 0.022, -0.045, 0.05),
        eye_spacing=about(1.0, 0.03, 0.93, 1.07),
        iris_size=about(0.108, 0.005, 0.098, 0.118),
        brow_height=about(0.02 if feminine else 0.0, 0.03, -0.05, 0.07),
        brow_slant=about(0.0, 0.022, -0.045, 0.045),
        brow_arch=about(0.02 if feminine else 0.0, 0.02, -0.03, 0.06),
        brow_weight=about(0.8 if feminine else 1.25, 0.2, 0.55, 1.7),
        nose_length=about(1.0, 0.05, 0.88, 1.12),
        nose_width=about(0.95 if feminine else 1.05, 0.1, 0.78, 1.3),
        mouth_width=about(1.0, 0.07, 0.85, 1.17),
        mouth_height=about(0.0, 0.025, -0.05, 0.06),
        upper_lip=about(1.1 if feminine else 0.9, 0.18, 0.6, 1.5),
        lower_lip=about(1.1 if feminine else 0.95, 0.16, 0.7, 1.5),
        cupid=about(1.0, 0.4, 0.2, 1.8),
        ears=about(1.0, 0.12, 0.75, 1.25),
        age=age,
        blush=float(rng.uniform(0.1, 0.9)),
        freckles=int(rng.integers(20, 60)) if tone < 2.2 and rng.random() < 0.3 else 0,
        stubble=0.0 if feminine or rng.random() < 0.5 else float(rng.uniform(0.15, 0.55)),
        lashes=about(1.25 if feminine else 0.8, 0.15, 0.5, 1.6),
        lipstick=float(rng.uniform(0.2, 0.8)) if feminine and rng.random() < 0.45 else 0.0,
        skin=_colour(skin),
        hair=_colour(hair),
        iris=_colour(IRISES[rng.choice(len(IRISES), p=_iris_odds(tone))] * rng.uniform(0.85, 1.1)),
        lips=_colour(lips),
        clothes=_colour(CLOTHES[rng.integers(len(CLOTHES))] * rng.uniform(0.85, 1.15)),
        background=_colour(BACKGROUNDS[rng.integers(len(BACKGROUNDS))] * rng.uniform(0.9, 1.05)),
        hair_front=front,
        hair_back=back,
        hair_volume=about(1.0, 0.2, 0.6, 1.5),
        parting=float(side * rng.uniform(0.15, 0.55)),
        collar=float(rng.uniform(0, 1)),
        light=(float(side * rng.uniform(0.15, 0.6)), float(rng.uniform(-0.55, -0.25)), 1.0),
        contrast=float(rng.uniform(0.8, 1.15)),
    )


def _between(colours: np.ndarray, place: float) -> np.ndarray:
    return np.array([np.interp(place, np.arange(len(colours)), channel) for channel in colours.T])


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 0, 255)
    return float(red), float(green), float(blue)


def _hair_odds(tone: float, age: float) -> np.ndarray:
    light = max(0.0, 1 - tone / 3)
    odds = np.array((1, 1.2, 0.3 + light, light, light, light, 0.5 * light, 3 * max(0.0, age - 0.5), 0.4))
    return odds / odds.sum()


def _iris_odds(tone: float) -> np.ndarray:
    light = max(0.0, 1 - tone / 3)
    odds = np.array((1, 1, 0.1 + light, light, light, light))
    return odds / odds.sum()


#: The units of each expression and their strength at its apex. Which units: P. Ekman and W. V. Friesen, *EMFACS-7*
#: (1983), with 25, the parting of the lips, where the jaw drops or the lip is drawn down.
UNITS_OF = {
    "anger": {4: 1.0, 5: 0.45, 7: 0.9, 23: 1.0},
    "contempt": {12: 0.55, 14: 1.0},
    "disgust": {9: 1.0, 15: 0.55, 16: 0.6, 25: 0.2},
    "fear": {1: 1.0, 2: 0.5, 4: 0.45, 5: 1.1, 7: 0.25, 20: 1.0, 25: 0.7, 26: 0.3},
    "happiness": {6: 1.0, 12: 1.0},
    "sadness": {1: 1.0, 4: 0.4, 15: 1.0, 17: 0.5},
    "surprise": {1: 0.9, 2: 1.0, 5: 0.95, 25: 0.3, 26: 1.0},
}

#: Expressions that one side of the face shows alone.
ONE_SIDED = ("contempt",)

#: Units that no face holds in full at rest, and how much of them it may.
HELD_AT_REST = {25: 0.7, 26: 0.5}


@dataclass(frozen=True)
class Performance:
    """One sequence: an expression, the side and strength of its units at the apex, and the camera that saw it.

    ``turn`` and ``shift`` are the head's way from the first frame to the last: yaw, pitch and roll in radians, x and y
    in distances between the eyes.
    """

    label: str
    apex: Mapping[int, Sides]
    turn: tuple[float, float, float]
    shift: tuple[float, float]
    start_turn: tuple[float, float, float]
    start_shift: tuple[float, float]
    exposure: float
    exposure_drift: float
    noise: float


def draw_rest(rng: np.random.Generator, confound: float) -> dict[int, Sides]:
    """The units that a face shows at rest: none at confound 0.

    As faces do that look sad, cross or pleased while their owners are none of it, each takes after one expression; at
    confound 1 as strongly as after the expression itself.
    """
    label, strength, tilt, side = (
        rng.choice(sorted(UNITS_OF)),
        rng.uniform(0.6, 1.0),
        rng.normal(0, 0.05),
        int(rng.integers(2)),
    )
    if confound == 0:
        return {}
    units = {
        number: confound * strength * share * HELD_AT_REST.get(number, 1) for number, share in UNITS_OF[label].items()
    }
    return {number: _sides(amount, tilt, side if label in ONE_SIDED else None) for number, amount in units.items()}


def draw_order(rng: np.random.Generator) -> list[str]:
    """The order in which a subject shows the seven, so that a sequence's number says nothing of its label."""
    return [str(label) for label in rng.permutation(sorted(UNITS_OF))]


def draw_performance(label: str, rng: np.random.Generator) -> Performance:
    """One person's way of showing ``label`` once: some units stronger, one side a little ahead, the head moving."""
    strength, tilt, side = rng.uniform(0.78, 1.0), rng.normal(0, 0.05), int(rng.integers(2))
    apex: dict[int, Sides] = {}
    for number, share in UNITS_OF[label].items():
        amount = strength * share * rng.uniform(0.85, 1.15)
        apex[number] = _sides(amount, tilt, side if label in ONE_SIDED else None)
    # People part their lips in some smiles and not in others.
    if label == "happiness" and rng.random() < 0.8:
        apex[25] = _sides(rng.uniform(0.7, 1.3), 0.0)
    return Performance(
        label=label,
        apex=apex,
        turn=tuple(rng.normal(0, (0.025, 0.02, 0.015))),
        shift=tuple(rng.normal(0, 0.02, 2)),
        start_turn=tuple(rng.normal(0, (0.04, 0.03, 0.02))),
        start_shift=tuple(rng.normal(0, 0.06, 2)),
        exposure=float(rng.uniform(0.92, 1.06)),
        exposure_drift=float(rng.normal(0, 0.015)),
        noise=float(rng.uniform(0.2, 0.6)),
    )


def intensity(frame: int, frames: int) -> float:
    """Progress of frame ``frame`` of ``frames`` from neutral, 0, to the apex, 1; the last three are near it."""
    onset = frames - 3
    if frame >= onset:
        return 0.88 + 0.12 * (frame - onset) / 2
    part = frame / onset
    return 0.88 * part * part * (3 - 2 * part)


def activation_at(performance: Performance, rest: Mapping[int, Sides], amount: float) -> dict[int, Sides]:
    """The units of a frame: those at rest, and ``amount`` of the expression's upon them."""
    activation = dict(rest)
    for number, (left, right) in performance.apex.items():
        before = activation.get(number, (0.0, 0.0))
        activation[number] = (before[0] + amount * left, before[1] + amount * right)
    return activation


def _sides(amount: float, tilt: float, only: int | None = None) -> Sides:
    """``amount`` on both sides, a little more on one; or on side ``only``, and a trace of it on the other."""
    sides = [amount * (1 + tilt), amount * (1 - tilt)]
    if only is not None:
        sides[1 - only] *= 0.05
    return max(0.0, sides[0]), max(0.0, sides[1])
