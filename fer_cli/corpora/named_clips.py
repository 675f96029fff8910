"""Corpora of videos whose names say who shows what, and of which some are neutral throughout."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.clips import about_the_middle, frame_count, why_unreadable
from fer_cli.corpora.named import NamedFiles
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence, Still
from fer_cli.labels import NEUTRAL

SOURCE = "middle of the clip"


@dataclass(frozen=True, slots=True)
class Clip:
    """A video of one subject and one expression; no other ``sequence`` of the subject is called so."""

    path: Path
    subject: str | None
    sequence: str
    label: str
    frames: int
    view: str | None


class NamedClips(NamedFiles):
    """Videos of known subjects, each described by its file's name.

    Nobody annotated the apex: it is taken to be about the middle of a clip. The middle of a neutral clip is a neutral
    picture of its subject.
    """

    classes: ClassVar[str] = "6"
    counted: ClassVar[str] = "clips"

    @abstractmethod
    def described(self, match: re.Match[str]) -> tuple[str, str] | str:
        """Subject and code of the file named so, or why it is left out by rule."""

    def view(self, match: re.Match[str]) -> str | None:
        """What the file named so shares with the neutral clips that it may be compared with, beside the subject."""
        return None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """A sequence without a neutral frame for each clip of an expression, a still for each neutral clip."""
        reading = Reading()
        reading.records += [record_of(clip, apex_frames) for clip in self._clips(root, reading)]
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
            elif clip := readable_clip(path, subject, path.stem, label, reading, view=self.view(match)):
                clips.append(clip)
        return clips


def readable_clip(
    path: Path, subject: str | None, sequence: str, label: str, reading: Reading, *, view: str | None = None
) -> Clip | None:
    """The clip at ``path``, or None, the reason being added to ``reading``, if it cannot be read."""
    count = frame_count(path)
    if count is None or count < 3:
        reading.left_out.append(LeftOut(str(path), why_unreadable(path)))
        return None
    return Clip(path, subject, sequence, label, count, view)


def record_of(clip: Clip, apex_frames: int, split: str | None = None) -> Sequence | Still:
    """The frames about the middle of a clip as a sequence without a neutral frame.

    Of a neutral clip, and of one whose subject is not known, it is the frame in the middle as a still.
    """
    if clip.label == NEUTRAL or clip.subject is None:
        [middle] = about_the_middle(clip.frames, 1)
        frame = Frame(clip.path, index=middle, kind="video")
        return Still(frame, clip.label, clip.subject, split=split, view=clip.view)
    frames = tuple(Frame(clip.path, index=index, kind="video") for index in about_the_middle(clip.frames, apex_frames))
    return Sequence(
        clip.subject,
        clip.sequence,
        frames,
        clip.label,
        neutral=None,
        apexes=tuple(range(len(frames))),
        apex_source=SOURCE,
        view=clip.view,
    )
