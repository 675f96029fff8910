"""What a drawn person does with the action units: at rest, and in each expression."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fer_cli.corpora.synthetic.action_units import Sides

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


def resting(rng: np.random.Generator, confound: float) -> dict[int, Sides]:
    """The units that a face shows at rest: none at confound 0.

    As faces do that look sad, cross or pleased while their owners are none of it, each takes after one expression; at
    confound 1 as strongly as after the expression itself.
    """
    label, strength, tilt, side = (
        rng.choice(sorted(UNITS_OF)),
        rng.uniform(0.6, 1.0),
        rng.normal(0, 0.05),
        rng.integers(2),
    )
    if confound == 0:
        return {}
    units = {
        number: confound * strength * share * HELD_AT_REST.get(number, 1) for number, share in UNITS_OF[label].items()
    }
    return {number: _sides(amount, tilt, side if label in ONE_SIDED else None) for number, amount in units.items()}


def order_of_expressions(rng: np.random.Generator) -> list[str]:
    """The order in which a subject shows the seven, so that a sequence's number says nothing of its label."""
    return [str(label) for label in rng.permutation(sorted(UNITS_OF))]


def perform(label: str, rng: np.random.Generator) -> Performance:
    """One person's way of showing ``label`` once: some units stronger, one side a little ahead, the head moving."""
    strength, tilt, side = rng.uniform(0.78, 1.0), rng.normal(0, 0.05), rng.integers(2)
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
    """How far frame ``frame`` of ``frames`` has come from neutral, 0, to the apex, 1; the last three are near it."""
    onset = frames - 3
    if frame >= onset:
        return 0.88 + 0.12 * (frame - onset) / 2
    part = frame / onset
    return 0.88 * part * part * (3 - 2 * part)


def shown(performance: Performance, rest: Mapping[int, Sides], amount: float) -> dict[int, Sides]:
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
