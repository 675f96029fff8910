"""FACS action units as movements of the 68 landmarks and of the skin's folds.

Numbers, names and what moves follow P. Ekman and W. V. Friesen, *Facial Action Coding System* (1978); how far is drawn
a little larger than life. Lengths are in distances between the eyes' centres, x to the picture's right, y down."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

#: The landmark across the midline from each of the 68, in the iBUG order.
MIRROR = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)),
    ]
)

#: How strongly each side of a face does something: the picture's left, the picture's right.
Sides = tuple[float, float]


@dataclass(frozen=True)
class ActionUnit:
    """One unit at full strength.

    ``moves`` gives the way of landmarks on the picture's left and on the midline; the other side is the mirror image.
    ``folds`` gives what appears in the skin, by name, from 0 to 1.
    """

    number: int
    name: str
    moves: Mapping[int, tuple[float, float]]
    folds: Mapping[str, float] = field(default_factory=dict)

    def displacement(self) -> np.ndarray:
        """Array (68, 2): the way of each landmark when the picture's left side alone acts, midline in full."""
        way = np.zeros((68, 2))
        for index, move in self.moves.items():
            way[index] = move
        return way


# fmt: off
_UNITS = (
    ActionUnit(1, "inner brow raiser",
        {21: (0.02, -0.25), 20: (0.01, -0.20), 19: (0.0, -0.08), 38: (0.0, -0.012)},
        {"forehead": 0.5}),
    ActionUnit(2, "outer brow raiser",
        {17: (-0.01, -0.14), 18: (-0.01, -0.19), 19: (0.0, -0.16), 20: (0.0, -0.07), 37: (0.0, -0.01)},
        {"forehead": 0.45}),
    ActionUnit(4, "brow lowerer",
        {
            17: (0.02, 0.01), 18: (0.04, 0.06), 19: (0.06, 0.11), 20: (0.08, 0.15), 21: (0.09, 0.16), 27: (0.0, 0.02),
        },
        {"frown": 1.0}),
    ActionUnit(5, "upper lid raiser", {37: (0.0, -0.065), 38: (0.0, -0.065)}, {"lid": -1.0}),
    ActionUnit(6, "cheek raiser and lid compressor",
        {36: (0.01, 0.0), 37: (0.0, 0.012), 40: (0.0, -0.035), 41: (0.0, -0.042), 17: (0.01, 0.02), 18: (0.0, 0.015)},
        {"crowsfeet": 1.0, "cheek": 0.8, "pouch": 0.6}),
    ActionUnit(7, "lid tightener",
        {37: (0.0, 0.02), 38: (0.0, 0.022), 40: (0.0, -0.032), 41: (0.0, -0.032)},
        {"pouch": 0.7}),
    ActionUnit(9, "nose wrinkler",
        {
            19: (0.02, 0.07), 20: (0.05, 0.12), 21: (0.07, 0.14), 37: (0.0, 0.02), 38: (0.0, 0.028), 40: (0.0, -0.035),
            41: (0.0, -0.028), 28: (0.0, -0.02), 29: (0.0, -0.04), 30: (0.0, -0.06), 31: (-0.04, -0.09),
            32: (-0.02, -0.08), 33: (0.0, -0.06), 48: (0.01, -0.02), 49: (-0.01, -0.10), 50: (-0.01, -0.11),
            51: (0.0, -0.10), 61: (0.0, -0.08), 62: (0.0, -0.08),
        },
        {"nose": 1.0, "nasolabial": 0.9, "pouch": 0.7, "frown": 0.6, "cheek": 0.4}),
    ActionUnit(12, "lip corner puller",
        {
            48: (-0.15, -0.16), 60: (-0.15, -0.15), 49: (-0.09, -0.06), 59: (-0.12, -0.06), 50: (-0.03, 0.01),
            58: (-0.05, 0.01), 61: (-0.06, 0.0), 67: (-0.06, 0.02), 51: (0.0, 0.02), 62: (0.0, 0.015), 66: (0.0, 0.02),
            57: (0.0, 0.015), 31: (-0.03, -0.01), 4: (-0.03, -0.01), 5: (-0.02, 0.0),
        },
        {"nasolabial": 0.8, "cheek": 0.6, "corner": 0.8}),
    ActionUnit(14, "dimpler",
        {48: (-0.09, -0.045), 60: (-0.09, -0.045), 49: (-0.05, -0.02), 59: (-0.05, -0.035)},
        {"dimple": 1.0, "corner": 1.0, "nasolabial": 0.3}),
    ActionUnit(15, "lip corner depressor",
        {
            48: (-0.01, 0.15), 60: (0.0, 0.14), 49: (0.0, 0.05), 59: (0.0, 0.07), 58: (0.0, 0.0), 61: (0.0, 0.015),
            67: (0.0, 0.015), 62: (0.0, -0.01), 66: (0.0, -0.01),
        },
        {"marionette": 1.0, "corner": 0.8, "chin": 0.4}),
    ActionUnit(16, "lower lip depressor",
        {57: (0.0, 0.11), 58: (-0.02, 0.10), 59: (-0.02, 0.05), 66: (0.0, 0.11), 67: (-0.02, 0.10)},
        {"chin": 0.5}),
    ActionUnit(17, "chin raiser",
        {
            8: (0.0, -0.03), 57: (0.0, -0.05), 58: (0.0, -0.05), 59: (0.0, -0.02), 66: (0.0, -0.035), 67: (0.0, -0.03),
            50: (0.0, -0.03), 51: (0.0, -0.03), 61: (0.0, -0.035), 62: (0.0, -0.04),
        },
        {"chin": 1.0}),
    ActionUnit(20, "lip stretcher",
        {
            48: (-0.19, 0.05), 60: (-0.19, 0.05), 49: (-0.10, 0.02), 59: (-0.12, 0.03), 50: (-0.03, 0.01),
            58: (-0.05, -0.01), 61: (-0.08, -0.01), 67: (-0.09, 0.02), 4: (-0.02, 0.0), 5: (-0.03, 0.0),
        },
        {"marionette": 0.6, "corner": 0.5}),
    ActionUnit(23, "lip tightener",
        {
            48: (0.07, 0.0), 60: (0.07, 0.0), 49: (0.04, 0.035), 50: (0.01, 0.055), 51: (0.0, 0.05), 57: (0.0, -0.07),
            58: (0.01, -0.07), 59: (0.04, -0.05), 61: (0.02, 0.005), 67: (0.02, 0.0),
        },
        {"tight": 1.0, "chin": 0.5}),
    ActionUnit(25, "lips part",
        {
            50: (0.0, -0.02), 51: (0.0, -0.02), 61: (0.0, -0.04), 62: (0.0, -0.035), 57: (0.0, 0.05), 58: (0.0, 0.05),
            59: (0.0, 0.02), 66: (0.0, 0.07), 67: (0.0, 0.06),
        }),
    ActionUnit(26, "jaw drop",
        {
            2: (0.01, 0.01), 3: (0.02, 0.05), 4: (0.04, 0.11), 5: (0.04, 0.22), 6: (0.02, 0.31), 7: (0.0, 0.36),
            8: (0.0, 0.37), 48: (0.07, 0.10), 60: (0.06, 0.10), 49: (0.03, 0.01), 50: (0.01, -0.02), 51: (0.0, -0.02),
            61: (0.0, -0.03), 62: (0.0, -0.03), 57: (0.0, 0.34), 58: (-0.01, 0.33), 59: (0.02, 0.24), 66: (0.0, 0.35),
            67: (-0.03, 0.33),
        },
        {"hollow": 1.0}),
)
# fmt: on

UNITS = {unit.number: unit for unit in _UNITS}
FOLDS = tuple(sorted({name for unit in _UNITS for name in unit.folds}))


#: How much each landmark follows the picture's left side; midline landmarks follow both halves alike.
_LEFT = np.where(np.arange(68) == MIRROR, 0.5, 0.0)
_LEFT[[*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67]] = 1.0
_RIGHT = _LEFT[MIRROR]
_WAYS = {unit.number: unit.displacement() for unit in UNITS.values()}
_MIRRORED = {number: way[MIRROR] * (-1.0, 1.0) for number, way in _WAYS.items()}


def move_landmarks(landmarks: np.ndarray, activation: Mapping[int, Sides]) -> np.ndarray:
    """The landmarks (68, 2) after the units in ``activation``, by number, have each acted on both sides."""
    landmarks = landmarks.copy()
    for number, (left, right) in activation.items():
        landmarks += left * _LEFT[:, None] * _WAYS[number] + right * _RIGHT[:, None] * _MIRRORED[number]
    return _possible(landmarks)


def folds(activation: Mapping[int, Sides]) -> dict[str, Sides]:
    """Depth of each fold of the skin on either side; ``lid`` alone may be negative, where the lid's fold is gone."""
    depth = dict.fromkeys(FOLDS, (0.0, 0.0))
    for number, (left, right) in activation.items():
        for name, share in UNITS[number].folds.items():
            before = depth[name]
            depth[name] = (before[0] + left * share, before[1] + right * share)
    return depth


def _possible(landmarks: np.ndarray) -> np.ndarray:
    """Keep lids and lips from passing through one another where several units add up."""
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        _keep_apart(landmarks, upper, lower, 0.05)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        _keep_apart(landmarks, upper, lower, 0.004)
    for outer, inner in ((49, 61), (50, 61), (51, 62), (52, 63), (53, 63)):
        landmarks[outer, 1] = min(landmarks[outer, 1], landmarks[inner, 1] - 0.022)
    for outer, inner in ((58, 67), (57, 66), (56, 65)):
        landmarks[outer, 1] = max(landmarks[outer, 1], landmarks[inner, 1] + 0.035)
    return landmarks


def _keep_apart(landmarks: np.ndarray, upper: int, lower: int, least: float) -> None:
    lacking = least - (landmarks[lower, 1] - landmarks[upper, 1])
    if lacking > 0:
        landmarks[upper, 1] -= lacking / 2
        landmarks[lower, 1] += lacking / 2
