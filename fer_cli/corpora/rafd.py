"""RaFD, the Radboud Faces Database (Langner et al., Cognition and Emotion 2010): 67 models, eight expressions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.base import Still, Terms
from fer_cli.corpora.layouts import NamedStills
from fer_cli.errors import UsageError
from fer_cli.labels import expression
from fer_cli.options import Panel

ANGLES = ("000", "045", "090", "135", "180")


@dataclass(frozen=True)
class Rafd(NamedStills):
    """``Rafd090_01_Caucasian_female_angry_frontal.jpg``: angle, model, group, sex, expression, gaze."""

    name: ClassVar[str] = "rafd"
    title: ClassVar[str] = "RaFD"
    summary: ClassVar[str] = "Radboud Faces Database: stills of 67 models, eight expressions, five angles, three gazes."
    terms: ClassVar[Terms] = Terms(
        "Radboud University", "research by institutions, by agreement", "https://rafd.socsci.ru.nl"
    )
    layout: ClassVar[str] = "RaFD/Rafd090_01_Caucasian_female_angry_frontal.jpg …"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare rafd ~/corpora/RaFD",
        "fer prepare rafd ~/corpora/RaFD --angles 045 --angles 090 --angles 135",
    )
    classes: ClassVar[str] = "8"
    # A person has one neutral picture for each angle and gaze.
    session_name: ClassVar[str] = "gaze"
    promises: ClassVar[Mapping[str, int]] = {"pictures": 8040, "subjects": 67}
    file_name: ClassVar[re.Pattern[str]] = re.compile(
        r"Rafd(\d{3})_(\d+)_([A-Za-z]+)_([A-Za-z]+)_([A-Za-z]+)_(frontal|left|right)\.jpe?g", re.IGNORECASE
    )
    codes: ClassVar[Mapping[str, str | None]] = {
        word: expression(word)
        for word in ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
    }

    angles: Annotated[
        tuple[str, ...], Doc(f"Angle, one of {', '.join(ANGLES)} (090 is straight ahead); repeatable."), Panel("Input")
    ] = ("090",)

    def __post_init__(self) -> None:
        wrong = [angle for angle in self.angles if angle not in ANGLES]
        if wrong or not self.angles:
            raise UsageError(f"--angles {', '.join(wrong)}: not an angle.", hint=f"The angles are {', '.join(ANGLES)}.")

    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name."""
        angle, number, _, _, code, gaze = match.groups()
        if angle not in self.angles:
            return "another angle"
        return self.make_still(code, path, number, view=angle, session=gaze.lower())
