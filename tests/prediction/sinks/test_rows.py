import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_cli.errors import FerError, UsageError
from fer_cli.files import as_text
from fer_cli.prediction.results import (
    LANDMARKS,
    SCHEMAS,
    SKIPPED_COLUMNS,
    FacePrediction,
    Frame,
    FrameResult,
    Skipped,
    columns,
    in_schema,
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


SEVEN = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def schema_rows(path: Path, schema: str, *results: FrameResult, classes=SEVEN) -> pd.DataFrame:
    """What a sink of the ending of ``path`` writes, as pandas reads it."""
    with format_of(path, None)(path, columns(classes, schema), schema) as writer:
        for result in results:
            writer.write(result)
    if path.suffix == ".jsonl":
        # pandas' own reader would take 01:08 for a time of today.
        return pd.DataFrame(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def video_face(**settings) -> FrameResult:
    face = FacePrediction(1, dict(zip(SEVEN, (0.02, 0.03, 0, 0, 0.8, 0.15, 0, 0), strict=True)), **LOCATED, **settings)
    return FrameResult(Frame(0, Path("a.mp4"), number=1700, time=68.04), (face,))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_py_feats_names_are_the_columns_that_its_programs_look_for(tmp_path, ending):
    with_track = video_face(track=3, neutral="rest.jpg")
    named = video_face(track=3, person="anna", person_confidence=0.9)
    picture = FrameResult(Frame(1, Path("b.png")), (replace(with_track.faces[0], track=None, box=None),))
    table = schema_rows(tmp_path / f"p.{ending}", "pyfeat", with_track, named, picture)
    box = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
    emotions = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    theirs = [*box, *emotions, "input", "frame", "approx_time", "Identity"]
    assert list(table)[: len(theirs)] == theirs
    ours = ["time", "face", "track", "person_confidence", *LANDMARKS, "neutral_face", "neutral_confidence"]
    assert list(table)[len(theirs) :] == [*ours, "label", "confidence", "p_contempt"]
    first = table.iloc[0]
    assert first[box].tolist() == [1.0, -2.0, 30.0, 40.3, 0.988]
    assert table[emotions].iloc[0].tolist() == [0.02, 0, 0, 0.8, 0, 0, 0.15]
    assert (first["input"], first["frame"], first["approx_time"], first["time"]) == ("a.mp4", 1700, "01:08", 68.04)
    assert (first["neutral_face"], first["label"], first["confidence"]) == ("rest.jpg", "happiness", 0.8)
    assert table["Identity"].iloc[:2].tolist() == ["Person_3", "anna"]
    assert table[["frame", "approx_time", "Identity", "time"]].iloc[2].isna().all()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_openfaces_names_count_frames_from_1_and_faces_by_their_track(tmp_path, ending):
    picture = FrameResult(Frame(1, Path("b.png")), (FacePrediction(2, video_face().faces[0].probabilities),))
    table = schema_rows(tmp_path / f"p.{ending}", "openface", video_face(track=3), picture)
    assert list(table)[:6] == ["frame", "face_id", "timestamp", "confidence", "success", "file"]
    assert table.iloc[0, :6].tolist() == [1701, 3, 68.04, 0.988, 1, "a.mp4"]
    assert table["label_confidence"].tolist() == [0.8, 0.8]
    # A picture has no time, and its faces are counted.
    assert table.loc[1, ["frame", "timestamp", "confidence"]].isna().all()
    assert table.loc[1, "face_id"] == 2
    assert [name for name in table if name.startswith("p_")] == [f"p_{name}" for name in SEVEN]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_has_a_cell_for_each_column_and_each_of_our_values_once(schema):
    frame, face = video_face(track=0).frame, FacePrediction(0, SHARES, **LOCATED)
    row = to_row(frame, face)
    found = in_schema(row, schema)
    assert list(found) == list(columns(tuple(SHARES), schema))
    # What the model does not know has no column.
    assert "sadness" not in found
    for name, kind in columns(tuple(SHARES), schema).items():
        assert found[name] is None or type(found[name]) is kind
    ours = [cell for name, cell in row.items() if name not in ("frame", "track")]
    assert all(cell in found.values() for cell in ours)


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
