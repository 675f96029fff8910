"""RAF-DB, the Real-world Affective Faces Database, its basic set (Li, Deng & Du, CVPR 2017)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.base import Corpus, Frame, Reading, Still, Terms
from fer_cli.corpora.io import files_below, folder_of_list, folders_below, is_dir, lines_of_list
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture

LIST = "list_patition_label.txt"  # as the owners spell it
CODES = dict(enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), start=1))
SPLITS = ("train", "test")
#: How far below the given folder that of the splits may be.
DEPTH = 3
LINE = re.compile(r"((train|test)_\d+)\.jpg\s+(\d{1,9})")
#: The list has 15,339 lines of some twenty characters.
MAX_LIST_BYTES = 10_000_000


@dataclass(frozen=True)
class RafDb(Corpus):
    """``EmoLabel/list_patition_label.txt`` names a code for each picture in ``Image/aligned``."""

    name: ClassVar[str] = "raf-db"
    title: ClassVar[str] = "RAF-DB basic"
    summary: ClassVar[str] = "Real-world Affective Faces, the basic set: 15,339 aligned faces, nobody named."
    terms: ClassVar[Terms] = Terms(
        "Beijing University of Posts and Telecommunications",
        "non-commercial research",
        "http://www.whdeng.cn/raf/model1.html",
    )
    layout: ClassVar[str] = (
        "EmoLabel/list_patition_label.txt   Image/aligned/train_00001_aligned.jpg …\n"
        "train/1/….jpg … test/7/….jpg       (copies without the list)"
    )
    classes: ClassVar[str] = "7-neutral"
    cropped: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("fer prepare raf-db ~/corpora/RAF-DB/basic",)
    promises: ClassVar[Mapping[str, int]] = {"pictures": 15339, "train": 12271, "test": 3068}

    def find(self, root: Path) -> Path | None:
        """The folder that the list and the pictures are below."""
        return folder_of_list(root, LIST) or _folder_of_codes(root)

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture of the list, with the owners' split. Who is shown is not known."""
        reading = Reading()
        if _folder_of_codes(root) == root:
            _read_folders(root, reading)
            return reading
        pictures = {path.name: path for path in files_below(root) if path.suffix.lower() == ".jpg"}
        for number, line in enumerate(lines_of_list(root, LIST, MAX_LIST_BYTES), start=1):
            match = LINE.fullmatch(line.strip())
            if match is None:
                if line.strip():
                    reading.skip(f"{LIST}:{number}", "a line that names no picture and code")
                continue
            stem, split, code = match.groups()
            if int(code) not in CODES:
                raise CorpusError(
                    f"Line {number} of {LIST} has the code {code}: the basic set has 1 to 7.",
                    hint="Codes to 11 are those of the compound set, whose classes are pairs of emotions and have no "
                    "place among single expressions. Type the folder of the basic set.",
                )
            reading.found["pictures"] += 1
            reading.found[split] += 1
            path = pictures.get(f"{stem}_aligned.jpg") or pictures.get(f"{stem}.jpg")
            if path is None:
                reading.skip(f"{stem}.jpg", "a picture of the list that is not there")
            else:
                reading.records.append(Still(Frame(path), CODES[int(code)], split=split))
        return reading


def _folder_of_codes(root: Path) -> Path | None:
    """The folder with ``train/1`` to ``test/7``, as copies without the list have it."""
    wanted = [f"{split}/{code}" for split in SPLITS for code in CODES]
    return next(
        (folder for folder in folders_below(root, DEPTH) if all(is_dir(folder / name) for name in wanted)), None
    )


def _read_folders(root: Path, reading: Reading) -> None:
    for split in SPLITS:
        for code, label in CODES.items():
            for path in files_below(root / split / str(code)):
                if is_picture(path):
                    reading.found["pictures"] += 1
                    reading.found[split] += 1
                    reading.records.append(Still(Frame(path), label, split=split))
