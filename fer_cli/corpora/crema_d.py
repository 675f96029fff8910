"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al., IEEE TAC 2014): clips of 91 actors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fer_cli.corpora.base import Terms
from fer_cli.corpora.layouts import NamedClips


@dataclass(frozen=True)
class CremaD(NamedClips):
    """``1001_DFA_ANG_XX.flv``: actor, sentence, emotion, level."""

    name: ClassVar[str] = "crema-d"
    title: ClassVar[str] = "CREMA-D"
    summary: ClassVar[str] = "Crowd-sourced Emotional Multimodal Actors: 7,442 clips of 91 speaking actors."
    terms: ClassVar[Terms] = Terms(
        "Cao, Cooper, Keutmann et al.",
        "Open Database License",
        "https://github.com/CheyneyComputerScience/CREMA-D",
        weights="allowed by its licence, with a notice of the database",
        publishable=True,
    )
    layout: ClassVar[str] = "VideoFlash/1001_DFA_ANG_XX.flv …"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare crema-d ~/corpora/CREMA-D",)
    classes: ClassVar[str] = "anger,disgust,fear,happiness,sadness"
    promises: ClassVar[Mapping[str, int]] = {"clips": 7442, "subjects": 91}
    # The owners' 1040_ITH_SAD_X has one X only.
    file_name: ClassVar[re.Pattern[str]] = re.compile(
        r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)\.(?:flv|mp4|avi)", re.IGNORECASE
    )
    codes: ClassVar[Mapping[str, str | None]] = {
        **{"ang": "anger", "dis": "disgust", "fea": "fear"},
        **{"hap": "happiness", "neu": "neutral", "sad": "sadness"},
    }

    def describe(self, match: re.Match[str]) -> tuple[str, str] | str:
        """The actor and the emotion."""
        return match[1], match[3]
