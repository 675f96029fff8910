"""Oulu-CASIA NIR&VIS (Zhao et al., Image and Vision Computing 2011): 80 subjects, six expressions, three lights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc

from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Terms
from fer_cli.corpora.io import children, folders_below
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture
from fer_cli.labels import BASIC_SIX, expression
from fer_cli.options import Panel

#: How far below the given folder the imaging's folder may be (``B_OriginalImg/B_OriginalImg/OriginalImg/VL``).
DEPTH = 5


@dataclass(frozen=True)
class OuluCasia(Corpus):
    """``VL/Strong/P001/Anger/000.jpeg``: imaging, light, subject, expression, frame, counted from zero."""

    name: ClassVar[str] = "oulu-casia"
    title: ClassVar[str] = "Oulu-CASIA"
    summary: ClassVar[str] = "Oulu-CASIA NIR&VIS: 480 sequences of 80 subjects in each imaging and light."
    terms: ClassVar[Terms] = Terms(
        "CMVS, University of Oulu",
        "research only, by agreement",
        "https://www.oulu.fi/cmvs/node/41316",
    )
    layout: ClassVar[str] = "VL/Strong/P001/Anger/000.jpeg 001.jpeg …   (VL or NI; Strong, Weak or Dark)"
    classes: ClassVar[str] = "6"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare oulu-casia ~/corpora/OriginalImg",
        "fer prepare oulu-casia ~/corpora/OriginalImg --imaging ni --light dark --out data/oulu-ni-dark",
    )
    promises: ClassVar[Mapping[str, int]] = {"sequences": 480, "subjects": 80}

    imaging: Annotated[Literal["vl", "ni"], Doc("Visible light, or near infrared."), Panel("Input")] = "vl"
    light: Annotated[Literal["strong", "weak", "dark"], Doc("The light in the room."), Panel("Input")] = "strong"

    def title_at(self, root: Path) -> str:
        """The imaging and light belong to the protocol's name."""
        return f"{self.title} {self.imaging.upper()} {self.light.capitalize()}"

    def find(self, root: Path) -> Path | None:
        """The folder of the subjects in the imaging and light asked for."""
        others = set()
        for folder in folders_below(root, DEPTH):
            imaging, light = folder.parent.name.lower(), folder.name.lower()
            if imaging in ("vl", "ni") and light in ("strong", "weak", "dark"):
                if (imaging, light) == (self.imaging, self.light):
                    return folder
                others.add(f"{imaging.upper()}/{folder.name}")
        if others:
            raise CorpusError(
                f"{root} has {', '.join(sorted(others))}, and no {self.imaging.upper()}/{self.light.capitalize()}.",
                hint="Type --imaging and --light for one that is there.",
            )
        return None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every sequence: the first frame neutral, the last ``apex_frames`` the apex."""
        reading = Reading()
        for folder in folders_below(root, 2):
            if folder.parent.parent != root:
                continue
            label = expression(folder.name)
            if label is None:
                raise CorpusError(
                    f"The folder {folder} is named after no expression of Oulu-CASIA.",
                    hint=f"Its expressions are {', '.join(BASIC_SIX)}.",
                )
            reading.found["sequences"] += 1
            frames = _frames(folder, reading)
            if len(frames) < 2:
                reading.skip(folder, "a sequence of fewer than two frames")
                continue
            reading.records.append(
                Sequence.from_neutral_to_apex(folder.parent.name.upper(), label, frames, label, apex_frames)
            )
        return reading


def _frames(folder: Path, reading: Reading) -> tuple[Frame, ...]:
    frames = []
    for path in children(folder):
        if path.stem.isdecimal() and is_picture(path):
            frames.append(Frame(path))
        else:
            reading.skip(path, "a file that is no frame of its sequence")
    frames.sort(key=lambda frame: int(frame.path.stem))
    numbers = [int(frame.path.stem) for frame in frames]
    if numbers and numbers[-1] - numbers[0] + 1 > len(numbers):
        reading.skip(folder, "frames missing in the middle (the sequence is used)")
    return tuple(frames)
