import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_cli.errors import FerError, UsageError
from fer_cli.files import as_text
from fer_cli.prediction.results import (
    SKIPPED_COLUMNS,
    FacePrediction,
    Frame,
    FrameResult,
    Skipped,
    columns,
    skipped_row,
    to_row,
)
from fer_cli.prediction.sinks.rows import (
    FORMATS,
    FORMULA,
    CsvRows,
    JsonlRows,
    RowSink,
    SkippedRows,
    format_of,
    harmless,
    rounded,
)

SHARES = {"anger": 0.25, "happiness": 0.7, "surprise": 0.05}
LOCATED = {"box": (1.04, -2, 30, 40.26), "landmarks": np.arange(10).reshape(5, 2) + 0.25, "detection": 0.98765}
COLUMNS = columns(tuple(SHARES))


def row(path="a.jpg", number=None, time=None, **face) -> dict:
    return rounded(to_row(Frame(0, Path(path), number=number, time=time), FacePrediction(0, SHARES, **face)))


def sink(path: Path) -> RowSink:
    return format_of(path, None)(path, COLUMNS)


def test_a_row_says_where_the_face_is_and_what_it_shows():
    found = row(number=12, time=0.48, neutral="rest.jpg", **LOCATED)
    assert list(found) == list(COLUMNS)
    assert {name: found[name] for name in ("file", "frame", "time", "face", "neutral", "label", "confidence")} == {
        **{"file": "a.jpg", "frame": 12, "time": 0.48, "face": 0},
        **{"neutral": "rest.jpg", "label": "happiness", "confidence": 0.7},
    }
    assert [found[name] for name in ("x", "y", "width", "height", "detection")] == [1.0, -2.0, 30.0, 40.3, 0.988]
    assert [found[name] for name in ("right_eye_x", "right_eye_y", "left_mouth_y")] == [0.2, 1.2, 9.2]
    assert [found[f"p_{name}"] for name in SHARES] == list(SHARES.values())


def test_a_picture_that_is_a_face_has_neither_box_nor_landmarks_nor_time():
    found = row()
    assert list(found) == list(COLUMNS)
    assert all(found[name] is None for name in ("frame", "time", "x", "detection", "nose_x", "neutral"))


def test_the_formats_hold_the_same(tmp_path):
    rows = [row(**LOCATED), row("b.jpg")]
    for kind in ("csv", "jsonl", "parquet"):
        with sink(tmp_path / f"p.{kind}") as writer:
            for each in rows:
                writer.add(each)
            assert not (tmp_path / f"p.{kind}").exists()
    read = [
        pd.read_csv(tmp_path / "p.csv"),
        pd.read_json(tmp_path / "p.jsonl", lines=True, precise_float=True),
        pd.read_parquet(tmp_path / "p.parquet"),
    ]
    for table in read:
        assert list(table) == list(COLUMNS)
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        # pandas reads the last digit of a number as it pleases.
        for found, wanted in zip(records, rows, strict=True):
            assert {name: round(cell, 9) if isinstance(cell, float) else cell for name, cell in found.items()} == wanted


def test_parquet_has_the_types_of_the_columns_even_where_a_column_is_empty(tmp_path):
    with sink(tmp_path / "p.parquet") as writer:
        writer.add(row("b.jpg"))
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(tmp_path / "p.parquet")
    assert [str(schema.field(name).type) for name in ("file", "frame", "time", "neutral")] == [
        *("string", "int64", "double", "string")
    ]


@pytest.mark.parametrize("first", FORMULA)
def test_a_spreadsheet_runs_nothing_and_other_formats_are_exact(first):
    name = f"{first}cmd|' /C calc'!A0.jpg"
    cells, lines = io.StringIO(), io.StringIO()
    with CsvRows(cells, COLUMNS) as table, JsonlRows(lines, COLUMNS) as objects:
        table.add(row(name, neutral=name, **LOCATED))
        objects.add(row(name))
    (read,) = csv.DictReader(io.StringIO(cells.getvalue(), newline=""))
    assert read["file"] == read["neutral"] == f"'{name}"
    # A number may be below nothing.
    assert read["y"] == "-2.0"
    assert json.loads(lines.getvalue())["file"] == name


def test_names_that_are_no_utf8_show_their_bytes():
    assert as_text(Path(os.fsdecode(b"caf\xe9/\xff.jpg"))) == r"caf\xe9/\xff.jpg"
    assert as_text("café") == "café"
    assert harmless(as_text("café")) == "café"


def test_what_was_skipped_is_a_row_too():
    frame = Frame(0, Path("a.jpg"))
    assert list(skipped_row(frame, Skipped("empty file")).items()) == [
        *(("file", "a.jpg"), ("frame", None), ("face", None), ("kind", "fault"), ("reason", "empty file"))
    ]
    assert list(skipped_row(frame, Skipped("first taken", fault=False))) == list(SKIPPED_COLUMNS)
    assert skipped_row(frame, Skipped("first taken", fault=False))["kind"] == "note"


def test_a_table_that_fails_leaves_nothing(tmp_path):
    def fail(kind: str) -> None:
        with FORMATS[kind](tmp_path / "p", COLUMNS) as writer:
            writer.add(row(**LOCATED))
            raise KeyboardInterrupt

    for kind in ("csv", "jsonl", "parquet"):
        with pytest.raises(KeyboardInterrupt):
            fail(kind)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    place = sink(tmp_path / "file" / "p.csv")
    with pytest.raises(FerError, match="cannot be written"):
        place.__enter__()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said():
    place = sink(Path("/dev/full"))
    with pytest.raises(FerError, match="No space left"):
        place.__enter__()


@pytest.mark.parametrize(
    ("name", "chosen", "kind"),
    [
        *(("p.csv", None, "csv"), ("p.JSONL", None, "jsonl"), ("p.ndjson", None, "jsonl")),
        *(("p.parquet", None, "parquet"), ("p.txt", "csv", "csv"), (None, None, "csv"), (None, "jsonl", "jsonl")),
    ],
)
def test_the_format_is_that_of_the_ending_unless_chosen(name, chosen, kind):
    assert format_of(name and Path(name), chosen) is FORMATS[kind]


def test_an_ending_that_says_nothing_is_refused():
    with pytest.raises(UsageError, match="ending") as caught:
        format_of(Path("p.txt"), None)
    assert "--format" in caught.value.hint


def test_a_reason_that_names_a_file_which_is_no_utf8_is_written(tmp_path):
    reason = f"its neutral picture: {os.fsdecode(b'caf' + bytes([0xE9]) + b'.jpg')}: no such file"
    with SkippedRows(tmp_path / "errors.csv") as errors:
        errors.write(FrameResult(Frame(0, Path("a.jpg")), skipped=(Skipped(reason, fault=True),)))
    [found] = csv.DictReader((tmp_path / "errors.csv").open(encoding="utf-8"))
    assert found["reason"] == r"its neutral picture: caf\xe9.jpg: no such file"
