"""What is known of the subjects beside their faces: a table that a person keeps."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fer_cli.errors import DatasetError, UsageError
from fer_cli.runs.run import names

#: What the column that names the subject is called, in the order in which it is looked for; in any case.
KEYS = ("subject", "subject_id", "participant", "participant_id", "person", "person_id", "id")
_MOST_BYTES = 64 * 1024**2


def read_attributes(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The ``columns`` of a CSV file of subjects, indexed by subject; all are text, NA where nothing is written.

    The subject stands in the first of the columns :data:`KEYS` that the file has. Raises
    :class:`~fer_cli.errors.DatasetError` if the file cannot be read, does not name the subjects, or says two things of
    one of them; :class:`~fer_cli.errors.UsageError` if it lacks one of ``columns``.
    """
    table = _read(path)
    lower = {name.lower(): name for name in reversed(table.columns)}
    key = next((lower[name] for name in KEYS if name in lower), None)
    if key is None:
        raise DatasetError(
            f"{path} does not say whom its rows are about: its columns are {', '.join(table.columns)}.",
            mend=f"Call the column of the subjects '{KEYS[0]}' (or {', '.join(KEYS[1:])}).",
        )
    others = [name for name in table.columns if name != key]
    missing = [name for name in columns if name not in others]
    if missing:
        raise UsageError(
            f"--group-by {missing[0]}: {path} has no such column.", mend=f"It has {', '.join(others) or 'none'}."
        )
    by_subject = table.dropna(subset=key).groupby(key)[list(dict.fromkeys(columns))]
    torn = by_subject.nunique().gt(1).any(axis=1)
    if torn.any():
        raise DatasetError(
            f"{path} says two things of {names(sorted(torn.index[torn]))}.", mend="Keep one row a subject."
        )
    return by_subject.first()


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DatasetError(f"{path} is too large for a table of subjects: over {_MOST_BYTES // 1024**2} MiB.")
        table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise DatasetError(f"The table of subjects {path} cannot be read: {reason}.") from error
    return table.rename(columns=str.strip).apply(lambda column: column.str.strip())
