"""Tables of other programs are told by their columns, and read within limits."""

import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_cli.errors import DatasetError
from fer_cli.evaluation.programs import read_predictions
from fer_cli.prediction.results import SCHEMAS, columns
from tests.evaluation import tables

FILES = [f"images/{number}.png" for number in range(6)]


@pytest.mark.parametrize("write", tables.WRITERS, ids=lambda write: write.__name__)
def test_each_program_is_told_by_its_columns_and_its_scores_are_probabilities(tmp_path, write):
    program, classes = tables.WRITERS[write]
    shares = tables.scores(FILES, classes)
    read = read_predictions(write(tmp_path / "table", FILES, shares))
    assert read.program == program
    assert [face.picture for face in read.faces] == FILES
    assert set(read.vocabulary) == set(tables.named(classes))
    ours = [tables.named(classes).index(name) for name in read.classes]
    np.testing.assert_allclose(read.probabilities(read.faces), shares[:, ours], atol=1e-6)
    assert read.neutral == "none"


def test_libreface_says_expressions_alone(tmp_path):
    shares = tables.scores(FILES, tables.LIBREFACE)
    read = read_predictions(tables.libreface(tmp_path / "table", FILES, shares))
    assert (read.program, read.classes) == ("LibreFace", ())
    assert [face.label for face in read.faces] == [tables.LIBREFACE[place].lower() for place in shares.argmax(axis=1)]
    assert len(read.vocabulary) == 8


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_fer_predict_s_own_tables_are_read_in_every_schema(tmp_path, schema, ending):
    from fer_cli.prediction.sinks.rows import FORMATS

    classes = ("neutral", "anger", "contempt", "happiness")
    names = columns(classes, schema)
    shares = tables.scores(FILES, classes)
    with FORMATS[ending](tmp_path / f"faces.{ending}", names, schema) as sink:
        for file, row in zip(FILES, shares, strict=True):
            ours = dict(zip((f"p_{name}" for name in classes), row, strict=True))
            values = dict.fromkeys(names) | {name: value for name, value in ours.items() if name in names}
            # py-feat's schema has its own seven classes by their names.
            values |= {name: ours[f"p_{name}"] for name in classes if name in names and schema == "pyfeat"}
            values["input" if schema == "pyfeat" else "file"] = file
            values["label"] = classes[int(row.argmax())]
            sink.add(values)
    read = read_predictions(tmp_path / f"faces.{ending}")
    assert read.program == "fer predict"
    assert [face.picture for face in read.faces] == FILES
    assert sorted(read.classes) == sorted(classes)
    ours = [classes.index(name) for name in read.classes]
    np.testing.assert_allclose(read.probabilities(read.faces), shares[:, ours], atol=1e-6)


@pytest.mark.parametrize(
    ("neutral", "confidence", "access"),
    [(None, None, "none"), ("me.jpg", None, "given"), ("me.jpg", 0.9, "found"), ("mean", None, "mean")],
)
def test_fer_predict_s_tables_say_what_a_face_was_compared_with(tmp_path, neutral, confidence, access):
    row = {"file": "a.png", "neutral": neutral, "neutral_confidence": confidence, "label": "anger", "confidence": 0.6}
    frame = pd.DataFrame([{**row, "p_anger": 0.6, "p_fear": 0.4}])
    frame.to_csv(tmp_path / "faces.csv", index=False)
    assert read_predictions(tmp_path / "faces.csv").neutral == access


def test_action_units_alone_are_refused_with_the_reason(tmp_path):
    pd.DataFrame({"face": [0], "confidence": [0.9], "AU01_r": [1.2], "AU12_c": [1.0], "file": ["a"]}).to_csv(
        tmp_path / "openface.csv", index=False
    )
    with pytest.raises(DatasetError, match="OpenFace 2: it has action units and no expression") as raised:
        read_predictions(tmp_path / "openface.csv")
    assert "p_anger" in raised.value.hint


def test_openface_2_with_expressions_beside_its_action_units_is_read(tmp_path):
    frame = pd.DataFrame({"file": ["a", "b"], "AU01_r": [1.2, 0], "p_0": [3.1, 2.0], "label": ["Happy", "sad"]})
    frame = frame.assign(face=0, confidence=0.9)
    frame.to_csv(tmp_path / "openface.csv", index=False)
    read = read_predictions(tmp_path / "openface.csv")
    assert (read.program, [face.label for face in read.faces]) == ("OpenFace 2", ["happiness", "sadness"])


def test_rows_without_a_value_are_pictures_without_a_face(tmp_path):
    shares = tables.scores(FILES, tables.PYFEAT)
    path = tables.pyfeat(tmp_path / "table", FILES, shares)
    frame = pd.read_csv(path)
    frame.loc[2, [*tables.PYFEAT, "FaceScore"]] = np.nan
    frame.to_csv(path, index=False)
    read = read_predictions(path)
    assert read.without_face == (FILES[2],)
    assert len(read.faces) == 5
    (tmp_path / "none.json").write_text(json.dumps({"a.png": [], "b.png": [{"dominant_emotion": "happy"}]}))
    assert read_predictions(tmp_path / "none.json").without_face == ("a.png",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\n", "no row with an expression"),
        ("file,label\na.png,calm\n", "row 2: 'label' is 'calm', which is none of"),
        ("file,age\na.png,31\n", "no column of expressions"),
        ("number,label\n1,anger\n", "no column names the pictures"),
        ("file,label\n,anger\n", "row 2: 'file' names no picture"),
        (f"file,label\n{'a' * 6000},anger\n", "names no picture"),
        ("file,p_anger,p_fear\na.png,0.5,\n", "missing or not finite"),
        ("file,p_anger,p_fear\na.png,0.5,inf\n", "missing or not finite"),
        (f"file,p_anger,p_fear\na.png,0.5,{'9' * 5000}\n", "no number"),
        ("file,p_anger,p_fear\na.png,0.5,1e999\n", "missing or not finite"),
        ("file,p_anger,p_fear\na.png,0.5,0x10\n", "no number"),
        ("file,p_anger,p_fear\na.png,0,0\n", "probability 0"),
        ("file,p_happy,p_joy,p_fear\na.png,0.2,0.3,0.5\n", "both of happiness"),
        ("file,p_anger,p_fear\na.png,0.5,0.5,0.1\n", "3|4 values under 3 columns"),
        ("", "empty"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_the_place(tmp_path, text, words):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_predictions(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.csv", b"\x80\x04\x95pickle"),
        ("table.csv", b"file,label\na\x00b,anger\n"),
        ("table.json", b"[" * 100_000),
        ("table.json", b"{}"),
        ("table.json", b"[1, 2]"),
        ("table.json", b'[{"file": "a", "emotion_logits": [[1, 2]]}]'),
        ("table.json", b'[{"file": "a", "emotion_logits": {"a": 1}}]'),
        ("table.json", b'[{"file": "a", "p_anger": ' + b"9" * 5000 + b', "p_fear": 1}]'),
        ("table.json", b'[{"file": "a", "p_anger": Infinity, "p_fear": 1}]'),
        ("table.json", b'[{"file": "a", "p_anger": [1], "p_fear": 1}]'),
        ("table.json", b'[{"file": "a", "p_anger": true, "p_fear": 1}]'),
        ("table.json", b'[{"file": ["a"], "p_anger": 0, "p_fear": 1}]'),
        ("table.json", b'[{"file": "a", "p_fear": 1, "p_anger": ' + 950 * b"[" + 950 * b"]" + b"}]"),
        ("table.json", b'[{"file": "a", "label": ' + 950 * b"[" + 950 * b"]" + b"}]"),
        ("table.json", b"\xff\xfe"),
        ("table.jsonl", b'{"file": "a", "label": "anger"}\n{"file":'),
        ("table.parquet", b"PAR1 and no more PAR1"),
        ("table.parquet", b""),
    ],
)
def test_a_hostile_file_is_an_error_for_people(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match="table"):
        read_predictions(tmp_path / name)


def test_a_pipe_and_a_folder_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "table.parquet")
    for name in ("table.parquet", "."):
        with pytest.raises(DatasetError, match="cannot be read"):
            read_predictions(tmp_path / name)


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_file_larger_than_a_table_can_be_is_not_read(tmp_path, monkeypatch, ending):
    from fer_cli import files
    from fer_cli import tables as reading

    path = tmp_path / f"table.{ending}"
    frame = pd.DataFrame({"file": FILES, "label": "anger"})
    {"csv": frame.to_csv, "json": frame.to_json, "parquet": frame.to_parquet}[ending](path)
    for module in (files, reading):
        monkeypatch.setattr(module, "MAX_DOCUMENT", 20)
    monkeypatch.setattr(
        reading.Table.__init__, "__kwdefaults__", {**reading.Table.__init__.__kwdefaults__, "limit": 20}
    )
    monkeypatch.setattr(files.read_bytes, "__defaults__", (20,))
    with pytest.raises(DatasetError, match="larger than"):
        read_predictions(path)


def test_a_long_word_that_parquet_stores_once_is_not_repeated(tmp_path):
    path = tmp_path / "table.parquet"
    words = pa.DictionaryArray.from_arrays(np.zeros(5_000, np.int32), pa.array(["x" * 1_000_000]))
    rows = pa.table({"file": words, "label": ["anger"] * len(words)})
    pq.write_table(rows, path, store_schema=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(DatasetError, match="larger than one of a picture"):
        read_predictions(path)


def test_other_encodings_and_decimal_commas_are_read(tmp_path):
    text = "Datei;File;p_anger;p_fear\nä;é/1.png;0,25;0,75\n"
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "table.csv").write_bytes(text.encode(encoding))
        read = read_predictions(tmp_path / "table.csv")
        assert read.faces[0].picture == "é/1.png"
        np.testing.assert_allclose(read.probabilities(read.faces), [[0.25, 0.75]])
