"""JAFFE, the Japanese Female Facial Expression set (Lyons et al., FG 1998): 213 pictures of 10 women."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.base import Still, Terms
from fer_cli.corpora.layouts import TWO_LETTERS, NamedStills


@dataclass(frozen=True)
class Jaffe(NamedStills):
    """``KA.AN1.39.tiff``: subject, expression and take, number."""

    name: ClassVar[str] = "jaffe"
    title: ClassVar[str] = "JAFFE"
    summary: ClassVar[str] = "Japanese Female Facial Expression: 213 stills of 10 women."
    terms: ClassVar[Terms] = Terms(
        "Michael Lyons, Miyuki Kamachi, Jiro Gyoba", "non-commercial research", "https://zenodo.org/records/3451524"
    )
    layout: ClassVar[str] = "jaffe/KA.AN1.39.tiff   KA.NE1.26.tiff …"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare jaffe ~/corpora/jaffe",)
    promises: ClassVar[Mapping[str, int]] = {"pictures": 213, "subjects": 10}
    file_name: ClassVar[re.Pattern[str]] = re.compile(r"([A-Z]{2})\.([A-Z]{2})(\d)\.(\d+)\.tiff?", re.IGNORECASE)
    codes: ClassVar[Mapping[str, str]] = TWO_LETTERS

    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name."""
        return self.make_still(match[2], path, match[1].upper())
