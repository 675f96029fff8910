"""Corpora of videos whose names say who shows what, and of which some are neutral throughout."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.clips import about_the_middle, frame_count, why_unreadable
from fer_cli.corpora.named import NamedFiles
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence
from fer_cli.labels import NEUTRAL

SOURCE = "middle of the clip, neutral of another clip"


@dataclass(frozen=True, slots=True)
class Clip:
    """A video of one subject and one expression; no other ``sequence`` of the subject is called so."""

    path: Path
    subject: str
    sequence: str
    label: str
    frames: int


class NamedClips(NamedFiles):
    """Videos of known subjects, each described by its file's name.

    Nobody annotated the apex: it is taken to be about the middle of a clip. Its neutral face is the middle of the
    subject's first neutral clip.
    """

    classes: ClassVar[str] = "6"
    counted: ClassVar[str] = "clips"

    @abstractmethod
    def described(self, match: re.Match[str]) -> tuple[str, str] | str:
        """Subject and code of the file named so, or why it is left out by rule."""

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """A sequence for each clip of an expression; a subject without a neutral clip has none, and is said."""
        reading = Reading()
        add_sequences(self._clips(root, reading), apex_frames, reading)
        return reading

    def _clips(self, root: Path, reading: Reading) -> list[Clip]:
        clips = []
        for path, match in self.named(root, reading):
            described = self.described(match)
            if isinstance(described, str):
                reading.left_out.append(LeftOut(str(path), described, fault=False))
                continue
            subject, code = described
            label = self.label(code, path)
            if label is None:
                reading.left_out.append(LeftOut(str(path), f"code {code} is not in the vocabulary", fault=False))
            elif clip := readable_clip(path, subject, path.stem, label, reading):
                clips.append(clip)
        return clips


def readable_clip(path: Path, subject: str, sequence: str, label: str, reading: Reading) -> Clip | None:
    """The clip at ``path``, or None, the reason being added to ``reading``, if it cannot be read."""
    count = frame_count(path)
    if count is None or count < 3:
        reading.left_out.append(LeftOut(str(path), why_unreadable(path)))
        return None
    return Clip(path, subject, sequence, label, count)


def add_sequences(clips: list[Clip], apex_frames: int, reading: Reading) -> None:
    """Add to ``reading`` a sequence for each clip of an expression, compared with its subject's first neutral clip.

    Of each the frames about the middle are taken. A subject without a neutral clip has no sequence, and is reported.
    """
    resting: dict[str, Frame] = {}
    for clip in clips:
        if clip.label == NEUTRAL:
            [middle] = about_the_middle(clip.frames, 1)
            resting.setdefault(clip.subject, Frame(clip.path, index=middle, kind="video"))
    for clip in clips:
        if clip.label == NEUTRAL:
            continue
        if clip.subject not in resting:
            reading.left_out.append(LeftOut(str(clip.path), "no neutral clip of this subject"))
            continue
        frames = [Frame(clip.path, index=index, kind="video") for index in about_the_middle(clip.frames, apex_frames)]
        reading.records.append(
            Sequence(
                clip.subject,
                clip.sequence,
                (resting[clip.subject], *frames),
                clip.label,
                neutral=0,
                apexes=tuple(range(1, len(frames) + 1)),
                apex_source=SOURCE,
            )
        )
