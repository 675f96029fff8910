"""SFEW 2.0, Static Facial Expressions in the Wild (Dhall et al., ICCV Workshops 2011): faces from films."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fer_cli.corpora.base import Terms
from fer_cli.corpora.layouts import SplitFolders


@dataclass(frozen=True)
class Sfew(SplitFolders):
    """``Train_Aligned_Faces/Angry/…``; the owners give no labels for the test pictures."""

    name: ClassVar[str] = "sfew"
    title: ClassVar[str] = "SFEW 2.0"
    summary: ClassVar[str] = "Static Facial Expressions in the Wild 2.0: faces from films, in the owners' splits."
    terms: ClassVar[Terms] = Terms(
        "EmotiW organisers (Dhall et al.)", "research only, by agreement", "https://cs.anu.edu.au/few/"
    )
    layout: ClassVar[str] = "Train_Aligned_Faces/Angry/….png\nVal_Aligned_Faces_new/Angry/….png"
    cropped: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("fer prepare sfew ~/corpora/SFEW",)
    promises: ClassVar[Mapping[str, int]] = {"train": 958, "val": 436}
    splits: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("train_aligned_faces", "train_aligned_faces_new"), "train"),
        **dict.fromkeys(("val_aligned_faces", "val_aligned_faces_new"), "val"),
        **dict.fromkeys(("test_aligned_faces", "test_aligned_faces_new"), "test"),
    }
