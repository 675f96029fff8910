"""KDEF, the Karolinska Directed Emotional Faces (Lundqvist, Flykt & Öhman 1998): 4,900 pictures of 70 people."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.base import Still, Terms
from fer_cli.corpora.layouts import NamedStills
from fer_cli.errors import UsageError
from fer_cli.options import Panel

#: Straight, half left and right profile, full left and right profile.
ANGLES = ("S", "HL", "HR", "FL", "FR")


@dataclass(frozen=True)
class Kdef(NamedStills):
    """``AF01ANS.JPG``: session A or B, sex, number, expression, angle. The same sex and number is the same person."""

    name: ClassVar[str] = "kdef"
    title: ClassVar[str] = "KDEF"
    summary: ClassVar[str] = "Karolinska Directed Emotional Faces: 4,900 stills of 70 people from five angles."
    terms: ClassVar[Terms] = Terms("Karolinska Institutet", "non-commercial research", "https://kdef.se")
    layout: ClassVar[str] = "KDEF/AF01/AF01ANS.JPG   BF01/BF01ANS.JPG …"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare kdef ~/corpora/KDEF",
        "fer prepare kdef ~/corpora/KDEF --angles S --angles HL --angles HR",
    )
    promises: ClassVar[Mapping[str, int]] = {"pictures": 4900, "subjects": 70}
    # The two misnamed files of the owners, AF31V.JPG and AM31H.JPG, do not match and are listed among the skipped.
    file_name: ClassVar[re.Pattern[str]] = re.compile(
        r"([AB])([FM])(\d{2})([A-Z]{2})(S|HL|HR|FL|FR)\.JPE?G", re.IGNORECASE
    )
    codes: ClassVar[Mapping[str, str]] = {
        **{"af": "fear", "an": "anger", "di": "disgust", "ha": "happiness"},
        **{"ne": "neutral", "sa": "sadness", "su": "surprise"},
    }

    angles: Annotated[
        tuple[str, ...], Doc(f"Angle, one of {', '.join(ANGLES)} (S is straight ahead); repeatable."), Panel("Input")
    ] = ("S",)

    def __post_init__(self) -> None:
        wrong = [angle for angle in self.angles if angle.upper() not in ANGLES]
        if wrong or not self.angles:
            raise UsageError(f"--angles {', '.join(wrong)}: not an angle.", hint=f"The angles are {', '.join(ANGLES)}.")

    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name."""
        session, sex, number, code, angle = match.groups()
        if angle.upper() not in {wanted.upper() for wanted in self.angles}:
            return "another angle"
        return self.make_still(code, path, f"{sex.upper()}{number}", view=angle.upper(), session=session.upper())
