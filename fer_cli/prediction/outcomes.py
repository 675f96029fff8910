"""What comes of looking at pictures: faces with their expressions, and what was missed and why."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fer_cli.faces.detect import Face
from fer_cli.prediction.shots import Shot


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model makes of one face.

    ``number`` counts the faces of a picture from 0, the largest first. ``face`` is None where the whole picture was
    taken as the face. ``probabilities`` has one a class, by name. ``neutral`` says which neutral face it was compared
    with, and is empty for a model that compares with none; ``neutral_confidence`` is the probability that this one is
    neutral, where it was found among the pictures. ``frame``, counted from 0, and ``time``, in seconds from the start,
    are those of a video or a camera. ``crop`` is what the model saw, size×size×3 uint8 RGB.
    """

    path: Path
    number: int
    face: Face | None
    probabilities: dict[str, float]
    neutral: str = ""
    frame: int | None = None
    time: float | None = None
    crop: np.ndarray | None = field(default=None, repr=False, compare=False)
    neutral_confidence: float | None = None

    @property
    def label(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of :attr:`label`."""
        return self.probabilities[self.label]


@dataclass(frozen=True, slots=True)
class Missed:
    """A picture, or one face of it, of which something is to be said, and what.

    ``fault`` is True where something is wrong with it; False where a rule leaves it out, or where it was used and there
    is something to know (an animated picture, of which the first frame was taken).
    """

    path: Path
    reason: str
    fault: bool = True
    number: int | None = None
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that came of one shot: a prediction a face, and what was missed."""

    shot: Shot
    predictions: tuple[Prediction, ...] = ()
    missed: tuple[Missed, ...] = ()

    def __iter__(self) -> Iterator[Prediction | Missed]:
        yield from self.predictions
        yield from self.missed
