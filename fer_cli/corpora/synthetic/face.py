"""What the painters of a head's parts share: a person's face as it is in one frame."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fer_cli.corpora.synthetic.action_units import Sides
from fer_cli.corpora.synthetic.geometry import Pose, curve
from fer_cli.corpora.synthetic.identity import Identity


@dataclass(frozen=True)
class Face:
    """A person in one frame: landmarks (68, 2) in the face's plane, folds of the skin by name, the head's pose."""

    person: Identity
    landmarks: np.ndarray
    folds: dict[str, Sides]
    pose: Pose

    def at(self, points, depth: float | None = None) -> np.ndarray:
        """Points of the face's plane (n, 2), in pixels."""
        return self.pose(np.asarray(points, dtype=float), depth)

    def line(self, points, steps: int = 8, *, depth: float | None = None) -> np.ndarray:
        """A smooth curve through points of the face's plane, in pixels."""
        return self.pose(curve(np.asarray(points, dtype=float), steps), depth)

    def px(self, length: float) -> float:
        """A length of the face's plane, in pixels."""
        return self.pose.size * length

    @cached_property
    def skin(self) -> np.ndarray:
        """The skin's colour in even light."""
        return np.array(self.person.skin)

    @cached_property
    def shade(self) -> np.ndarray:
        """Skin that light reaches badly."""
        return self.skin * (0.66, 0.56, 0.52)

    @cached_property
    def crease(self) -> np.ndarray:
        """The bottom of a fold."""
        return self.skin * (0.48, 0.36, 0.32)

    @cached_property
    def glow(self) -> np.ndarray:
        """Skin that the light strikes."""
        return self.skin + (255 - self.skin) * (0.42, 0.38, 0.34)

    @cached_property
    def outline(self) -> np.ndarray:
        """The head's outline (n, 2) in the face's plane: the jaw, then over the crown."""
        jaw = self.landmarks[:17]
        angle = np.linspace(0, np.pi, 13)[1:-1]
        middle, half = (jaw[0, 0] + jaw[16, 0]) / 2, (jaw[16, 0] - jaw[0, 0]) / 2
        # Squarer than an ellipse, as skulls are.
        cos, sin = np.cos(angle), np.sin(angle)
        crown = np.column_stack(
            (middle + half * np.sign(cos) * np.abs(cos) ** 0.85, jaw[0, 1] - self.crown_height * sin**0.85)
        )
        return curve(np.concatenate((jaw, crown)), 6, closed=True)

    @property
    def crown_height(self) -> float:
        """From the ears' height to the top of the skull."""
        return 1.52 * self.person.crown
