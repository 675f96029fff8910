import errno
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.files import walk


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def files(root: Path, **settings) -> list[str]:
    return [(folder / name).relative_to(root).as_posix() for folder, names in walk(root, **settings) for name in names]


def test_files_come_before_folders_each_by_name_without_hidden_ones_and_litter(tmp_path):
    made(tmp_path, "b/2", "b/10", "a/x/1", "c", ".hidden/1", "a/.hidden", "Thumbs.db", "__MACOSX/1")
    assert files(tmp_path) == ["c", "a/x/1", "b/10", "b/2"]


def test_case_03_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    made(tmp_path / "store", "1", "deep/2")
    root = made(tmp_path / "root", "b/3")
    (root / "a").symlink_to(tmp_path / "store")
    assert files(root) == ["b/3", "a/1", "a/deep/2"]


def test_a_folder_that_is_also_behind_a_link_has_its_own_name_and_comes_once(tmp_path):
    root = made(tmp_path, "real/1")
    (root / "a-link").symlink_to(root / "real")
    assert files(root) == ["real/1"]


def test_a_link_to_what_a_folder_hides_is_followed(tmp_path):
    root = made(tmp_path, ".store/1")
    (root / "shown").symlink_to(root / ".store")
    assert files(root) == ["shown/1"]


def test_loops_end_and_links_never_lead_above_the_root(tmp_path):
    root = made(tmp_path / "above" / "root", "a/1", "b/2")
    made(tmp_path / "above" / "neighbour", "secret")
    for number, target in enumerate((".", "..", "../..", "/", "a", "b")):
        (root / "a" / f"self-{number}").symlink_to(Path(target) if target.startswith("/") else root / target)
    (root / "b" / "back").symlink_to(root / "a")
    assert files(root) == ["a/1", "b/2"]


def test_a_link_into_a_neighbour_that_links_back_ends(tmp_path):
    one, other = made(tmp_path / "one", "1"), made(tmp_path / "other", "2")
    (one / "to").symlink_to(other)
    (other / "back").symlink_to(one)
    assert files(one) == ["1", "to/2"]


def test_folders_besides_are_not_entered(tmp_path):
    made(tmp_path, "a/1", "b/2")
    assert files(tmp_path, excluded=[tmp_path / "a", tmp_path / "nowhere"]) == ["b/2"]


def test_case_16_a_folder_that_may_not_be_read_is_told_and_the_rest_is_walked(tmp_path, monkeypatch):
    made(tmp_path, "a/1", "b/2")
    scandir, told = os.scandir, []

    def refusing(folder):
        if Path(folder).name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert files(tmp_path, on_error=told.append) == ["b/2"]
    assert [Path(error.filename) for error in told] == [tmp_path / "a"]


def test_a_link_that_leads_nowhere_is_a_file_for_somebody_to_tell_of(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself.jpg").symlink_to(tmp_path / "itself.jpg")
    assert files(tmp_path) == ["gone.jpg", "itself.jpg"]


def test_case_16_a_link_to_where_one_may_not_look_is_told(tmp_path, monkeypatch):
    made(tmp_path / "store" / "closed", "1")
    root = made(tmp_path / "root", "2")
    (root / "linked").symlink_to(tmp_path / "store" / "closed")
    scandir, told = os.scandir, []

    class Refusing:
        """An entry whose target may not be looked at; the system's own cannot be told to refuse."""

        def __init__(self, entry):
            self.name, self.path, self.is_symlink = entry.name, entry.path, entry.is_symlink

        def is_dir(self):
            if self.name == "linked":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)
            return False

    @contextmanager
    def refusing(folder):
        if Path(folder).name == "linked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        with scandir(folder) as entries:
            yield [Refusing(entry) for entry in entries]

    monkeypatch.setattr(os, "scandir", refusing)
    assert files(root, on_error=told.append) == ["2"]
    assert [Path(error.filename) for error in told] == [root / "linked"]


def test_a_root_that_is_not_there_is_an_empty_walk(tmp_path):
    assert files(tmp_path / "nowhere") == []


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_every_folder_that_links_reach_is_walked_exactly_once(tmp_path_factory, links):
    above = tmp_path_factory.mktemp("walk")
    for number in range(5):
        made(above / f"folder-{number}", f"file-{number}")
    reached, step = {0}, None
    for number, (start, target) in enumerate(links):
        (above / f"folder-{start}" / f"link-{number}").symlink_to(above / f"folder-{target}")
    while step != reached:
        step = set(reached)
        reached |= {target for start, target in links if start in reached}
    assert sorted(Path(name).name for name in files(above / "folder-0")) == [f"file-{n}" for n in sorted(reached)]
