import csv
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli import tables
from fer_cli.errors import CorpusError
from fer_cli.tables import Table


def table(folder, content: bytes | str, **settings) -> Table:
    path = folder / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Table(path, CorpusError, **settings)


def values(opened: Table) -> list[dict[str, str]]:
    return [row.values for row in opened]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", tables.DELIMITERS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_case_06_encoding_delimiter_and_line_end_are_told_by_the_file(tmp_path, encoding, delimiter, end):
    rows = [["Path", " Label ", "SUBJECT"], ["ä/1.jpg", "fear", "Jürgen"], ["b 2.jpg", "anger", ""]]
    opened = table(tmp_path, (end.join(map(delimiter.join, rows)) + end).encode(encoding))
    assert opened.columns == ("path", "label", "subject")
    assert values(opened) == [
        {"path": "ä/1.jpg", "label": "fear", "subject": "Jürgen"},
        {"path": "b 2.jpg", "label": "anger", "subject": ""},
    ]


def test_a_byte_order_mark_of_big_endian_utf_16_is_known(tmp_path):
    assert values(table(tmp_path, b"\xfe\xff" + "a,b\n1,é\n".encode("utf-16-be"))) == [{"a": "1", "b": "é"}]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")), min_size=3, max_size=3)))
def test_what_python_writes_comes_back(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    found = [list(row.values()) for row in values(table(tmp_path_factory.mktemp("t"), text.getvalue()))]
    stripped = [[cell.strip() for cell in row] for row in rows]
    assert found == [row for row in stripped if any(row)]


def test_rows_are_known_by_the_line_they_begin_at_and_misfits_say_so(tmp_path):
    opened = table(tmp_path, 'a,b\n1,2\n\n,\n"x\ny",3\n4\n5,6,7\n8,9,,\n')
    assert [(row.line, row.values, row.problem) for row in opened] == [
        (2, {"a": "1", "b": "2"}, None),
        (5, {"a": "x\ny", "b": "3"}, None),
        (7, {"a": "4"}, "a row of 1 values under 2 columns"),
        (8, {"a": "5", "b": "6"}, "a row of 3 values under 2 columns"),
        (9, {"a": "8", "b": "9"}, None),
    ]


def test_a_header_may_be_known_without_being_there(tmp_path):
    assert values(table(tmp_path, "1,2\n3,4\n", headerless=("A", "B"))) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert values(table(tmp_path, "b,A\n3,4\n", headerless=("A", "B"))) == [{"b": "3", "a": "4"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n1,caf\xe9\n", "not UTF-8 text: line 2 has the byte 0xe9"),
        (b"a,b\n" + b"1,2\n" * 30_000 + b"1,caf\xe9\n", "line 30002 has the byte 0xe9"),
        (b"a,b\n1,x\0y\n", "line 2 has a zero byte"),
        (b"\0" * 100, "zero byte"),
        (b'a,b\n1,2\n3,"x\n4,5\n', "no table from line 3 on"),
        (b"a,A\n", "'a' twice"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "no table from line 2 on: field larger"),
        (b"x" * (tables.MAX_LINE + 1), "longer than a row"),
        (b"\xff\xfea", "not UTF-8 text"),
    ],
    ids=str,
)
def test_what_is_no_table_is_an_error_that_names_the_line(tmp_path, content, said):
    with pytest.raises(CorpusError, match=said) as caught:
        list(table(tmp_path, content))
    assert "rows.csv" in caught.value.message


def test_a_table_of_more_bytes_than_the_limit_is_not_read_to_its_end(tmp_path):
    rows = b"a,b\n" + b"1,2\n" * 100_000
    assert len(list(table(tmp_path, rows, limit=len(rows)))) == 100_000
    with pytest.raises(CorpusError, match="larger than"):
        list(table(tmp_path, rows, limit=len(rows) - 1))


def test_what_is_no_regular_file_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path, said in ((tmp_path / "pipe.csv", "not a regular file"), (tmp_path, "directory"), (tmp_path / "x", "No")):
        with pytest.raises(CorpusError, match=said):
            Table(path, CorpusError)


def test_a_header_of_very_many_columns_is_compared_in_linear_time(tmp_path):
    names = [f"c{number:x}" for number in range(120_000)]
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n")
    assert len(Table(tmp_path / "wide.csv", CorpusError).columns) == 120_000
