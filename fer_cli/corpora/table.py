"""A table that says what each picture of a folder shows."""

import csv
from pathlib import Path

from fer_cli.corpora.record import LeftOut, Reading
from fer_cli.errors import CorpusError

NEEDED = ("path", "label")
OPTIONAL = ("subject", "sequence", "frame", "split")


def rows_of(table: Path, root: Path, reading: Reading) -> list[tuple[Path, dict[str, str]]]:
    """Each row's picture and what the table says of it; ``path`` is from ``root`` and may not leave it.

    What cannot be used is added to ``reading``. Raises :class:`~fer_cli.errors.CorpusError` if the table cannot be read
    or lacks a column.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (lines.fieldnames or ())]
            if missing:
                raise CorpusError(
                    f"{table} lacks the columns {', '.join(missing)}.",
                    mend=f"It needs {' and '.join(NEEDED)}, and may have {', '.join(OPTIONAL)}.",
                )
            rows = list(enumerate(lines, start=2))
    except OSError as error:
        raise CorpusError(f"{table} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{table} is not a table of text: {error}.") from error
    found = []
    for number, row in rows:
        where = f"{table.name}:{number}"
        fields = {name: row[name].strip() for name in (*NEEDED, *OPTIONAL) if (row.get(name) or "").strip()}
        inside = Path(fields.pop("path", ""))
        if not inside.name or "label" not in fields:
            reading.left_out.append(LeftOut(where, "a row without a path or a label"))
        elif inside.is_absolute() or ".." in inside.parts:
            reading.left_out.append(LeftOut(where, "a path that leaves the folder"))
        elif not (root / inside).is_file():
            reading.left_out.append(LeftOut(where, "a picture of the table that is not there"))
        else:
            found.append((root / inside, fields))
    return found
