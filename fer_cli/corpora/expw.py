"""ExpW, Expression in-the-Wild (Zhang et al., IJCV 2018): 91,793 faces in pictures from the web."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.base import Corpus, Frame, Reading, Still, Terms, spelled
from fer_cli.corpora.io import files_below, folder_of_list, lines_of_list
from fer_cli.errors import CorpusError

LIST = "label.lst"
CODES = dict(enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")))
#: The list has about five megabytes.
MAX_LIST_BYTES = 50_000_000


@dataclass(frozen=True)
class Expw(Corpus):
    """``label/label.lst``: name, face, top, left, right, bottom, confidence, label; pictures in ``image/origin``."""

    name: ClassVar[str] = "expw"
    title: ClassVar[str] = "ExpW"
    summary: ClassVar[str] = "Expression in-the-Wild: faces in pictures from the web, with their boxes; nobody named."
    terms: ClassVar[Terms] = Terms(
        "Multimedia Lab, Chinese University of Hong Kong",
        "non-commercial research",
        "http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/",
    )
    layout: ClassVar[str] = "label/label.lst\nimage/origin/….jpg"
    classes: ClassVar[str] = "7-neutral"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare expw ~/corpora/ExpW",)

    def find(self, root: Path) -> Path | None:
        """The folder that the list and the pictures are below."""
        return folder_of_list(root, LIST)

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every face of the list. Who is shown is not known."""
        reading = Reading()
        pictures = {path.name: path for path in files_below(root)}
        for number, line in enumerate(lines_of_list(root, LIST, MAX_LIST_BYTES), start=1):
            if not line.strip():
                continue
            fields = line.split()
            try:
                name = fields[0]
                face, top, left, right, bottom = (int(field) for field in fields[1:6])
                code = int(fields[7])
            except (ValueError, IndexError):
                reading.skip(f"{LIST}:{number}", "a line that holds no face")
                continue
            if code not in CODES:
                raise CorpusError(
                    f"Line {number} of {LIST} has the label {code}.",
                    hint=f"Its labels are {spelled(CODES)}.",
                )
            reading.found["faces"] += 1
            if name not in pictures:
                reading.skip(name, "a picture of the list that is not there")
                continue
            frame = Frame(pictures[name], index=face, box=(left, top, right - left, bottom - top))
            reading.records.append(Still(frame, CODES[code]))
        return reading
