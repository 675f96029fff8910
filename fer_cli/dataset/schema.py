"""The schema of a prepared dataset's folder: file names, columns, documents, and the validation of its table."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import pandas as pd
from msgspec import Meta

from fer_cli.errors import DatasetError
from fer_cli.files import open_regular, read_bytes
from fer_cli.labels import EXPRESSIONS, NEUTRAL, VOTES
from fer_cli.protocol import StoredProtocol


class Row(NamedTuple):
    """The cells of a row of the table, as text; None where they are empty."""

    file_name: str | None
    label: str | None
    subject: str | None
    sequence: str | None
    frame: str | None
    role: str | None
    neutral_file_name: str | None
    split: str | None
    fold: str | None


COLUMNS = Row._fields
#: One row a crop; the name that Hugging Face's ImageFolder looks for.
METADATA = "metadata.csv"
#: Corpus, protocol, counts, settings, checksums. Written last: a folder without it is not finished.
CARD = "dataset.json"
#: One line a crop: the picture it came from, the faces found there, the points it was aligned by.
FACES = "faces.jsonl"
#: The settings of a preparation under way.
UNFINISHED = "unfinished.json"
IMAGES = "images"
#: What frozen encoders made of the crops, a file an encoder.
EMBEDDINGS = "embeddings"
#: The decoded crops of a large dataset, a file for each size in pixels.
DECODED = "decoded"

#: The key in :data:`CARD` of what was skipped, as datasets of all versions have it.
SKIPPED = "left_out"

#: Raised when a change makes older folders unreadable or older crops different.
VERSION = 1


#: How many raters voted for what, a column each; in a dataset whose corpus publishes votes.
VOTE_COLUMNS = tuple(f"votes_{name}" for name in VOTES)

ROLES = ("neutral", "apex")

#: The owners' own division, where there is one.
SPLITS = ("train", "val", "test")

#: How many crops' headers are read when a dataset is opened; the size of the others is seen when they are.
HEADERS_READ = 8
MADE_ANEW = "Type the fer prepare line of this dataset again: it makes anew what is missing."


#: The place of a row, the field, what is wrong with its value, and perhaps what to do.
Problem = tuple[int, str, str] | tuple[int, str, str, str]


class Version(TypedDict):
    """The fields of any version's card."""

    version: int


class CropDocument(TypedDict):
    """The settings of the crops: their side in pixels, the room around the face, and how it was found."""

    size: Annotated[int, Meta(ge=1, le=10_000)]
    margin: float
    detector: str


class Checksums(TypedDict):
    """Digests of the table and of all crops."""

    metadata: str
    crops: str


class DrawnFrom(TypedDict):
    """The dataset that one is a draw of: its folder, from the draw's own, and its fingerprint."""

    path: str
    fingerprint: str


class CardDocument(TypedDict):
    """The fields of ``dataset.json`` that are read again."""

    version: int
    corpus: str
    protocol: StoredProtocol
    crop: CropDocument
    checksums: Checksums
    drawn_from: NotRequired[DrawnFrom]


class Counts(TypedDict):
    """The counts of a preparation."""

    found: dict[str, int]
    crops: int
    subjects: int
    sequences: int
    pairs: int
    without_subject: int
    per_class: dict[str, int]
    pictures_with_several_faces: int
    pictures_without_a_face: NotRequired[int]
    without_label: NotRequired[int]


class SkippedDocument(TypedDict):
    """The inputs skipped for one reason."""

    reason: str
    fault: bool
    count: int
    paths: list[str]


class FinishedCard(CardDocument, TypedDict("_Skipped", {SKIPPED: list[SkippedDocument]})):  # type: ignore[misc]  # the key is named once
    """The fields of ``dataset.json`` that a summary shows."""

    settings: dict[str, Any]
    counts: Counts


class FaceDocument(TypedDict):
    """The fields of a line of ``faces.jsonl`` that are read again."""

    file_name: str
    sha256: str
    faces_found: int
    source: NotRequired[str]


def read_metadata(folder: Path, *, folds: int, size: int) -> pd.DataFrame:
    """The rows of the dataset in ``folder``, as :attr:`PreparedDataset.metadata` has them.

    ``folds`` is how many folds its protocol has, ``size`` the side of its crops in pixels. Raises
    :class:`~fer_cli.errors.DatasetError`, naming the row, counted from 1, its field and its value, for what no
    preparation writes: a value that means nothing, a row twice, a neutral picture that is no row, not neutral or of
    another subject, a subject in two folds, votes that are no numbers or all zero, a row without a label that has no
    votes or is not for training, a crop that is not there, of another size or outside ``folder``.
    """
    path = folder / METADATA
    try:
        rows = pd.read_csv(
            io.BytesIO(read_bytes(path)),
            dtype=dict.fromkeys((*COLUMNS, *VOTE_COLUMNS), "string"),
            keep_default_na=False,
            na_values=[""],
        )
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise DatasetError(f"{path} lacks the columns {', '.join(missing)}.")
    voted = any(column in rows for column in VOTE_COLUMNS)
    missing = [column for column in VOTE_COLUMNS if voted and column not in rows]
    if missing:
        raise DatasetError(f"{path} has votes, and lacks the columns {', '.join(missing)}.")
    columns: dict[str, list[str | None]] = {
        column: [None if pd.isna(value) else value for value in rows[column]]
        for column in (*COLUMNS, *(VOTE_COLUMNS if voted else ()))
    }
    votes = {name: columns[name] for name in VOTE_COLUMNS if voted}
    problem = (
        next(_vote_problems(votes), None)
        or next(_problems({name: columns[name] for name in COLUMNS}, _for_expressions(votes), folds), None)
        or next(_crop_problems(columns["file_name"], folder, size), None)
    )
    if problem is not None:
        place, column, why, *hint = problem
        value = columns[column][place]
        shown = "empty" if value is None else repr(value if len(value) <= 80 else f"{value[:80]}…")
        raise DatasetError(f"{path}, row {place + 1}: '{column}' is {shown}, {why}.", hint="".join(hint))
    numbers = [None if text is None else int(text.partition(".")[0]) for text in columns["fold"]]
    counts = {name: pd.array(list(map(_whole, values)), dtype="Int64") for name, values in votes.items()}
    return rows.assign(fold=pd.array(numbers, dtype="Int64"), **counts)


#: A number of votes; programs that keep tables may have written 3 as 3.0.
_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0*)?")


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text.partition(".")[0])


def _vote_problems(votes: dict[str, list[str | None]]) -> Iterator[Problem]:
    for place, row in enumerate(zip(*votes.values(), strict=True)):
        if all(value is None for value in row):
            continue
        for name, value in zip(votes, row, strict=True):
            if value is None or not _NUMBER.fullmatch(value):
                yield place, name, "no number of votes"
        if not any(map(_whole, row)):
            yield place, VOTE_COLUMNS[0], "as all votes of its row are"


def _for_expressions(votes: dict[str, list[str | None]]) -> set[int]:
    """The places of the rows with a vote for an expression; of what :func:`_vote_problems` has passed."""
    counts = [votes[f"votes_{name}"] for name in EXPRESSIONS] if votes else []
    return {place for place, row in enumerate(zip(*counts, strict=True)) if any(map(_whole, row))}


def _problems(columns: dict[str, list[str | None]], voted: set[int], folds: int) -> Iterator[Problem]:
    place_of: dict[str | None, int] = {}
    fold_of: dict[str, str] = {}
    for place, row in enumerate(map(Row._make, zip(*columns.values(), strict=True))):
        if row.label is None and place in voted:
            if row.split not in (None, "train"):
                yield place, "label", "though the row is not one to train on"
        elif row.label not in EXPRESSIONS:
            yield place, "label", f"none of {', '.join(EXPRESSIONS)}"
        if row.role not in ROLES:
            yield place, "role", f"none of {', '.join(ROLES)}"
        if row.role == "neutral" and row.label != NEUTRAL:
            yield place, "label", "though the row's 'role' is neutral"
        if not _is_inside(row.file_name):
            yield place, "file_name", "which is no path inside its folder"
        if place_of.setdefault(row.file_name, place) != place:
            yield place, "file_name", f"as in row {place_of[row.file_name] + 1}"
        if not folds and row.split is not None and row.split not in SPLITS:
            yield place, "split", f"none of {', '.join(SPLITS)}"
        if (why := _fold_problem(row, folds)) is not None:
            yield place, "fold", why
        if row.subject is not None and row.fold is not None:
            first = fold_of.setdefault(row.subject, row.fold)
            if float(first) != float(row.fold):
                yield place, "fold", f"and subject {row.subject} is in fold {first} before"
    for place, row in enumerate(map(Row._make, zip(*columns.values(), strict=True))):
        if row.neutral_file_name is None:
            continue
        neutral = place_of.get(row.neutral_file_name)
        if not _is_inside(row.neutral_file_name):
            yield place, "neutral_file_name", "which is no path inside its folder"
        elif neutral is None:
            yield place, "neutral_file_name", "which is the 'file_name' of no row"
        elif neutral == place:
            yield place, "neutral_file_name", "which compares a picture with itself"
        elif columns["label"][neutral] != NEUTRAL:
            yield place, "neutral_file_name", f"which shows {columns['label'][neutral]}"
        elif row.subject is None or columns["subject"][neutral] != row.subject:
            who = (columns["subject"][neutral] or "nobody who is named", row.subject or "nobody who is named")
            yield place, "neutral_file_name", "which shows {}, and the row {}".format(*who)


def _fold_problem(row: Row, folds: int) -> str | None:
    if not folds:
        return None if row.fold is None else "and the protocol has no folds"
    if row.subject is None:
        return None if row.fold is None else "though the row names no subject, who may be in any other fold"
    # Programs that keep tables may have written 3 as 3.0.
    if row.fold is None or not re.fullmatch(r"[0-9]{1,4}(\.0*)?", row.fold) or float(row.fold) >= folds:
        return f"no fold from 0 to {folds - 1}"
    return None


def _is_inside(name: str | None) -> bool:
    path = PurePosixPath(name or "/")
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in str(path)


def _crop_problems(names: list[str | None], folder: Path, size: int) -> Iterator[Problem]:
    top = Path(os.path.realpath(folder))
    files: dict[str, dict[str, os.DirEntry[str]]] = {}
    for place, name in enumerate(names):
        parent, _, file = (name or "").rpartition("/")
        if parent not in files:
            if not Path(os.path.realpath(folder / parent)).is_relative_to(top):
                yield place, "file_name", "which leaves its folder by a symbolic link"
            files[parent] = _listed(folder / parent)
        entry = files[parent].get(file)
        if entry is None or not entry.is_file():
            yield place, "file_name", "and there is no such file", MADE_ANEW
        elif entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(top):
            yield place, "file_name", "which leaves its folder by a symbolic link"
    for place in range(0, len(names), max(1, len(names) // HEADERS_READ)):
        found = _size_of(folder / (names[place] or ""))
        if found != (size, size):
            shown = "no picture in PNG" if found is None else "a picture of {}×{} pixels".format(*found)
            yield place, "file_name", f"{shown}, and the dataset's crops have {size}×{size}", MADE_ANEW


def _listed(folder: Path) -> dict[str, os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError:
        return {}


def _size_of(path: Path) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
