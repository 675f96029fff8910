"""CAER-S, Context-Aware Emotion Recognition, its stills (Lee et al., ICCV 2019): scenes from television."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fer_cli.corpora.base import Terms
from fer_cli.corpora.layouts import SplitFolders


@dataclass(frozen=True)
class CaerS(SplitFolders):
    """``train/Anger/0001.png``: whole scenes, in which the face is still to be found."""

    name: ClassVar[str] = "caer-s"
    title: ClassVar[str] = "CAER-S"
    summary: ClassVar[str] = "Context-Aware Emotion Recognition, stills: scenes from television, in the owners' splits."
    terms: ClassVar[Terms] = Terms("Yonsei University", "non-commercial research", "https://caer-dataset.github.io")
    layout: ClassVar[str] = "train/Anger/0001.png …\ntest/Anger/0001.png …"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare caer-s ~/corpora/CAER-S",)
    splits: ClassVar[Mapping[str, str]] = {"train": "train", "val": "val", "validation": "val", "test": "test"}
