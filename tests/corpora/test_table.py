from pathlib import Path

import pytest

from fer_cli.corpora.files import Files
from fer_cli.errors import CorpusError, UsageError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "corpus"
    for name in ("a.png", "b.png", "s/0.png", "s/1.png", "s/2.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path, text: str, **settings):
    table = root.parent / "rows.csv"
    table.write_text(text, encoding="utf-8")
    return Files(table=table, **settings).read(root)


def test_a_row_is_a_still(root):
    reading = read(
        root, "path,label,subject,split\na.png,neutral,P1,train\nb.png,joy,P1,test\n", rename=("joy=happiness",)
    )
    assert [(still.label, still.subject, still.split) for still in reading.records] == [
        ("neutral", "P1", "train"),
        ("happiness", "P1", "test"),
    ]


def test_rows_with_frames_are_sequences(root):
    rows = "\n".join(f"s/{frame}.png,fear,P1,{frame}" for frame in (2, 0, 1))
    [record] = read(root, f"\ufeffpath,label,subject,frame\n{rows}\n").records
    assert [frame.path.name for frame in record.frames] == ["0.png", "1.png", "2.png"]
    assert record.apexes == (1, 2)


def test_rows_that_cannot_be_used_are_named_by_their_line(root):
    rows = ("a.png,fear", "../x.png,fear", "/etc/passwd,fear", "gone.png,fear", ",fear", "b.png,")
    text = "path,label,subject\n" + "".join(f"{row},P1\n" for row in rows)
    reading = read(root, text)
    assert len(reading.records) == 1
    assert [(entry.path, entry.reason) for entry in reading.left_out] == [
        ("rows.csv:3", "a path that leaves the folder"),
        ("rows.csv:4", "a path that leaves the folder"),
        ("rows.csv:5", "a picture of the table that is not there"),
        ("rows.csv:6", "a row without a path or a label"),
        ("rows.csv:7", "a row without a path or a label"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks the columns path, label"),
        ("file,label\na.png,fear\n", "lacks the columns path"),
        ("path,label\n", "No row"),
        ("path,label\na.png,grin\n", "'grin'"),
    ],
)
def test_what_is_no_such_table_is_said(root, text, said):
    with pytest.raises(CorpusError, match=said):
        read(root, text)


def test_a_table_or_a_pattern_is_needed_and_not_both(tmp_path):
    for settings in ({}, {"pattern": "{label}.png", "table": tmp_path / "rows.csv"}):
        with pytest.raises(UsageError, match="--pattern or --table"):
            Files(**settings)
    with pytest.raises(CorpusError, match="cannot be read"):
        Files(table=tmp_path / "nowhere.csv").read(tmp_path)
