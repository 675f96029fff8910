"""Table of a benchmark's results: made of its cells, stored as Parquet, and compared with an earlier one.

A row is a cell, all its predictions together, or one of its folds; ``fold`` is missing in the first. Texts are never
missing but empty, numbers may be. The table depends on its cells alone, not on their order, the time or the place.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fer_cli
from fer_cli.benchmark.cells import COLUMNS, EVALUATIONS, NEUTRAL_ACCESS, PREDICTIONS, VERSION, CellResult
from fer_cli.errors import FerError
from fer_cli.evaluation.metrics import METRICS
from fer_cli.files import as_text, read_bytes, written_whole

RESULTS = "results.parquet"
#: The metric of a benchmark that names none.
DEFAULT_METRIC = "unweighted_average_recall"
WHOLE = ("repeat", "seed", "train_subjects", "fold", "n", "subjects", "train_n")
TEXTS = tuple(name for name in COLUMNS if name not in (*WHOLE, "chance"))
#: What tells the cells of a table apart.
KEYS = ("recipe", "evaluation", "train", "test", "neutral", "repeat", "seed", "train_subjects")
#: The names of its fields in the file's metadata.
_FER, _VERSION = b"fer", b"fer_benchmark"
#: Limits of a file from outside: bytes, rows, and the letters of all its texts.
MAX_FILE, MAX_ROWS, MAX_LETTERS = 100_000_000, 500_000, 500_000_000


def metric_columns() -> list[str]:
    """The columns of the metrics: each with the ends of its interval."""
    return [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]


def results_table(results: Sequence[CellResult]) -> pd.DataFrame:
    """The table of ``results``: :data:`~fer_cli.benchmark.cells.COLUMNS`, then the metrics with their intervals.

    What a row leaves open is filled from its cell. Rows are sorted by evaluation, training and test datasets, recipe,
    neutral access, and so on; folds follow their cell. Texts have pandas' own type of them, whole numbers ``Int64``.
    """
    rows = [{**_of_cell(result), **row} for result in results for row in result.rows]
    return _ordered(_typed(pd.DataFrame(rows, columns=[*COLUMNS, *metric_columns()], dtype=object)))


def _of_cell(result: CellResult) -> dict[str, Any]:
    cell = result.cell
    own = {name: getattr(cell, name) for name in KEYS}
    return {**own, "cell": cell.digest, "status": result.status, "reason": result.reason}


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    columns: dict[Any, pd.Series] = {}
    for name, values in table.items():
        if name in TEXTS:
            columns[name] = pd.Series([_text(str(name), value) for value in values], index=table.index, dtype=str)
        else:
            columns[name] = pd.to_numeric(values, errors="coerce").astype("Int64" if name in WHOLE else float)
    return pd.DataFrame(columns)


def _text(name: str, value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {"train": " + ", "notes": " "}.get(name, ", ").join(map(str, value))
    # Names of files that are no UTF-8 have surrogates, which are no text to pandas and Parquet.
    return "" if value is None or value is pd.NA or value != value else as_text(value)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    by = ["evaluation", "train", "test", "recipe", "neutral", "train_subjects", "repeat", "seed", "fold", "cell"]
    places = {name: place for place, name in enumerate((*EVALUATIONS, PREDICTIONS, *NEUTRAL_ACCESS))}
    keys = table[by].assign(**{name: table[name].map(places) for name in ("evaluation", "neutral")})
    return table.loc[keys.sort_values(by, na_position="first", kind="stable").index].reset_index(drop=True)


def write_results(table: pd.DataFrame, out: Path) -> None:
    """Write ``table`` to the file ``out`` whole or not at all: the same table gives the same bytes.

    The file's metadata have the version of fer and that of the table. Raises :class:`~fer_cli.errors.FerError` if it
    cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: pa.string() if name in TEXTS else pa.int64() if name in WHOLE else pa.float64() for name in table}
    noted = {_FER: fer_cli.__version__.encode(), _VERSION: str(VERSION).encode()}
    schema = pa.schema(kinds.items(), noted)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as part:
            pq.write_table(pa.Table.from_pandas(table, schema, preserve_index=False).cast(schema), part)
    except OSError as error:
        raise FerError(f"{out} cannot be written: {error.strerror or error}.", hint="Type --out FOLDER.") from error


def read_results(path: Path) -> pd.DataFrame:
    """The table that :func:`write_results` wrote to ``path``.

    Raises :class:`~fer_cli.errors.FerError` if it cannot be read, is larger than such a table can be, is of another
    version, or lacks a column or has one of another type. Metrics that it does not have are missing values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = read_bytes(path, MAX_FILE)
    except OSError as error:
        raise FerError(
            f"{path} cannot be read: {error.strerror or error}.", hint=f"Name the {RESULTS} of a benchmark."
        ) from error
    try:
        limits = {"thrift_string_size_limit": MAX_FILE, "thrift_container_size_limit": MAX_FILE}
        file = pq.ParquetFile(BytesIO(content), **limits)
        _check_version(path, file.schema_arrow.metadata or {})
        columns = _check_columns(path, file.schema_arrow)
        if file.metadata.num_rows > MAX_ROWS:
            raise FerError(f"{path} has {file.metadata.num_rows} rows, more than {MAX_ROWS}: that is no benchmark's.")
        file = pq.ParquetFile(BytesIO(content), read_dictionary=list(TEXTS), **limits)
        found = file.read(columns=columns, use_threads=False)
        _check_letters(path, found)
        table = _typed(found.to_pandas(strings_to_categorical=True).astype(object).reindex(columns=_all_columns()))
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise FerError(f"{path} cannot be read as a benchmark's results: {_line(error)}.") from error
    _check_values(path, table)
    return _ordered(table)


def _all_columns() -> list[str]:
    return [*COLUMNS, *metric_columns()]


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _check_version(path: Path, noted: dict[bytes, bytes]) -> None:
    version = noted.get(_VERSION, b"")
    if version == str(VERSION).encode():
        return
    if not version:
        raise FerError(f"{path} is not a table of results that fer wrote.", hint=f"Name a benchmark's {RESULTS}.")
    fer = noted.get(_FER, b"?")[:30].decode("utf-8", "backslashreplace")
    raise FerError(
        f"{path} is a table of results of version {version[:20].decode('utf-8', 'backslashreplace')}, written by fer "
        f"{fer}; this is fer {fer_cli.__version__}, which reads version {VERSION}.",
        hint="Type fer benchmark SPEC.toml --out FOLDER with the specification next to it, which computes it again.",
    )


def _check_columns(path: Path, schema: Any) -> list[str]:
    """The columns to read."""
    from pyarrow import types

    there = set(schema.names)
    lacking = [name for name in COLUMNS if name not in there]
    if lacking or len(there) < len(schema.names):
        what = f"lacks the column '{lacking[0]}'" if lacking else "has a column twice"
        raise FerError(f"{path} {what}: it is not a table of results that fer wrote.")
    read = [name for name in _all_columns() if name in there]
    for name in read:
        kind = schema.field(name).type
        if name in TEXTS:
            fits = types.is_string(kind) or types.is_large_string(kind)
        else:
            fits = types.is_integer(kind) if name in WHOLE else types.is_floating(kind)
        if not fits and not types.is_null(kind):
            wanted = "text" if name in TEXTS else "whole numbers" if name in WHOLE else "numbers"
            raise FerError(f"{path} has {kind} in the column '{name}' where {wanted} should be.")
    return read


def _check_letters(path: Path, found: Any) -> None:
    """Few bytes of a file can stand for texts that fill any memory: each is stored once, however many rows have it."""
    import pyarrow.compute as pc

    letters = 0
    for name in set(TEXTS) & set(found.column_names):
        for chunk in found[name].chunks:
            if hasattr(chunk, "dictionary"):
                letters += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    if letters > MAX_LETTERS:
        raise FerError(f"{path} has more text than a table of results can have.")


def _check_values(path: Path, table: pd.DataFrame) -> None:
    allowed = {
        "evaluation": (*EVALUATIONS, PREDICTIONS),
        "neutral": NEUTRAL_ACCESS,
        "status": ("done", "failed"),
    }
    for name, values in allowed.items():
        other = table.loc[~table[name].isin(values), name]
        if len(other):
            raise FerError(f"{path} has '{other.iloc[0][:60]}' in the column '{name}', not {', '.join(values)}.")
    if table.duplicated([*KEYS, "fold"]).any():
        row = table[table.duplicated([*KEYS, "fold"])].iloc[0]
        raise FerError(f"{path} has a cell twice: {row['recipe'][:60]}, {row['evaluation']}, {row['test'][:60]}.")


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` that are whole cells, not their folds."""
    return table[table["fold"].isna()]


def against(now: pd.DataFrame, before: pd.DataFrame, metric: str = DEFAULT_METRIC) -> pd.DataFrame:
    """What became of each cell of an earlier table of results.

    Cells are matched by :data:`KEYS`, which the table begins with. ``change`` is ``new``, ``lost``, ``failed`` (it was
    done before), ``done`` (it had failed), ``changed`` or ``same``. ``before`` and ``now`` are the values of
    ``metric``, each with ``_low`` and ``_high``, and ``difference`` is now less before. ``apart`` says that the two
    intervals have no number in common; that is no test, since both may be of the same subjects. ``same_inputs`` says
    that the cell depends on nothing that has changed, fer's version included: then its numbers should not differ.
    """
    columns = {"cell": "digest", "status": "status", metric: "value", f"{metric}_low": "low", f"{metric}_high": "high"}
    sides = [pooled(table)[[*KEYS, *columns]].rename(columns=columns) for table in (before, now)]
    both = sides[0].merge(sides[1], how="outer", on=list(KEYS), suffixes=("_before", "_now"), indicator="where")
    first, second = both["value_before"], both["value_now"]
    same = (first == second) | (first.isna() & second.isna())
    done = [(both[f"status_{side}"] == "done").to_numpy(bool) for side in ("before", "now")]
    change = np.select(
        [both["where"] == "right_only", both["where"] == "left_only", done[0] & ~done[1], ~done[0] & done[1], same],
        ["new", "lost", "failed", "done", "same"],
        "changed",
    )
    found = both[list(KEYS)].assign(
        change=change,
        before=first,
        before_low=both["low_before"],
        before_high=both["high_before"],
        now=second,
        now_low=both["low_now"],
        now_high=both["high_now"],
        difference=second - first,
        apart=(both["low_now"] > both["high_before"]) | (both["high_now"] < both["low_before"]),
        same_inputs=(both["digest_before"] == both["digest_now"]).to_numpy(bool),
    )
    return found.sort_values(["evaluation", "train", "test", "recipe"], kind="stable").reset_index(drop=True)
