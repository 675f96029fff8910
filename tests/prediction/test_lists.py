import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.errors import FerError, PictureError
from fer_cli.prediction.lists import MAX_NAME_BYTES, listed, names_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"", []),
        (b"a.jpg", ["a.jpg"]),
        (b"a.jpg\nb c.jpg\n", ["a.jpg", "b c.jpg"]),
        (b"a.jpg\r\n\r\nb.jpg\r\n", ["a.jpg", "b.jpg"]),
        (b"a\n.jpg\0b.jpg\0", ["a\n.jpg", "b.jpg"]),
        (b"caf\xe9.jpg\n", [os.fsdecode(b"caf\xe9.jpg")]),
    ],
)
def test_names_are_one_a_line_or_ended_by_nul(text, names):
    assert list(names_in(io.BytesIO(text))) == names


class Slow(io.RawIOBase):
    """Bytes that come in pieces, as through a pipe."""

    def __init__(self, pieces: list[bytes]):
        self._pieces = list(pieces)

    def read(self, size: int = -1) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1)), st.integers(1, 5))
def test_it_does_not_matter_in_what_pieces_they_come(names, size):
    text = "".join(f"{name}\0" for name in names).encode()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(names_in(Slow(pieces))) == names


def test_a_name_is_there_before_the_stream_ends():
    names = names_in(Slow([b"a.jpg\nb.", b"jpg\n"]))
    assert next(names) == "a.jpg"


def test_a_stream_of_something_else_does_not_fill_memory():
    with pytest.raises(FerError, match="no list of names"):
        list(names_in(Slow([b"\xff" * 300_000] * (MAX_NAME_BYTES // 300_000 + 1))))


@pytest.mark.parametrize("column", ["file", "path", "file_name", " Path", "IMAGE"])
def test_a_table_names_files_and_may_name_subjects(tmp_path, column):
    (tmp_path / "list.csv").write_text(f"\ufeffsubject,{column},note\nanna,x/1.jpg,\n,2.jpg,late\nbert,,\n")
    assert list(listed(tmp_path / "list.csv")) == [
        (tmp_path / "x/1.jpg", "anna", None),
        (tmp_path / "2.jpg", None, None),
    ]


def test_bytes_that_are_no_utf8_name_the_file_they_name(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"file\ncaf\xe9.jpg\n")
    assert list(listed(tmp_path / "list.csv")) == [(tmp_path / os.fsdecode(b"caf\xe9.jpg"), None, None)]


def test_a_table_without_a_column_of_paths_is_said(tmp_path):
    (tmp_path / "list.csv").write_text("picture\n1.jpg\n")
    with pytest.raises(PictureError, match="no column of paths") as caught:
        list(listed(tmp_path / "list.csv"))
    assert "'path'" in caught.value.hint


def test_an_absolute_path_stays_one(tmp_path):
    (tmp_path / "list.txt").write_text("/pictures/1.jpg\n")
    assert list(listed(tmp_path / "list.txt")) == [(Path("/pictures/1.jpg"), None, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_case_06_a_table_of_windows_names_the_pictures_it_names(tmp_path, encoding, delimiter):
    rows = [["File", " Subject"], ["ä/1.jpg", "Jürgen"], ["2.jpg", ""]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    assert list(listed(tmp_path / "list.csv")) == [
        (tmp_path / "ä/1.jpg", "Jürgen", None),
        (tmp_path / "2.jpg", None, None),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_case_06_so_does_a_list_without_columns(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes("ä.jpg\r\nb.jpg\r\n".encode(encoding))
    assert [path.name for path, *_ in listed(tmp_path / "list.txt")] == ["ä.jpg", "b.jpg"]


def test_case_06_a_row_that_does_not_fit_its_header_is_told_by_its_line(tmp_path):
    (tmp_path / "list.csv").write_text("path,subject\na.jpg,anna\nb.jpg\n\nc.jpg,bert,late\n")
    assert list(listed(tmp_path / "list.csv")) == [
        (tmp_path / "a.jpg", "anna", None),
        (tmp_path / "list.csv:3", None, "a row of 1 values under 2 columns"),
        (tmp_path / "list.csv:5", None, "a row of 3 values under 2 columns"),
    ]


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_a_pipe_is_no_list_and_nobody_waits_for_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(PictureError, match="not a regular file"):
        list(listed(tmp_path / name))
