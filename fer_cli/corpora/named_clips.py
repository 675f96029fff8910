"""Corpora of videos whose names say who shows what, and of which some are neutral throughout."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.clips import about_the_middle, frame_count
from fer_cli.corpora.named import NamedFiles
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence, Still
from fer_cli.corpora.walk import files_below
from fer_cli.labels import NEUTRAL

SOURCE = "middle of the clip"


@dataclass(frozen=True, slots=True)
class Clip:
    """A video of one subject and one expression."""

    path: Path
    subject: str
    label: str
    frames: int
    view: str | None


class NamedClips(NamedFiles):
    """Videos of known subjects, each described by its file's name.

    Nobody annotated the apex: it is taken to be about the middle of a clip. The middle of a neutral clip is a neutral
    picture of its subject.
    """

    classes: ClassVar[str] = "6"

    @abstractmethod
    def described(self, match: re.Match[str]) -> tuple[str, str] | str:
        """Subject and code of the file named so, or why it is left out by rule."""

    def view(self, match: re.Match[str]) -> str | None:
        """What the file named so shares with the neutral clips that it may be compared with, beside the subject."""
        return None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """A sequence without a neutral frame for each clip of an expression, a still for each neutral clip."""
        reading = Reading()
        for clip in self._clips(root, reading):
            if clip.label == NEUTRAL:
                [middle] = about_the_middle(clip.frames, 1)
                frame = Frame(clip.path, index=middle, kind="video")
                reading.records.append(Still(frame, NEUTRAL, clip.subject, view=clip.view))
                continue
            frames = [
                Frame(clip.path, index=index, kind="video") for index in about_the_middle(clip.frames, apex_frames)
            ]
            reading.records.append(
                Sequence(
                    clip.subject,
                    clip.path.stem,
                    tuple(frames),
                    clip.label,
                    neutral=None,
                    apexes=tuple(range(len(frames))),
                    apex_source=SOURCE,
                    view=clip.view,
                )
            )
        return reading

    def _clips(self, root: Path, reading: Reading) -> list[Clip]:
        clips = []
        for path in files_below(root):
            match = self.file_name.fullmatch(path.name)
            if match is None:
                continue
            reading.found["clips"] += 1
            described = self.described(match)
            if isinstance(described, str):
                reading.left_out.append(LeftOut(str(path), described, fault=False))
                continue
            subject, code = described
            label = self.label(code, path)
            if label is None:
                reading.left_out.append(LeftOut(str(path), f"code {code} is not in the vocabulary", fault=False))
                continue
            count = frame_count(path)
            if count is None or count < 3:
                reading.left_out.append(LeftOut(str(path), "a video that cannot be read"))
                continue
            clips.append(Clip(path, subject, label, count, self.view(match)))
        return clips
