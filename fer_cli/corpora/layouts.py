"""Layouts that several corpora share: names of files that say who shows what, folders of splits, tables of labels."""

import os
import re
import unicodedata
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar

from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Skipped, Still
from fer_cli.corpora.io import (
    about_the_middle,
    files_below,
    folders_below,
    folders_in,
    frame_count,
    is_file,
    split_named,
    why_unreadable,
)
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture
from fer_cli.labels import CLASS_SETS, NEUTRAL, expression
from fer_cli.tables import LABEL_COLUMNS, PATH_COLUMNS, SUBJECT_COLUMNS, Table

#: The endings of what owners and users put next to pictures and videos: documents, tables, 3D models, sound, archives.
_ACCOMPANYING = """
txt md rst pdf doc docx rtf ps html htm csv tsv xls xlsx json xml yaml yml mat npy pts py m r ipynb wrl obj ply bnd pse
wav mp3 zip tar tgz gz bz2 xz rar 7z
"""
ACCOMPANYING = frozenset(f".{ending}" for ending in _ACCOMPANYING.split())
COPY = "another file of the same picture or clip (counted once)"
#: Codes of the expressions that several owners use.
TWO_LETTERS = {
    **{"an": "anger", "di": "disgust", "fe": "fear", "ha": "happiness"},
    **{"ne": "neutral", "sa": "sadness", "su": "surprise"},
}
#: How far below the given folder those of the splits may be.
SPLITS_DEPTH = 4


def unexplained(path: Path, title: str) -> Skipped:
    """The report of a file in the corpus ``title`` that no rule of its owners' names explains.

    It is a fault, unless it is neither a picture nor a video but a document, sound or the like.
    """
    if path.suffix.lower() in ACCOMPANYING or path.stem.lower() in ("readme", "license", "makefile"):
        return Skipped(str(path), "neither a picture nor a video", fault=False)
    return Skipped(str(path), f"a name that {title} does not use")


class NamedFiles(Corpus):
    """``file_name`` is the owners' way of naming, and identifies the corpus.

    ``codes`` are its spellings of the expressions, in lower case; None for what is no expression. ``files_called`` is
    the name of its files in :attr:`Reading.found`.
    """

    file_name: ClassVar[re.Pattern[str]]
    codes: ClassVar[Mapping[str, str | None]]
    files_called: ClassVar[str]

    def find(self, root: Path) -> Path | None:
        """``root``, if files at any depth are named as the owners name them."""
        return root if any(self.file_name.fullmatch(path.name) for path in files_below(root)) else None

    def original(self, match: re.Match[str]) -> tuple[str, int]:
        """Identity of the recording in a file of this name, and the file's rank: of several the lowest is taken.

        The owners use each name once, so that two files of one name are copies, in whatever folder and format.
        """
        return Path(match.string).stem.lower(), 0

    def named(self, root: Path, reading: Reading) -> Iterator[tuple[Path, re.Match[str]]]:
        """The files that are named as the owners name them, one of each; all others are added to ``reading``."""
        chosen: dict[str, tuple[int, Path, re.Match[str]]] = {}
        for path in files_below(root):
            match = self.file_name.fullmatch(path.name)
            if match is None:
                reading.skipped.append(unexplained(path, self.title))
                continue
            name, rank = self.original(match)
            new = (rank, path, match)
            if name in chosen:
                kept, copy = sorted((chosen[name], new), key=lambda entry: entry[0])
                reading.skip(copy[1], COPY, fault=False)
                new = kept
            chosen[name] = new
        reading.found[self.files_called] = len(chosen)
        for _, path, match in chosen.values():
            yield path, match

    def label(self, code: str, path: Path) -> str | None:
        """The expression that ``code`` means, None if it is none of the vocabulary.

        Raises :class:`~fer_cli.errors.CorpusError` for a code that the owners do not use.
        """
        try:
            return self.codes[code.lower()]
        except KeyError:
            raise CorpusError(
                f"The code '{code}' in the name of {path} is none of {self.title}'s.",
                hint=f"Its codes are {', '.join(self.codes)}.",
            ) from None


class NamedStills(NamedFiles):
    """Stills of known subjects, each described by its file's name."""

    classes: ClassVar[str] = "7-neutral"
    files_called: ClassVar[str] = "pictures"

    @abstractmethod
    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """The still of a file of this name, or the reason to skip it by rule."""

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture as a still; what is not named as the owners name it is skipped and reported."""
        reading = Reading()
        for path, match in self.named(root, reading):
            still = self.still(path, match)
            if isinstance(still, str):
                reading.skip(path, still, fault=False)
            else:
                reading.records.append(still)
        return reading

    def make_still(
        self, code: str, path: Path, subject: str, view: str | None = None, session: str | None = None
    ) -> Still | str:
        """The still for ``code``, or why there is none."""
        label = self.label(code, path)
        if label is None:
            return f"{code.lower()} is not in the vocabulary"
        return Still(Frame(path), label, subject, view=view, session=session)


class NamedClips(NamedFiles):
    """Videos of known subjects, each described by its file's name.

    Nobody annotated the apex: it is taken to be about the middle of a clip. The middle of a neutral clip is a neutral
    picture of its subject.
    """

    classes: ClassVar[str] = "6"
    files_called: ClassVar[str] = "clips"

    @abstractmethod
    def describe(self, match: re.Match[str]) -> tuple[str, str] | str:
        """Subject and code of the file named so, or why it is skipped by rule."""

    def view(self, match: re.Match[str]) -> str | None:
        """View of a file of this name, shared with the neutral clips that it may be compared with."""
        return None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """A sequence without a neutral frame for each clip of an expression, a still for each neutral clip."""
        reading = Reading()
        for path, match in self.named(root, reading):
            described = self.describe(match)
            if isinstance(described, str):
                reading.skip(path, described, fault=False)
                continue
            subject, code = described
            label = self.label(code, path)
            if label is None:
                reading.skip(path, f"code {code} is not in the vocabulary", fault=False)
            else:
                add_clip(reading, path, subject, path.stem, label, apex_frames, view=self.view(match))
        return reading


def add_clip(
    reading: Reading,
    path: Path,
    subject: str | None,
    sequence: str,
    label: str,
    apex_frames: int,
    *,
    view: str | None = None,
    split: str | None = None,
) -> None:
    """Add to ``reading`` the frames about the middle of a clip, as a sequence without a neutral frame.

    Of a neutral clip, and of one whose subject is not known, it is the frame in the middle as a still. A clip that
    cannot be read is skipped.
    """
    count = frame_count(path)
    if count is None or count < 3:
        reading.skip(path, why_unreadable(path))
        return
    if label == NEUTRAL or subject is None:
        [middle] = about_the_middle(count, 1)
        frame = Frame(path, index=middle, kind="video")
        reading.records.append(Still(frame, label, subject, split=split, view=view))
        return
    frames = tuple(Frame(path, index=index, kind="video") for index in about_the_middle(count, apex_frames))
    apexes = tuple(range(len(frames)))
    reading.records.append(Sequence(subject, sequence, frames, label, None, apexes, "middle of the clip", view))


class SplitFolders(Corpus):
    """Pictures in ``SPLIT/EXPRESSION/``; ``splits`` maps the owners' folders, in lower case, to a split's name."""

    splits: ClassVar[Mapping[str, str]]
    classes: ClassVar[str] = "7-neutral"

    def find(self, root: Path) -> Path | None:
        """The folder that the splits' folders are in."""
        for folder in folders_below(root, SPLITS_DEPTH):
            splits = [child for child in folders_below(folder, 1) if child != folder and self._split_of(child)]
            if any(map(_has_expressions, splits)):
                return folder
        return None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture, with the owners' split. Who is shown is not known."""
        reading = Reading()
        for folder in folders_below(root, 1):
            split = self._split_of(folder)
            if split is None or folder == root:
                continue
            for path in files_below(folder):
                if not is_picture(path):
                    reading.skipped.append(unexplained(path, self.title))
                    continue
                reading.found["pictures"] += 1
                inside = path.relative_to(folder).parts
                if len(inside) < 2:
                    reading.skip(path, f"no label: the {split} pictures are unsorted", fault=False)
                    continue
                label = expression(inside[0])
                if label is None:
                    raise CorpusError(
                        f"The folder {folder / inside[0]} is named after no expression of {self.title}.",
                        hint=f"Its expressions are {', '.join(CLASS_SETS[self.classes])}.",
                    )
                reading.found[split] += 1
                reading.records.append(Still(Frame(path), label, split=split))
        return reading

    def _split_of(self, folder: Path) -> str | None:
        return self.splits.get(folder.name.lower())


def _has_expressions(folder: Path) -> bool:
    return sum(expression(child.name) is not None for child in folders_below(folder, 1)) >= 2


#: Each field, and what its column may be called.
NEEDED = {"path": PATH_COLUMNS, "label": LABEL_COLUMNS}
OPTIONAL = {"subject": SUBJECT_COLUMNS, "sequence": ("sequence",), "frame": ("frame",), "split": ("split",)}
REPEATED = "a row that repeats an earlier one"
#: How many rows tell which folder the paths are from.
FIRST_ROWS = 20
CONTRADICTING = "a row that contradicts another of the same picture"


def rows_of(
    table: Path, root: Path, reading: Reading, meaning: Callable[[str], str]
) -> list[tuple[Path, dict[str, str]]]:
    """Each row's picture and what the table says of it.

    ``path`` is from ``root`` and may not leave it, or, where none of the first rows' pictures is there, from the first
    folder in it that has one: tables often stand next to the folder of their pictures.
    A row that repeats another is dropped. Where rows say different things of one picture (two raters), nobody knows
    which is right: none is used, and each is a fault. ``meaning`` gives labels that mean the same one form. What cannot
    be used is added to ``reading``. Raises :class:`~fer_cli.errors.CorpusError` if the table cannot be read, lacks a
    column, or has a split that is none.
    """
    rows = Table(table, CorpusError)
    columns = {field: rows.column(names) for field, names in (NEEDED | OPTIONAL).items()}
    missing = [field for field in NEEDED if columns[field] is None]
    path_column = columns["path"]
    if missing or path_column is None:
        raise CorpusError(
            f"{table} lacks the columns {', '.join(missing)}: it has {', '.join(filter(None, rows.columns))}.",
            hint=f"It needs {' and '.join(NEEDED)}, and may have {', '.join(OPTIONAL)}.",
        )
    places = _Places(_folder_of(rows, path_column, root))
    found: dict[tuple[Path, str | None], list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for row in rows:
        where = f"{table.name}:{row.line}"
        fields = {
            field: unicodedata.normalize("NFC", value)
            for field, column in columns.items()
            if field != "path" and column is not None and (value := row.values.get(column, ""))
        }
        path = row.values.get(path_column, "")
        picture = places.find(path) if path and "label" in fields else "a row without a path or a label"
        if row.problem or isinstance(picture, str):
            reading.skip(where, row.problem or str(picture))
        else:
            if "split" in fields:
                fields["split"] = split_named(fields["split"], where)
            # A picture may be a frame of several sequences, such as their common neutral one.
            found[picture, fields.get("sequence")].append((where, fields))
    kept = []
    for (picture, _), entries in found.items():
        labelled = [fields | {"label": meaning(fields["label"])} for _, fields in entries]
        if all(fields == labelled[0] for fields in labelled):
            kept.append((picture, entries[0][1]))
            reading.skipped += [Skipped(where, REPEATED, fault=False) for where, _ in entries[1:]]
        else:
            reading.skipped += [Skipped(where, CONTRADICTING) for where, _ in entries]
    return kept


def _folder_of(table: Table, column: str, root: Path) -> Path:
    first = [value for row in islice(table, FIRST_ROWS) if (value := row.values.get(column, ""))]
    for folder in (root, *folders_in(root)):
        places = _Places(folder)
        if any(places.there(text) for text in first):
            return folder
    return root


class _Places:
    """Finds the pictures that a table names below a folder."""

    def __init__(self, root: Path):
        self._root = root
        self._absolute = [root.absolute(), root.resolve()]

    def find(self, text: str) -> Path | str:
        """The file that ``text`` names, or why there is none."""
        if (path := self.there(text)) is not None:
            return path
        composed = ""
        for spelled in _spelled(text):
            inside = self._inside(spelled)
            if inside is None:
                return "a path that leaves the folder"
            composed = unicodedata.normalize("NFC", inside.as_posix())
        return self._composed.get(composed, "a picture of the table that is not there")

    def there(self, text: str) -> Path | None:
        """The file of just this name, if it is there."""
        inside = [self._inside(spelled) for spelled in _spelled(text)]
        return next((self._root / path for path in inside if path is not None and is_file(self._root / path)), None)

    def _inside(self, text: str) -> PurePosixPath | Path | None:
        path = Path(os.path.normpath(text))
        if path.is_absolute():
            above = next((each for each in self._absolute if path.is_relative_to(each)), None)
            return None if above is None else path.relative_to(above)
        drive = PureWindowsPath(text).drive and os.name != "nt"
        return None if drive or ".." in path.parts else path

    @cached_property
    def _composed(self) -> dict[str, Path]:
        """The pictures by their path with composed letters: macOS writes names with decomposed ones."""
        return {
            unicodedata.normalize("NFC", path.relative_to(self._root).as_posix()): path
            for path in files_below(self._root)
        }


def _spelled(text: str) -> list[str]:
    """``text`` with its own slashes, and with those of Windows turned."""
    return list(dict.fromkeys((text, text.replace("\\", "/"))))
