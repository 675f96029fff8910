"""FER2013 (Goodfellow et al., ICONIP 2013), and FER+ (Barsoum et al., ICMI 2016), its labels by ten people."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, LeftOut, Reading, Still
from fer_cli.corpora.walk import files_below
from fer_cli.errors import CorpusError

TABLE, VOTES = "fer2013.csv", "fer2013new.csv"
HEADER = b"emotion,pixels,Usage"
CODES = dict(enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")))
SPLITS = {"training": "train", "publictest": "val", "privatetest": "test"}
#: The columns of votes; the last two are no expression.
COLUMNS = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    *("unknown", "NF"),
)
MAX_ROW_BYTES = 200_000


@dataclass(frozen=True)
class Fer2013(Corpus):
    """``fer2013.csv`` with ``emotion,pixels,Usage``; nobody is named."""

    name: ClassVar[str] = "fer2013"
    title: ClassVar[str] = "FER2013"
    summary: ClassVar[str] = "FER2013, a table of 35,887 faces of 48×48 pixels, with FER+'s labels if they are given."
    layout: ClassVar[str] = "fer2013.csv      (emotion,pixels,Usage)\nfer2013new.csv   (FER+'s votes, for --ferplus)"
    classes: ClassVar[str] = "found"
    cropped: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare fer2013 ~/corpora/fer2013",
        "fer prepare fer2013 ~/corpora/fer2013 --ferplus ~/corpora/FERPlus/fer2013new.csv --out data/ferplus",
    )
    promises: ClassVar[Mapping[str, int]] = {"pictures": 35887, "train": 28709, "val": 3589, "test": 3589}

    ferplus: Annotated[
        Path | None,
        Doc(
            "FER+'s fer2013new.csv: the label is what most of ten people said; rows with a tie, or where most said "
            "unknown or no face, are left out."
        ),
    ] = None

    def title_at(self, root: Path) -> str:
        """FER+'s labels make another corpus of the same pictures."""
        return "FER+ (majority of votes)" if self.ferplus else self.title

    def locate(self, root: Path) -> Path:
        """The folder that the table is in."""
        if not root.is_dir():
            raise self.absent(root)
        for path in files_below(root):
            if path.name.lower() == TABLE:
                return path.parent
        raise self.absent(root)

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every row as a still, with the owners' split. Who is shown is not known."""
        reading = Reading()
        table = next(path for path in sorted(root.iterdir()) if path.name.lower() == TABLE)
        votes = None if self.ferplus is None else _votes(self.ferplus)
        for number, (offset, code, usage) in enumerate(_rows(table)):
            where = f"{TABLE}, row {number + 1}"
            reading.found["pictures"] += 1
            split = SPLITS.get(usage.lower())
            if split is None:
                reading.left_out.append(LeftOut(where, "a row without one of the owners' splits"))
                continue
            reading.found[split] += 1
            if votes is None:
                if not code.isdigit() or int(code) not in CODES:
                    raise CorpusError(f"{where} has the code '{code}'.", mend=f"Its codes are {_spelled(CODES)}.")
                label = CODES[int(code)]
            else:
                label = votes[number] if number < len(votes) else ""
                if label not in COLUMNS[:-2]:
                    reading.left_out.append(LeftOut(where, label or "a row that FER+ does not have", fault=not label))
                    continue
            frame = Frame(table, index=number, kind="table", offset=offset)
            reading.records.append(Still(frame, label, split=split))
        if votes is not None and len(votes) != reading.found["pictures"]:
            raise CorpusError(
                f"{self.ferplus} has {len(votes)} rows, {table} {reading.found['pictures']}: they are joined by row.",
                mend="Take both tables whole, as their owners ship them.",
            )
        return reading


def _rows(table: Path) -> Iterator[tuple[int, str, str]]:
    """Where each row begins, its code and its usage, without the pixels."""
    with table.open("rb") as file:
        header = file.readline(MAX_ROW_BYTES).strip().replace(b" ", b"")
        if header.lower() != HEADER.lower():
            raise CorpusError(f"{table} does not begin with {HEADER.decode()}.")
        while True:
            offset = file.tell()
            row = file.readline(MAX_ROW_BYTES)
            if not row:
                return
            if row.strip():
                code, _, rest = row.decode("ascii", errors="replace").partition(",")
                yield offset, code.strip(), rest.rpartition(",")[2].strip()


def _votes(path: Path) -> list[str]:
    """What most of ten people said of each row, or why that is no label."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise CorpusError(f"{path} is not FER+'s table: it lacks the columns {', '.join(missing)}.")
            return [_majority({name: int(float(row[name] or 0)) for name in COLUMNS}) for row in table]
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise CorpusError(f"{path} is not FER+'s table: {error}.") from error


def _majority(votes: Mapping[str, int]) -> str:
    (first, most), (_, next_most) = Counter(votes).most_common(2)
    if most == next_most:
        return "a tie of votes"
    return {"unknown": "most voted unknown", "NF": "most voted no face"}.get(first, first)


def _spelled(codes: Mapping[int, str]) -> str:
    return ", ".join(f"{code} {name}" for code, name in codes.items())
