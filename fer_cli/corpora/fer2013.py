"""FER2013 (Goodfellow et al., ICONIP 2013), and FER+ (Barsoum et al., ICMI 2016), its labels by ten people."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc

from fer_cli.corpora.base import Corpus, Frame, Reading, Still, Terms, spelled
from fer_cli.corpora.io import children, files_below, folders_below, folders_in, is_file
from fer_cli.corpora.layouts import SplitFolders, unexplained
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture
from fer_cli.files import open_regular
from fer_cli.labels import EXPRESSIONS, VOTES
from fer_cli.options import Panel
from fer_cli.tables import Row, Table

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
#: FER+'s column of the pictures' names.
NAME = "image name"
#: The column of each thing to vote for, in the order of :data:`fer_cli.labels.VOTES`.
VOTED = tuple({"no_face": "NF"}.get(name, name) for name in VOTES)
#: A number of votes; some programs write 4 as 4.0.
COUNT = re.compile(r"([0-9]{1,2})(?:\.0*)?")
NO_VOTES = "a row of FER+ without ten numbers of votes"
NO_MAJORITY, TIE = "no majority of votes", "a tie of votes"
#: The folders that FER+'s own program writes the pictures into, and the list of votes that is in each.
FOLDERS = {"fer2013train": "train", "fer2013valid": "val", "fer2013test": "test"}
LIST = "label.csv"
#: What these folders hold.
FERPLUS_PROMISES = {"pictures": 35710, "train": 28558, "val": 3579, "test": 3573}
FOLDERS_DEPTH = 4
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
    """A table with the columns ``emotion``, ``pixels`` and ``Usage``, or folders of pictures; nobody is named.

    The faces are cropped to 48×48 pixels and not aligned.
    """

    name: ClassVar[str] = "fer2013"
    title: ClassVar[str] = "FER2013"
    summary: ClassVar[str] = "FER2013, a table of 35,887 faces of 48×48 pixels, with FER+'s labels if they are given."
    terms: ClassVar[Terms] = Terms(
        "Goodfellow et al. 2013; FER+'s votes: Microsoft",
        "pictures from the web, shared for research; FER+'s votes MIT",
        "https://github.com/microsoft/FERPlus",
    )
    layout: ClassVar[str] = (
        "fer2013.csv, icml_face_data.csv or train.csv   (emotion,pixels,Usage)\n"
        "fer2013new.csv                                 (FER+'s votes, for --ferplus)\n"
        "FER2013Train/label.csv  FER2013Train/….png     (FER+'s folders, or a zip of them)\n"
        "train/angry/….jpg  test/angry/….jpg            (where there is no table)"
    )
    cropped: ClassVar[bool] = True
    aligned: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare fer2013 ~/corpora/fer2013",
        "fer prepare fer2013 ~/corpora/fer2013 --ferplus ~/corpora/FERPlus/fer2013new.csv --out data/ferplus",
        "fer prepare fer2013 ~/corpora/ferplus.zip --out data/ferplus",
    )
    promises: ClassVar[Mapping[str, int]] = {"pictures": 35887, "train": 28709, "val": 3589, "test": 3589}

    ferplus: Annotated[Path | None, Doc("FER+'s fer2013new.csv, ten votes on each picture."), Panel("Input")] = None
    ferplus_rule: Annotated[
        Literal["majority", "plurality"], Doc("How FER+'s votes become a label."), Panel("Input")
    ] = "majority"
    unlabelled: Annotated[
        bool, Doc("Keep training pictures that FER+'s rule gives no label, for their votes."), Panel("Input")
    ] = True

    def title_at(self, root: Path) -> str:
        """FER+'s labels make another corpus of the same pictures."""
        return f"FER+ ({self.ferplus_rule} of votes)" if self.ferplus or _has_votes(root) else self.title

    def promises_at(self, root: Path) -> Mapping[str, int]:
        """FER+'s folders are without the pictures most voted to show no face."""
        return FERPLUS_PROMISES if _has_votes(root) else self.promises

    def find(self, root: Path) -> Path | None:
        """The folder that the table is in, or those of the splits."""
        table = _find_table(files_below(root))
        if table is not None:
            return table.path.parent
        for folder in folders_below(root, FOLDERS_DEPTH):
            if _ferplus_folders(folder):
                return folder
        pictures = Pictures().find(root)
        # CAER-S has the same folders but for their spelling.
        angry = pictures is not None and any(path.name.lower() == "angry" for path in folders_below(pictures, 2))
        return pictures if angry else None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every row or picture as a still, with the owners' split. Who is shown is not known."""
        table = _find_table(iter(sorted(root.iterdir())))
        if table is not None:
            return self._read_table(table)
        if folders := _ferplus_folders(root):
            return self._read_folders(folders)
        if self.ferplus is not None:
            raise CorpusError(
                f"{root} has pictures in folders, which FER+'s votes cannot be joined with: they belong to the rows "
                "of fer2013.csv.",
                hint="Type the folder of that table, or drop --ferplus.",
            )
        return Pictures().read(root)

    def _read_table(self, table: "_Table") -> Reading:
        reading = Reading()
        votes = None if self.ferplus is None else _votes(self.ferplus)
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
            frame = Frame(table.path, index=number - 1, kind="table", offset=offset)
            if votes is None:
                label = CODES.get(row["emotion"])
                if label is None:
                    reading.skip(where, f"an emotion that is none of {spelled(CODES)}")
                else:
                    reading.records.append(Still(frame, label, split=split))
            elif number > len(votes):
                reading.skip(where, "a row that FER+ does not have")
            else:
                self._add(reading, where, frame, split, votes[number - 1])
        if votes is not None and len(votes) != rows:
            raise CorpusError(
                f"{self.ferplus} has {len(votes)} rows, {table.path} {rows}: they are joined by row.",
                hint="Take both tables whole, as their owners ship them.",
            )
        unlabelled = table.path.with_name(UNLABELLED)
        if "usage" not in table.columns and unlabelled.is_file():
            reading.skip(unlabelled, "a table of pictures without labels", fault=False)
        return reading

    def _read_folders(self, folders: list[tuple[str, Path]]) -> Reading:
        """FER+'s folders, with the votes of the table if it is given: those of the lists differ in 1,602 pictures."""
        reading = Reading()
        by_name = None if self.ferplus is None else _votes_by_name(self.ferplus)
        for split, folder in folders:
            files = {path.name: path for path in children(folder) if path.name != LIST and is_file(path)}
            rows = list(Table(folder / LIST, CorpusError, headerless=("file", "box", *COLUMNS)))
            times = Counter(row.values.get("file", "") for row in rows)
            for row in rows:
                name = row.values.get("file", "")
                where = f"{folder.name}/{LIST}:{row.line}"
                if times[name] > 1:
                    reading.skip(where, f"a picture that {LIST} has more than once")
                    continue
                if name not in files:
                    # A name with folders in it is none of a file, so that nothing outside is read.
                    reading.skip(where, f"a picture of {LIST} that is not there")
                    continue
                reading.found["pictures"] += 1
                reading.found[split] += 1
                if by_name is None:
                    self._add(reading, where, Frame(files[name]), split, _counts(row))
                elif name in by_name:
                    self._add(reading, where, Frame(files[name]), split, by_name[name])
                else:
                    reading.skip(where, "a picture that FER+'s table does not have")
            for name in sorted(files.keys() - times.keys()):
                if is_picture(files[name]):
                    reading.skip(files[name], f"a picture that {LIST} does not have")
                else:
                    reading.skipped.append(unexplained(files[name], self.title))
        return reading

    def _add(self, reading: Reading, where: str, frame: Frame, split: str, votes: tuple[int, ...] | None) -> None:
        """Add the picture with what its votes come to under the rule, and with the votes themselves."""
        label = NO_VOTES if votes is None else _elected(votes, self.ferplus_rule)
        shows_any = votes is not None and _shows_any(votes)
        if label in EXPRESSIONS:
            reading.records.append(Still(frame, label, split=split, votes=votes))
        elif self.unlabelled and split == "train" and label in (NO_MAJORITY, TIE) and shows_any:
            reading.records.append(Still(frame, None, split=split, votes=votes))
        else:
            reading.skip(where, label, fault=votes is None)


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


def _ferplus_folders(root: Path) -> list[tuple[str, Path]]:
    """The split and the place of each folder in ``root`` that FER+'s program has written."""
    return [
        (FOLDERS[folder.name.lower()], folder)
        for folder in folders_in(root)
        if folder.name.lower() in FOLDERS and is_file(folder / LIST)
    ]


def _has_votes(root: Path) -> bool:
    return bool(_ferplus_folders(root)) and _find_table(iter(children(root))) is None


def _votes(path: Path) -> list[tuple[int, ...] | None]:
    """The votes on each row, in the order of :data:`VOTED`; None for a row without ten numbers."""
    return [_counts(row) for row in _ferplus_table(path, *COLUMNS)]


def _votes_by_name(path: Path) -> dict[str, tuple[int, ...] | None]:
    """The same for each picture that the table names: four are in two rows, of which the first is the lists'."""
    by_name: dict[str, tuple[int, ...] | None] = {}
    for row in _ferplus_table(path, NAME, *COLUMNS):
        by_name.setdefault(row.values.get(NAME, ""), _counts(row))
    return by_name


def _ferplus_table(path: Path, *columns: str) -> Table:
    table = Table(path, CorpusError)
    missing = [name for name in columns if name.lower() not in table.columns]
    if missing:
        raise CorpusError(f"{path} is not FER+'s table: it lacks the columns {', '.join(missing)}.")
    return table


def _counts(row: Row) -> tuple[int, ...] | None:
    read = [COUNT.fullmatch(row.values.get(name.lower(), "")) for name in VOTED]
    counts = tuple(int(match[1]) for match in read if match is not None)
    return None if row.problem or len(counts) < len(read) else counts


def _elected(counts: tuple[int, ...], rule: str) -> str:
    """The label by the votes, or the reason that there is none.

    ``majority`` is the rule of FER+'s authors (Barsoum et al. 2016, and their code).
    """
    votes = Counter(dict(zip(VOTES, counts, strict=True)))
    if rule == "majority":
        votes = Counter({name: count for name, count in votes.items() if count > 1})
        [(first, most)] = votes.most_common(1) or [("", 0)]
        if 2 * most <= votes.total():
            return NO_MAJORITY
    else:
        (first, most), (_, next_most) = votes.most_common(2)
        if most == next_most:
            return TIE
    return {"unknown": "voted unknown", "no_face": "voted no face"}.get(first, first)


def _shows_any(votes: tuple[int, ...]) -> bool:
    """Whether more than half of the votes are for expressions, whichever they are."""
    return 2 * sum(votes[: len(EXPRESSIONS)]) > sum(votes)
