"""Patterns of files: what glob finds, without entering a folder in two ways."""

import fnmatch
import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.prediction.patterns import matching

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
    from fer_cli.prediction.patterns import _Part

    assert _Part(part).fits(name) == fnmatch.fnmatchcase(name, part)
