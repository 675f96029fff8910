"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song (Livingstone & Russo, PLOS ONE 2018)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fer_cli.corpora.base import Terms
from fer_cli.corpora.layouts import NamedClips

#: The first field: with sound 01, video only 02. They are the same recording.
VIDEO_ONLY = "02"


@dataclass(frozen=True)
class Ravdess(NamedClips):
    """``02-01-06-01-02-01-12.mp4``: modality, speech or song, emotion, intensity, sentence, take, actor."""

    name: ClassVar[str] = "ravdess"
    title: ClassVar[str] = "RAVDESS"
    summary: ClassVar[str] = "Ryerson Audio-Visual Database of Emotional Speech and Song: clips of 24 actors."
    terms: ClassVar[Terms] = Terms(
        "Livingstone and Russo, Toronto Metropolitan University",
        "CC BY-NC-SA 4.0",
        "https://zenodo.org/records/1188976",
        weights="allowed by its licence: named, non-commercial, under the same licence",
        publishable=True,
    )
    layout: ClassVar[str] = "Actor_12/02-01-06-01-02-01-12.mp4 …"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare ravdess ~/corpora/RAVDESS",)
    promises: ClassVar[Mapping[str, int]] = {"subjects": 24}
    file_name: ClassVar[re.Pattern[str]] = re.compile(r"(0[12])-(\d{2})-(\d{2})-\d{2}-\d{2}-\d{2}-(\d{2})\.mp4")
    codes: ClassVar[Mapping[str, str | None]] = {
        **{"01": "neutral", "02": None, "03": "happiness", "04": "sadness"},
        **{"05": "anger", "06": "fear", "07": "disgust", "08": "surprise"},
    }

    def original(self, match: re.Match[str]) -> tuple[str, int]:
        """The recording, of which the file without sound is taken where there is one."""
        name, _ = super().original(match)
        return name.partition("-")[2], int(match[1] != VIDEO_ONLY)

    def describe(self, match: re.Match[str]) -> tuple[str, str] | str:
        """The actor and the emotion."""
        return match[4], match[3]

    def view(self, match: re.Match[str]) -> str | None:
        """Speech or song: nobody sings disgust or surprise, so that a neutral of the other would give a class away."""
        return match[2]
