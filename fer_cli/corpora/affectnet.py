"""AffectNet (Mollahosseini, Hasani & Mahoor, IEEE TAC 2019), in its older and its newer layout."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import ClassVar

from fer_cli.corpora.base import Corpus, Frame, Reading, Still, Terms, spelled
from fer_cli.corpora.io import children, folders_below, is_dir, is_file
from fer_cli.corpora.layouts import unexplained
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture
from fer_cli.files import read_bytes
from fer_cli.tables import Table

DEPTH = 3
CODES = dict(enumerate(("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")))
#: Faces that nobody could name, and pictures without one.
UNUSED = {8: "annotated as none", 9: "annotated as uncertain", 10: "annotated as no face"}
TABLES = {"training.csv": "train", "validation.csv": "val"}
#: In the order in which tables without a header have them.
COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
#: Every row of 414,799 spells 68 points out.
MAX_TABLE_BYTES = 2_000_000_000
FOLDERS = {"train_set": "train", "val_set": "val"}
PICTURES_OF_TABLES = "Manually_Annotated_Images"
MAX_NPY_BYTES = 10_000


@dataclass(frozen=True)
class AffectNet(Corpus):
    """Tables with boxes over whole pictures, or cropped pictures with a file of numbers for each."""

    name: ClassVar[str] = "affectnet"
    title: ClassVar[str] = "AffectNet"
    summary: ClassVar[str] = "AffectNet, manually annotated faces from the web, in either layout; nobody named."
    terms: ClassVar[Terms] = Terms(
        "University of Denver (M. H. Mahoor)",
        "research by institutions, by agreement",
        "http://mohammadmahoor.com/affectnet/",
    )
    layout: ClassVar[str] = (
        "training.csv validation.csv Manually_Annotated_Images/1/….jpg      (older)\n"
        "train_set/images/0.jpg train_set/annotations/0_exp.npy val_set/…   (newer)"
    )
    classes: ClassVar[str] = "8"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare affectnet ~/corpora/AffectNet",
        "fer prepare affectnet ~/corpora/AffectNet --classes 7-neutral --detector none",
    )

    def find(self, root: Path) -> Path | None:
        """The folder that the tables or the sets' folders are in, or a folder above several, each of one archive."""
        below = list(folders_below(root, DEPTH))
        tables = [folder for folder in below if any(is_file(folder / name) for name in TABLES)]
        holders = tables or list(dict.fromkeys(folder.parent for folder, _ in _sets(below[1:])))
        return holders[0] if len(holders) == 1 or tables else root if holders else None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every annotated face, with the owners' split. Who is shown is not known."""
        reading = Reading()
        for name, split in TABLES.items():
            if is_file(root / name):
                _read_table(root, root / name, split, reading)
        met = set()
        for folder, split in _sets(list(folders_below(root, DEPTH))[1:]):
            if split in met:
                reading.skip(folder, "another copy of a set (counted once)", fault=False)
            else:
                met.add(split)
                _read_folder(folder, split, reading)
        return reading


def _sets(folders: Iterable[Path]) -> list[tuple[Path, str]]:
    """Those of ``folders`` that are sets of the newer layout, each with its split."""
    return [
        (folder, FOLDERS[folder.name])
        for folder in folders
        if folder.name in FOLDERS and is_dir(folder / "annotations")
    ]


def _read_table(root: Path, table: Path, split: str, reading: Reading) -> None:
    for row in Table(table, CorpusError, headerless=COLUMNS, errors="replace", limit=MAX_TABLE_BYTES):
        where = f"{table.name}:{row.line}"
        try:
            name, code = row.values["subdirectory_filepath"], int(row.values["expression"])
            x, y, width, height = (float(row.values[f"face_{side}"]) for side in ("x", "y", "width", "height"))
        except (KeyError, ValueError):
            reading.skip(where, row.problem or "a line that holds no face")
            continue
        path = root / PICTURES_OF_TABLES / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            reading.skip(where, "a path that leaves the folder")
        elif not is_file(path):
            reading.skip(where, "a picture of the table that is not there")
        else:
            _add(Frame(path, box=(x, y, width, height)), code, split, where, reading)


def _read_folder(folder: Path, split: str, reading: Reading) -> None:
    for path in sorted(children(folder / "images"), key=lambda path: (len(path.stem), path.stem)):
        if not is_picture(path):
            reading.skipped.append(unexplained(path, AffectNet.title))
            continue
        code = _code(folder / "annotations" / f"{path.stem}_exp.npy")
        if code is None:
            reading.skip(path, "a picture without a readable annotation")
        else:
            _add(Frame(path), code, split, str(path), reading)


def _code(path: Path) -> int | None:
    """The number in a .npy file, which may be a string; no pickle is run."""
    import numpy as np

    try:
        return int(np.load(BytesIO(read_bytes(path, MAX_NPY_BYTES)), allow_pickle=False).item())
    except (OSError, ValueError, TypeError, EOFError, OverflowError, MemoryError, SyntaxError, TokenError):
        return None


def _add(frame: Frame, code: int, split: str, where: str, reading: Reading) -> None:
    reading.found["faces"] += 1
    if code in UNUSED:
        reading.skip(where, UNUSED[code], fault=False)
    elif code not in CODES:
        raise CorpusError(
            f"{where} has the expression {code}.",
            hint=f"Its codes are {spelled(CODES)}; 8 to 10 are none.",
        )
    else:
        reading.found[split] += 1
        reading.records.append(Still(frame, CODES[code], split=split))
