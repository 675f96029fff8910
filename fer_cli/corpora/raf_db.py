"""RAF-DB, the Real-world Affective Faces Database, its basic set (Li, Deng & Du, CVPR 2017)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, LeftOut, Reading, Still
from fer_cli.corpora.walk import files_below
from fer_cli.errors import CorpusError

LIST = "list_patition_label.txt"  # as the owners spell it
CODES = dict(enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), start=1))
LINE = re.compile(r"((train|test)_\d+)\.jpg\s+(\d{1,9})")
#: The list has 15,339 lines of some twenty characters.
MAX_LIST_BYTES = 10_000_000


@dataclass(frozen=True)
class RafDb(Corpus):
    """``EmoLabel/list_patition_label.txt`` names a code for each picture in ``Image/aligned``."""

    name: ClassVar[str] = "raf-db"
    title: ClassVar[str] = "RAF-DB basic"
    summary: ClassVar[str] = "Real-world Affective Faces, the basic set: 15,339 aligned faces, nobody named."
    layout: ClassVar[str] = "EmoLabel/list_patition_label.txt\nImage/aligned/train_00001_aligned.jpg …"
    classes: ClassVar[str] = "7-neutral"
    cropped: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("fer prepare raf-db ~/corpora/RAF-DB/basic",)
    promises: ClassVar[Mapping[str, int]] = {"pictures": 15339, "train": 12271, "test": 3068}

    def locate(self, root: Path) -> Path:
        """The folder that the list's folder and the pictures' folder are in."""
        if not root.is_dir():
            raise self.absent(root)
        lists = [path for path in files_below(root) if path.name == LIST]
        if not lists:
            raise self.absent(root)
        return lists[0].parent.parent

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture of the list, with the owners' split. Who is shown is not known."""
        reading = Reading()
        pictures = {path.name: path for path in files_below(root) if path.suffix.lower() == ".jpg"}
        for number, line in enumerate(_lines(next(root.glob(f"*/{LIST}"))), start=1):
            match = LINE.fullmatch(line.strip())
            if match is None:
                if line.strip():
                    reading.left_out.append(LeftOut(f"{LIST}:{number}", "a line that names no picture and code"))
                continue
            stem, split, code = match.groups()
            if int(code) not in CODES:
                raise CorpusError(
                    f"Line {number} of {LIST} has the code {code}: the basic set has 1 to 7.",
                    mend="Codes to 11 are those of the compound set, whose classes are pairs of emotions and have no "
                    "place among single expressions. Type the folder of the basic set.",
                )
            reading.found["pictures"] += 1
            reading.found[split] += 1
            path = pictures.get(f"{stem}_aligned.jpg") or pictures.get(f"{stem}.jpg")
            if path is None:
                reading.left_out.append(LeftOut(f"{stem}.jpg", "a picture of the list that is not there"))
            else:
                reading.records.append(Still(Frame(path), CODES[int(code)], split=split))
        return reading


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > MAX_LIST_BYTES:
        raise CorpusError(f"{path} is larger than RAF-DB's list can be.")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
