"""Stores that are not what they should be: each a sentence, and nothing of it lost."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_cli.errors import DiskFullError, FerError, UsageError
from fer_cli.prediction.people import file as people_file
from fer_cli.prediction.people.file import FILE, reported
from fer_cli.prediction.people.store import PeopleStore
from tests.prediction.people.made import BINDING, DAY, open_store, picture, see


@pytest.fixture
def path(tmp_path) -> Path:
    """A store of two people."""
    with open_store(tmp_path / "people") as store:
        see(store, 0, 1)
        with store.writing():
            store.offer(1, picture("kept", crop=b"x" * 20_000))
    return tmp_path / "people" / FILE


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_of_other_encoders_it_is_refused_with_what_to_type(path):
    for kind, what in (("identity", "identity encoder: made people"), ("encoder", "model: made model")):
        with pytest.raises(UsageError, match=f"was made with another {what}") as caught:
            PeopleStore.open(path.parent, replace(BINDING, **{kind: "another"}))
        assert "--people with another folder" in caught.value.hint
        assert caught.value.exit_code == 2
    # Reading and editing need no encoder.
    with PeopleStore.open(path.parent) as store:
        assert len(store.people()) == 2


def make_version_1(path: Path) -> None:
    change(path, "DROP TABLE albums", "PRAGMA user_version = 1")


def test_a_store_of_version_1_has_one_album_and_counts_on(path):
    make_version_1(path)
    with PeopleStore.open(path.parent) as store:
        assert [(each.faces, each.albums) for each in store.people()] == [(1, 1), (1, 1)]
        see(store, 0, names="b")
        assert [(each.faces, each.albums) for each in store.people()] == [(2, 2), (1, 1)]
        assert [each.name for each in store.pictures([1])] == ["kept"]
    with open_store(path.parent) as store:
        assert store.rows("PRAGMA user_version") == [(people_file.VERSION,)]


def test_a_store_of_version_1_that_may_only_be_read_is_read(path, monkeypatch):
    make_version_1(path)
    before, connect = path.read_bytes(), sqlite3.connect
    monkeypatch.setattr(
        people_file.sqlite3, "connect", lambda name, **settings: connect(f"file:{name}?mode=ro", uri=True, **settings)
    )
    with PeopleStore.open(path.parent) as store:
        assert [each.albums for each in store.people()] == [1, 1]
        with pytest.raises(FerError, match="it is read-only"):
            store.rename(store.find("person-1"), "Anna")
    assert path.read_bytes() == before


def test_of_another_version_it_is_left_alone(path):
    change(path, "PRAGMA user_version = 3")
    before = path.read_bytes()
    with pytest.raises(FerError, match=r"version 3 of the people store; this fer knows up to 2"):
        open_store(path.parent)
    assert path.read_bytes() == before


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(path, part):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(FerError, match=r"people\.sqlite is (damaged|no people store)"):
        open_store(path.parent)


@pytest.mark.parametrize("content", [b"not SQLite at all, but some text" * 40, b"SQLite format 3\0" + b"\xff" * 500])
def test_not_sqlite(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(FerError, match="is damaged, or no people store"):
        open_store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_another_programs_database(tmp_path):
    change(tmp_path / FILE, "CREATE TABLE moz_places (url TEXT)")
    with pytest.raises(FerError, match="another program wrote it"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER sly AFTER INSERT ON faces BEGIN DELETE FROM sqlite_sequence; END",
        "CREATE VIEW others AS SELECT * FROM people",
        "ALTER TABLE people ADD COLUMN address TEXT",
        "DROP INDEX faces_of_person",
    ],
)
def test_what_somebody_added_is_not_run(path, statement):
    change(path, statement)
    with pytest.raises(FerError, match="its tables are others"):
        open_store(path.parent)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE people SET total = x'010203'",
        "UPDATE people SET total = x'0000c07f0000c07f'",
        "UPDATE people SET total = zeroblob(8) WHERE id = 1",
        "UPDATE people SET merged_into = 3 - id",
        "UPDATE pictures SET embedding = x'0000c07f'",
    ],
)
def test_values_that_nobody_wrote(path, statement):
    change(path, statement)
    with open_store(path.parent) as store, pytest.raises(FerError, match="damaged"):
        store.people(), store.centroids()


def test_a_value_that_fills_memory_is_not_read(path):
    change(path, f"UPDATE pictures SET crop = zeroblob({people_file.MAX_VALUE + 1})")
    with open_store(path.parent) as store, pytest.raises(FerError, match="damaged"):
        store.people()


def test_a_folder_a_pipe_or_a_file_in_its_place(tmp_path):
    (tmp_path / "one" / FILE).mkdir(parents=True)
    with pytest.raises(FerError, match="cannot be used"):
        open_store(tmp_path / "one")
    (tmp_path / "two").mkdir()
    os.mkfifo(tmp_path / "two" / FILE)
    with pytest.raises(FerError, match="not a regular file"):
        open_store(tmp_path / "two")
    (tmp_path / "three").write_text("a file")
    with pytest.raises(UsageError, match="is a file, and a store needs a folder"):
        open_store(tmp_path / "three")
    with pytest.raises(UsageError, match="There is no people store") as caught:
        PeopleStore.open(tmp_path / "four")
    assert "--people" in caught.value.hint
    assert not (tmp_path / "four").exists()


def test_a_file_of_a_process_killed_before_its_first_word_is_begun_anew(tmp_path):
    (tmp_path / FILE).touch()
    with open_store(tmp_path) as store:
        assert see(store, 0) == [1]


def test_in_use_for_too_long(path, monkeypatch):
    monkeypatch.setattr(people_file, "PATIENCE", 0.05)
    with open_store(path.parent) as one, open_store(path.parent) as other, one.writing():
        one.add_person(8, DAY)
        with pytest.raises(FerError, match="is in use: another process") as caught:
            see(other, 5)
        assert caught.value.exit_code == 1
        # Reading goes on meanwhile.
        assert len(other.people()) == 2
    with open_store(path.parent) as store:
        assert len(store.people()) == 3


def test_read_only_it_can_be_read(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with pytest.raises(FerError, match="cannot be written: it is read-only"), reported(path):
        connection.execute("DELETE FROM people")
    connection.close()


def test_a_full_disk(path):
    with open_store(path.parent) as store:
        [[pages]] = store.rows("PRAGMA page_count")
        store.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DiskFullError), store.writing():
            store.offer(1, picture("large", crop=b"x" * 500_000))
        assert [each.name for each in store.pictures([1])] == ["kept"]


def test_an_error_in_the_middle_leaves_nothing(path):
    with open_store(path.parent) as store:
        with pytest.raises(ValueError, match="broadcast"), store.writing():
            # Of faces that are as wide as others, the person is added before anything is wrong.
            store.count(store.add_person(8, DAY), [b"digest"], np.zeros(7), DAY, 1)
        assert len(store.people()) == 2
