"""BU-3DFE, Binghamton University's 3D Facial Expression database (Yin et al., FG 2006), its frontal pictures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc
from annotated_types import Interval

from fer_cli.corpora.base import Still, Terms
from fer_cli.corpora.layouts import TWO_LETTERS, NamedStills
from fer_cli.options import Panel, check_bounds


@dataclass(frozen=True)
class Bu3dfe(NamedStills):
    """``F0001/F0001_AN01WH_F2D.bmp``: sex and number, expression, level 01 to 04, ethnicity."""

    name: ClassVar[str] = "bu3dfe"
    title: ClassVar[str] = "BU-3DFE"
    summary: ClassVar[str] = "Binghamton University 3D Facial Expression: frontal stills at four levels."
    terms: ClassVar[Terms] = Terms(
        "Binghamton University",
        "research only, by agreement",
        "https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
    )
    layout: ClassVar[str] = "BU_3DFE/F0001/F0001_AN01WH_F2D.bmp …"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare bu3dfe ~/corpora/BU_3DFE",
        "fer prepare bu3dfe ~/corpora/BU_3DFE --lowest-level 3",
    )
    promises: ClassVar[Mapping[str, int]] = {"pictures": 2500, "subjects": 100}
    file_name: ClassVar[re.Pattern[str]] = re.compile(
        r"([FM]\d{4})_([A-Z]{2})(\d{2})([A-Z]{2})_F2D\.bmp", re.IGNORECASE
    )
    codes: ClassVar[Mapping[str, str]] = TWO_LETTERS

    lowest_level: Annotated[
        int, Interval(ge=1, le=4), Doc("Lowest level of expression that is used."), Panel("Input")
    ] = 1

    def __post_init__(self) -> None:
        check_bounds(self)

    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name."""
        subject, code, level, _ = match.groups()
        if code.lower() != "ne" and int(level) < self.lowest_level:
            return "a lower level"
        return self.make_still(code, path, subject.upper())
