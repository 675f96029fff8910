"""The Extended Cohn-Kanade corpus (Lucey et al. 2010) and the original CK (Kanade, Cohn & Tian 2000)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, Reading, Sequence
from fer_cli.errors import CorpusError

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")


@dataclass
class CKPlus(Corpus):
    """CK+ as its owners ship it."""

    name: ClassVar[str] = "ckplus"
    title: ClassVar[str] = "CK+"
    summary: ClassVar[str] = "Extended Cohn-Kanade (CK+) and the original CK."
    layout: ClassVar[str] = "cohn-kanade-images/S005/001/S005_001_00000011.png"
    classes: ClassVar[str] = "7-contempt"

    def locate(self, root: Path) -> Path:
        if (root / "cohn-kanade-images").is_dir():
            return root
        raise CorpusError(f"{root} is not CK+.")

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        reading = Reading()
        for folder in sorted((root / "cohn-kanade-images").glob("S*/*")):
            subject, number = folder.parent.name, folder.name
            marks = root / "Landmarks" / subject / number
            frames = []
            for path in sorted(folder.glob("*.png")):
                file = marks / f"{path.stem}_landmarks.txt"
                frames.append(Frame(path, file if file.is_file() else None))
            label = None
            for file in (root / "Emotion" / subject / number).glob("*.txt"):
                label = CODES[int(float(file.read_text()))]
            reading.found["sequences"] += 1
            reading.found["labelled"] += label is not None
            apexes = tuple(range(len(frames) - apex_frames, len(frames)))
            reading.records.append(
                Sequence(subject, number, tuple(frames), label, 0, apexes, f"last {apex_frames} frames")
            )
        return reading
