"""A face moved: landmarks and folds of the skin after several action units have acted on either side."""

from collections.abc import Mapping

import numpy as np

from fer_cli.corpora.synthetic.action_units import FOLDS, MIRROR, UNITS, Sides

#: How much each landmark follows the picture's left side; midline landmarks follow both halves alike.
_LEFT = np.where(np.arange(68) == MIRROR, 0.5, 0.0)
_LEFT[[*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67]] = 1.0
_RIGHT = _LEFT[MIRROR]
_WAYS = {unit.number: unit.displacement() for unit in UNITS.values()}
_MIRRORED = {number: way[MIRROR] * (-1.0, 1.0) for number, way in _WAYS.items()}


def moved(landmarks: np.ndarray, activation: Mapping[int, Sides]) -> np.ndarray:
    """The landmarks (68, 2) after the units in ``activation``, by number, have each acted on both sides."""
    landmarks = landmarks.copy()
    for number, (left, right) in activation.items():
        landmarks += left * _LEFT[:, None] * _WAYS[number] + right * _RIGHT[:, None] * _MIRRORED[number]
    return _possible(landmarks)


def folds(activation: Mapping[int, Sides]) -> dict[str, Sides]:
    """How deep each fold of the skin is on either side; ``lid`` alone may be negative, where the lid's fold is gone."""
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
