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


@pytest.mark.parametrize("column", ["file", "path", "file_name"])
def test_a_table_names_files_and_may_name_subjects(tmp_path, column):
    (tmp_path / "list.csv").write_text(f"\ufeffsubject,{column},note\nanna,x/1.jpg,\n,2.jpg,late\nbert,,\n")
    assert list(listed(tmp_path / "list.csv")) == [(tmp_path / "x/1.jpg", "anna"), (tmp_path / "2.jpg", None)]


def test_bytes_that_are_no_utf8_name_the_file_they_name(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"file\ncaf\xe9.jpg\n")
    assert list(listed(tmp_path / "list.csv")) == [(tmp_path / os.fsdecode(b"caf\xe9.jpg"), None)]


def test_a_table_without_a_column_of_paths_is_said(tmp_path):
    (tmp_path / "list.csv").write_text("picture\n1.jpg\n")
    with pytest.raises(PictureError, match="no column of paths") as caught:
        list(listed(tmp_path / "list.csv"))
    assert "'file'" in caught.value.mend


def test_an_absolute_path_stays_one(tmp_path):
    (tmp_path / "list.txt").write_text("/pictures/1.jpg\n")
    assert list(listed(tmp_path / "list.txt")) == [(Path("/pictures/1.jpg"), None)]
