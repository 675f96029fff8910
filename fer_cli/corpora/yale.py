"""Yale, the Yale Face Database (Belhumeur, Hespanha & Kriegman, PAMI 1997): 165 pictures of 15 people."""

import filecmp
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.base import Still, Terms
from fer_cli.corpora.layouts import NamedStills
from fer_cli.labels import expression


@dataclass(frozen=True)
class Yale(NamedStills):
    """``subject01.happy``, a GIF without an ending: subject, and an expression or a light or glasses.

    The owners' zip has ``subject01.gif`` in the place of ``subject01.centerlight``.
    """

    name: ClassVar[str] = "yale"
    title: ClassVar[str] = "Yale"
    summary: ClassVar[str] = "Yale Face Database: 15 people, four of its eleven conditions are expressions."
    terms: ClassVar[Terms] = Terms(
        "Yale University, now UC San Diego",
        "non-commercial research",
        "http://vision.ucsd.edu/content/yale-face-database",
    )
    layout: ClassVar[str] = "yalefaces/subject01.happy   subject01.normal …"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare yale ~/corpora/yalefaces",)
    classes: ClassVar[str] = "found"
    promises: ClassVar[Mapping[str, int]] = {"pictures": 165, "subjects": 15}
    file_name: ClassVar[re.Pattern[str]] = re.compile(
        r"subject(\d{2})\.(?:gif|(?!gif$)([a-z]+)(?:\.gif)?)", re.IGNORECASE
    )
    codes: ClassVar[Mapping[str, str | None]] = {
        **{word: expression(word) for word in ("happy", "normal", "sad", "surprised")},
        **dict.fromkeys(("centerlight", "leftlight", "rightlight", "glasses", "noglasses", "sleepy", "wink")),
    }

    def original(self, match: re.Match[str]) -> tuple[str, int]:
        """The subject and the condition: some copies have an ending, and some have both."""
        return f"{match[1]} {self._code(match)}", 0

    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name. The owners' ``subject04.sad`` is a copy of ``subject04.normal``."""
        code = self._code(match)
        resting = path.with_name(path.name.replace(f".{code}", ".normal", 1))
        if resting != path and resting.is_file() and filecmp.cmp(path, resting, shallow=False):
            return "a copy of the same subject's neutral picture"
        return self.make_still(code, path, match[1])

    @staticmethod
    def _code(match: re.Match[str]) -> str:
        return (match[2] or "centerlight").lower()
