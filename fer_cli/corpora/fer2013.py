"""FER2013 (Goodfellow et al., ICONIP 2013), and FER+ (Barsoum et al., ICMI 2016), its labels by ten people."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc

from fer_cli.corpora.base import Corpus, Frame, Reading, Still, spelled
from fer_cli.corpora.io import files_below, folders_below
from fer_cli.corpora.layouts import SplitFolders
from fer_cli.errors import CorpusError
from fer_cli.files import open_regular
from fer_cli.options import Panel
from fer_cli.tables import Table

#: What the table is called: by its authors (with or without an ending), in Kaggle's challenge, and in its training set.
TABLES = re.compile(r"fer2013[^/]*|icml_face_data\.csv|train\.csv", re.IGNORECASE)
#: The challenge's pictures whose labels Kaggle keeps.
UNLABELLED = "test.csv"
CODES = {
    str(code): label
    for code, label in enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"))
}
SPLITS = {"training": "train", "publictest": "val", "privatetest": "test"}
#: FER+'s columns of votes; the last two are no expression.
COLUMNS = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    *("unknown", "NF"),
)
#: A number of votes; some programs write 4 as 4.0.
VOTES = re.compile(r"([0-9]{1,2})(?:\.0*)?")
NO_VOTES = "a row of FER+ without ten numbers of votes"
MAX_ROW_BYTES = 200_000


class Pictures(SplitFolders):
    """FER2013 as folders of pictures, ``train/angry/…``, in which Kaggle's users pass it on."""

    title: ClassVar[str] = "FER2013"
    layout: ClassVar[str] = "train/angry/….jpg   test/angry/….jpg"
    splits: ClassVar[Mapping[str, str]] = {
        **SPLITS,
        **{"train": "train", "val": "val", "validation": "val", "test": "test"},
    }


@dataclass(frozen=True)
class Fer2013(Corpus):
    """A table with the columns ``emotion``, ``pixels`` and ``Usage``, or folders of pictures; nobody is named."""

    name: ClassVar[str] = "fer2013"
    title: ClassVar[str] = "FER2013"
    summary: ClassVar[str] = "FER2013, a table of 35,887 faces of 48×48 pixels, with FER+'s labels if they are given."
    layout: ClassVar[str] = (
        "fer2013.csv, icml_face_data.csv or train.csv   (emotion,pixels,Usage)\n"
        "fer2013new.csv                                 (FER+'s votes, for --ferplus)\n"
        "train/angry/….jpg  test/angry/….jpg            (where there is no table)"
    )
    cropped: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare fer2013 ~/corpora/fer2013",
        "fer prepare fer2013 ~/corpora/fer2013 --ferplus ~/corpora/FERPlus/fer2013new.csv --out data/ferplus",
    )
    promises: ClassVar[Mapping[str, int]] = {"pictures": 35887, "train": 28709, "val": 3589, "test": 3589}

    ferplus: Annotated[Path | None, Doc("FER+'s fer2013new.csv, ten votes on each picture."), Panel("Input")] = None
    ferplus_rule: Annotated[
        Literal["majority", "plurality"], Doc("How FER+'s votes become a label."), Panel("Input")
    ] = "majority"

    def title_at(self, root: Path) -> str:
        """FER+'s labels make another corpus of the same pictures."""
        return f"FER+ ({self.ferplus_rule} of votes)" if self.ferplus else self.title

    def find(self, root: Path) -> Path | None:
        """The folder that the table is in, or those of the splits."""
        table = _find_table(files_below(root))
        if table is not None:
            return table.path.parent
        folder = Pictures().find(root)
        # CAER-S has the same folders but for their spelling.
        angry = folder is not None and any(path.name.lower() == "angry" for path in folders_below(folder, 2))
        return folder if angry else None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every row or picture as a still, with the owners' split. Who is shown is not known."""
        table = _find_table(iter(sorted(root.iterdir())))
        if table is not None:
            return self._read_table(table)
        if self.ferplus is not None:
            raise CorpusError(
                f"{root} has pictures in folders, which FER+'s votes cannot be joined with: they belong to the rows "
                "of fer2013.csv.",
                hint="Type the folder of that table, or drop --ferplus.",
            )
        return Pictures().read(root)

    def _read_table(self, table: "_Table") -> Reading:
        reading = Reading()
        votes = None if self.ferplus is None else _votes(self.ferplus, self.ferplus_rule)
        rows = 0
        for number, (offset, row) in enumerate(table.rows(), start=1):
            where = f"{table.path.name}, row {number}"
            if row is None:
                reading.skip(where, "a row that does not have the header's columns")
                continue
            rows = number
            reading.found["pictures"] += 1
            split = SPLITS.get(row["usage"].lower()) if "usage" in row else "train"
            if split is None:
                reading.skip(where, "a row without one of the owners' splits")
                continue
            reading.found[split] += 1
            if votes is None:
                label, reason, fault = CODES.get(row["emotion"]), f"an emotion that is none of {spelled(CODES)}", True
            else:
                reason = votes[number - 1] if number <= len(votes) else "a row that FER+ does not have"
                label = reason if reason in COLUMNS[:-2] else None
                fault = reason == NO_VOTES or number > len(votes)
            if label is None:
                reading.skip(where, reason, fault=fault)
            else:
                frame = Frame(table.path, index=number - 1, kind="table", offset=offset)
                reading.records.append(Still(frame, label, split=split))
        if votes is not None and len(votes) != rows:
            raise CorpusError(
                f"{self.ferplus} has {len(votes)} rows, {table.path} {rows}: they are joined by row.",
                hint="Take both tables whole, as their owners ship them.",
            )
        unlabelled = table.path.with_name(UNLABELLED)
        if "usage" not in table.columns and unlabelled.is_file():
            reading.skip(unlabelled, "a table of pictures without labels", fault=False)
        return reading


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of pictures, whose header's names are ``columns``, without blanks around them and in lower case."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str

    def rows(self) -> "Iterator[tuple[int, dict[str, str] | None]]":
        """Each row's first byte and its values; None for one with more or fewer columns than the header."""
        with open_regular(self.path) as file:
            file.readline(MAX_ROW_BYTES)
            while True:
                offset = file.tell()
                line = file.readline(MAX_ROW_BYTES)
                if not line:
                    return
                rest = line
                while len(rest) == MAX_ROW_BYTES and not rest.endswith(b"\n"):
                    rest = file.readline(MAX_ROW_BYTES)
                if line.strip():
                    cells = _cells(line, self.delimiter) if rest is line else []
                    fits = len(cells) == len(self.columns)
                    yield offset, dict(zip(self.columns, cells, strict=True)) if fits else None


def _find_table(paths: Iterator[Path]) -> _Table | None:
    """The first table among ``paths`` that says to which split a row belongs; without any, the first that does not."""
    without: _Table | None = None
    for path in paths:
        table = _table(path) if TABLES.fullmatch(path.name) else None
        if table is not None and "usage" in table.columns:
            return table
        without = without or table
    return without


def _table(path: Path) -> _Table | None:
    try:
        with open_regular(path) as file:
            header = file.readline(MAX_ROW_BYTES).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return None
    for delimiter in ",;\t":
        columns = tuple(name.lower() for name in _cells(header, delimiter))
        if {"emotion", "pixels"}.issubset(columns) and len(set(columns)) == len(columns):
            return _Table(path, columns, delimiter)
    return None


def _cells(line: bytes, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.decode("ascii", "replace")], delimiter=delimiter), ())]
    except csv.Error:
        return []


def _votes(path: Path, rule: str) -> list[str]:
    """The label of each row by ten people's votes under ``rule``, or the reason that there is none."""
    table = Table(path, CorpusError)
    missing = [name for name in COLUMNS if name.lower() not in table.columns]
    if missing:
        raise CorpusError(f"{path} is not FER+'s table: it lacks the columns {', '.join(missing)}.")
    return [_voted({name: row.values.get(name.lower(), "") for name in COLUMNS}, rule) for row in table]


def _voted(cells: Mapping[str, str], rule: str) -> str:
    """The label by the votes: under ``majority`` as FER+'s authors have it (Barsoum et al. 2016, and their code)."""
    read = {name: VOTES.fullmatch(cell) for name, cell in cells.items()}
    if None in read.values():
        return NO_VOTES
    votes = Counter({name: int(match[1]) for name, match in read.items()})
    if rule == "majority":
        votes = Counter({name: count for name, count in votes.items() if count > 1})
        [(first, most)] = votes.most_common(1) or [("", 0)]
        if 2 * most <= votes.total():
            return "no majority of votes"
    else:
        (first, most), (_, next_most) = votes.most_common(2)
        if most == next_most:
            return "a tie of votes"
    return {"unknown": "voted unknown", "NF": "voted no face"}.get(first, first)
