"""What is known of the subjects beside their faces: a table that a person keeps."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from fer_cli.errors import DatasetError, UsageError
from fer_cli.runs.ancestry import names
from fer_cli.tables import SUBJECT_COLUMNS, Table

#: What the column that names the subject is called, in the order in which it is looked for; in any case.
KEYS = (*SUBJECT_COLUMNS, "id")
_MOST_BYTES = 64 * 1024**2


def read_attributes(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The ``columns`` of a table of subjects, indexed by subject; all are text, NA where nothing is written.

    The subject stands in the first of the columns :data:`KEYS` that the file has. Raises
    :class:`~fer_cli.errors.DatasetError` if the file cannot be read, does not name the subjects, has a row that does
    not fit its header, or says two things of one subject; :class:`~fer_cli.errors.UsageError` if it lacks one of
    ``columns``.
    """
    opened = Table(path, DatasetError, limit=_MOST_BYTES)
    key = opened.column(KEYS)
    if key is None:
        raise DatasetError(
            f"{path} does not say whom its rows are about: its columns are {', '.join(opened.columns)}.",
            hint=f"Call the column of the subjects '{KEYS[0]}' (or {', '.join(KEYS[1:])}).",
        )
    others = [name for name in opened.columns if name not in (key, "")]
    missing = [name for name in columns if name.strip().casefold() not in others]
    if missing:
        raise UsageError(
            f"--group-by {missing[0]}: {path} has no such column.", hint=f"It has {', '.join(others) or 'none'}."
        )
    rows = []
    for row in opened:
        if row.problem:
            raise DatasetError(f"{path}, line {row.line}: {row.problem}.")
        subject = unicodedata.normalize("NFC", row.values[key])
        rows.append([subject or None, *(row.values[name.strip().casefold()] or None for name in columns)])
    table = pd.DataFrame(rows, columns=[key, *columns], dtype="string")
    by_subject = table.dropna(subset=key).groupby(key)[list(dict.fromkeys(columns))]
    torn = by_subject.nunique().gt(1).any(axis=1)
    if torn.any():
        raise DatasetError(
            f"{path} says two things of {names(sorted(torn.index[torn]))}.", hint="Keep one row a subject."
        )
    return by_subject.first()


def spelled_as(attributes: pd.DataFrame, subjects: Iterable[str]) -> pd.DataFrame:
    """``attributes`` with the index spelled as the dataset spells its ``subjects``, where both mean the same.

    Letters may be decomposed, as macOS writes them, and zeros in front may be lost, as Excel loses them: ``1`` is
    ``001`` where only one subject and only one row can be meant.
    """
    ours, theirs = _by_form(subjects), _by_form(attributes.index)
    return attributes.rename(index={theirs[form]: ours[form] for form in ours.keys() & theirs.keys()})


def _by_form(subjects: Iterable[str]) -> dict[str, str]:
    """Each subject by what is left of its name without zeros in front, where no other has the same left."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(subjects):
        form = unicodedata.normalize("NFC", name)
        alike.setdefault((form.lstrip("0") or "0") if form.isascii() and form.isdigit() else form, []).append(name)
    return {form: names[0] for form, names in alike.items() if len(names) == 1}
