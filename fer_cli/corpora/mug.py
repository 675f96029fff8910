"""MUG, the Multimedia Understanding Group's expression database, its manually annotated set (Aifanti et al. 2010)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.base import Still, Terms
from fer_cli.corpora.layouts import TWO_LETTERS, NamedStills
from fer_cli.labels import NEUTRAL


@dataclass(frozen=True)
class Mug(NamedStills):
    """``001_an_001_0001.jpg``: subject, expression, take, frame."""

    name: ClassVar[str] = "mug"
    title: ClassVar[str] = "MUG"
    summary: ClassVar[str] = "MUG facial expression database, the manually annotated stills."
    terms: ClassVar[Terms] = Terms(
        "Aristotle University of Thessaloniki", "research only, by agreement", "https://mug.ee.auth.gr/fed/"
    )
    layout: ClassVar[str] = "manual/001_an_001_0001.jpg …"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare mug ~/corpora/MUG/manual",)
    file_name: ClassVar[re.Pattern[str]] = re.compile(r"(\d{3})_([a-z]{2})_(\d{3})_(\d{4})\.jpe?g", re.IGNORECASE)
    codes: ClassVar[Mapping[str, str]] = TWO_LETTERS

    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name.

        A take shows one expression, so that its neutral pictures share theirs with no other class.
        """
        resting = self.codes.get(match[2].lower()) == NEUTRAL
        return self.make_still(match[2], path, match[1], session=match[3] if resting else None)
