import fnmatch
import glob
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.errors import FerError, PictureError
from fer_cli.prediction.listing import MAX_NAME_BYTES, matching, names_in, read_list


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
    assert list(read_list(tmp_path / "list.csv")) == [
        (tmp_path / "x/1.jpg", "anna", None),
        (tmp_path / "2.jpg", None, None),
    ]


def test_bytes_that_are_no_utf8_name_the_file_they_name(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"file\ncaf\xe9.jpg\n")
    assert list(read_list(tmp_path / "list.csv")) == [(tmp_path / os.fsdecode(b"caf\xe9.jpg"), None, None)]


def test_a_table_without_a_column_of_paths_is_said(tmp_path):
    (tmp_path / "list.csv").write_text("picture\n1.jpg\n")
    with pytest.raises(PictureError, match="no column of paths") as caught:
        list(read_list(tmp_path / "list.csv"))
    assert "'path'" in caught.value.hint


def test_an_absolute_path_stays_one(tmp_path):
    (tmp_path / "list.txt").write_text("/pictures/1.jpg\n")
    assert list(read_list(tmp_path / "list.txt")) == [(Path("/pictures/1.jpg"), None, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_case_06_a_table_of_windows_names_the_pictures_it_names(tmp_path, encoding, delimiter):
    rows = [["File", " Subject"], ["ä/1.jpg", "Jürgen"], ["2.jpg", ""]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    assert list(read_list(tmp_path / "list.csv")) == [
        (tmp_path / "ä/1.jpg", "Jürgen", None),
        (tmp_path / "2.jpg", None, None),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_case_06_so_does_a_list_without_columns(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes("ä.jpg\r\nb.jpg\r\n".encode(encoding))
    assert [path.name for path, *_ in read_list(tmp_path / "list.txt")] == ["ä.jpg", "b.jpg"]


def test_case_06_a_row_that_does_not_fit_its_header_is_told_by_its_line(tmp_path):
    (tmp_path / "list.csv").write_text("path,subject\na.jpg,anna\nb.jpg\n\nc.jpg,bert,late\n")
    assert list(read_list(tmp_path / "list.csv")) == [
        (tmp_path / "a.jpg", "anna", None),
        (tmp_path / "list.csv:3", None, "a row of 1 values under 2 columns"),
        (tmp_path / "list.csv:5", None, "a row of 3 values under 2 columns"),
    ]


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_a_pipe_is_no_list_and_nobody_waits_for_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(PictureError, match="not a regular file"):
        list(read_list(tmp_path / name))


NAMES = (
    "a.jpg",
    "b.png",
    "sub/a.jpg",
    "sub/deep/a.jpg",
    "sub/deep/er/c.jpg",
    ".hidden/a.jpg",
    "sub/.h.jpg",
    "x/sub/b.jpg",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patterns")
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


PARTS = ["**", "*", "sub", "deep", "s*", "*.jpg", "a.jpg", "[ab].*", ".*", "?.png"]
parts = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).filter(lambda parts: any(map(glob.has_magic, parts)))


@given(parts)
def test_it_finds_the_files_that_glob_finds_each_once(folder, parts):
    pattern = f"{folder}/{'/'.join(parts)}"
    # glob also finds files that its pattern calls folders: "a.jpg/".
    expected = {name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)}  # noqa: PTH113, PTH207
    found = [str(path) for path in matching(pattern)]
    assert sorted(found) == sorted(expected)


def test_a_pattern_is_from_the_current_folder_where_it_is_not_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert list(matching("sub/*.jpg")) == [Path("sub/a.jpg")]
    assert list(matching("*/../*.jpg")) == []


def test_thirty_double_stars_enter_each_folder_once(folder, monkeypatch):
    entered, scandir = [], os.scandir

    def noted(path):
        entered.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    found = list(matching(f"{folder}/{'**/*/' * 30}*.jpg"))
    assert found == []
    assert len(list(matching(f"{folder}/{'**/' * 30}*.jpg"))) == sum(
        name.endswith(".jpg") and "/." not in f"/{name}" for name in NAMES
    )
    assert len(entered) <= 4 * len({Path(name).parent for name in NAMES})


def test_sixty_stars_and_a_name_that_almost_fits_are_done_in_the_time_of_one_walk_through_it(tmp_path):
    (tmp_path / ("a" * 200)).touch()
    assert list(matching(f"{tmp_path}/{'*a' * 60}*b")) == []
    assert len(list(matching(f"{tmp_path}/{'*a' * 60}*"))) == 1


def test_loops_end_and_double_stars_never_lead_above_where_they_begin(tmp_path):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").touch()
    (tmp_path / "neighbour.jpg").touch()
    (root / "a" / "up").symlink_to(tmp_path)
    (root / "a" / "self").symlink_to(root)
    (root / "b").symlink_to(root / "a")
    assert [path.relative_to(root).as_posix() for path in matching(f"{root}/**/*.jpg")] == ["a/1.jpg"]


def test_a_link_by_its_own_name_is_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "1.jpg").touch()
    (tmp_path / "happy").symlink_to(tmp_path / "store")
    assert list(matching(f"{tmp_path}/**/happy/*.jpg")) == [tmp_path / "happy" / "1.jpg"]


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_a_part_fits_as_fnmatch_has_it(part, name):
    from fer_cli.prediction.listing import _Part

    assert _Part(part).fits(name) == fnmatch.fnmatchcase(name, part)
