"""Table of labels for the pictures of a folder."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from fer_cli.corpora.base import Reading, Skipped
from fer_cli.corpora.io import files_below, folders_in, is_file, split_named
from fer_cli.errors import CorpusError
from fer_cli.tables import LABEL_COLUMNS, PATH_COLUMNS, SUBJECT_COLUMNS, Table

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
    if missing:
        raise CorpusError(
            f"{table} lacks the columns {', '.join(missing)}: it has {', '.join(filter(None, rows.columns))}.",
            hint=f"It needs {' and '.join(NEEDED)}, and may have {', '.join(OPTIONAL)}.",
        )
    places = _Places(_folder_of(rows, columns["path"], root))
    found: dict[tuple[Path, str | None], list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for row in rows:
        where = f"{table.name}:{row.line}"
        fields = {
            field: unicodedata.normalize("NFC", value)
            for field, column in columns.items()
            if field != "path" and column is not None and (value := row.values.get(column, ""))
        }
        path = row.values.get(columns["path"], "")
        picture = places.find(path) if path and "label" in fields else "a row without a path or a label"
        if row.problem or isinstance(picture, str):
            reading.skip(where, row.problem or picture)
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
