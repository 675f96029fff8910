"""The people store: what is counted, kept, merged, split and forgotten."""

import sqlite3
import subprocess
import sys
import threading
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_cli.errors import UsageError
from fer_cli.prediction.people.file import FILE
from fer_cli.prediction.people.store import PeopleStore
from tests.prediction.people.made import DAY, open_store, picture, see, towards


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "people") as opened:
        yield opened


def state(store: PeopleStore) -> list[tuple]:
    return [(each, tuple(p.name for p in store.pictures(each.parts))) for each in store.people()]


def test_people_are_known_again_in_the_next_album(store):
    assert see(store, 0, 1, 0) == [1, 2, 1]
    assert see(store, (1, 0.2), 2, names="b", day=date(2026, 2, 1)) == [2, 3]
    first, second, third = store.people()
    assert (first.id, first.faces, first.first_seen, first.last_seen) == ("person-1", 2, "2026-01-31", "2026-01-31")
    assert (second.faces, second.first_seen, second.last_seen) == (2, "2026-01-31", "2026-02-01")
    assert third.faces == 1


def test_the_same_album_again_changes_nothing(store):
    parts = see(store, 0, 1, 0, 2)
    before, totals = state(store), store.centroids()[1]
    assert see(store, 0, 1, 0, 2) == parts
    assert state(store) == before
    np.testing.assert_array_equal(store.centroids()[1], totals)


def test_the_centroid_is_the_sum_of_all_faces(store):
    see(store, 0, (0, 0.3))
    see(store, (0, 0.1), names="b")
    expected = towards(0) + towards(0, off=0.3) + towards(0, off=0.1)
    np.testing.assert_allclose(store.centroids()[1], [expected], rtol=1e-6)


def test_two_clusters_of_an_album_may_be_one_stored_person(store):
    see(store, 0)
    digests, embeddings = [b"x" * 16, b"y" * 16], np.stack([towards(0, off=0.1), towards(0, off=0.2)])
    from fer_cli.prediction.people.matching import match_faces

    with store.writing():
        found = match_faces(
            store, digests, embeddings, np.array([0, 1]), threshold=0.5, centre=None, today=DAY, album=9
        )
    assert found.tolist() == [1, 1]


def test_the_most_neutral_pictures_are_kept_and_one_of_each_other_expression(store):
    see(store, 0)
    with store.writing():
        for number in range(8):
            store.offer(1, picture(f"n{number}", score=number / 10))
            store.offer(1, picture(f"h{number}", score=1 - number / 10, label="happiness"))
        store.offer(1, picture("n7", score=0.7))
    kept = store.pictures([1])
    assert [each.name for each in kept] == ["n7", "n6", "n5", "n4", "n3", "h0"]
    np.testing.assert_array_equal(kept[0].embedding, np.full(4, 0.7, np.float32))
    [person] = store.people()
    assert (person.neutral, person.sure) == (5, pytest.approx(0.5))


def test_a_probability_comes_before_any_other_score(store):
    see(store, 0)
    with store.writing():
        store.offer(1, picture("sure", score=0.2))
        far = picture("far", score=7.0)
        store.offer(1, type(far)(**{**vars(far), "probability": False}))
    assert [each.name for each in store.pictures([1])] == ["sure", "far"]


def test_albums_are_counted_once_however_often_they_are_predicted_and_whoever_is_merged(store):
    def albums() -> list[int]:
        return [each.albums for each in store.people()]

    see(store, 0, 1, 0, names="a")
    see(store, 0, 1, 0, names="a")
    assert albums() == [1, 1]
    see(store, 0, 2, names="b")
    assert albums() == [2, 1, 1]
    # The first album shows both, and is one album of the person that they are.
    store.merge(store.find("person-1"), store.find("person-2"))
    assert albums() == [2, 1]
    store.merge(store.find("person-1"), store.find("person-3"))
    assert albums() == [2]
    store.split(store.find("person-1"))
    assert albums() == [2, 1, 1]
    store.forget([store.find("person-1")])
    assert albums() == [1, 1]
    assert store.rows("SELECT count(*) FROM albums") == [(2,)]


def test_merged_people_are_one_and_both_ids_lead_there(store):
    see(store, 0, 1, 1)
    store.rename(store.find("person-2"), "Anna")
    store.merge(store.find("person-1"), store.find("Anna"))
    [person] = store.people()
    assert (person.id, person.name, person.faces, person.parts) == ("person-1", "Anna", 3, (1, 2))
    assert store.find("person-2") == store.find("person-1") == store.find("Anna") == person
    with pytest.raises(UsageError, match="one person already"):
        store.merge(store.find("person-1"), store.find("person-2"))


def test_what_was_added_after_a_merge_is_split_to_the_nearest(store):
    see(store, 0, 1)
    store.merge(store.find("person-1"), store.find("person-2"))
    see(store, (1, 0.1), (0, 0.1), names="b")
    assert store.split(store.find("person-2")) == [2]
    assert [(each.id, each.faces) for each in store.people()] == [("person-1", 2), ("person-2", 2)]
    totals = store.centroids()[1]
    np.testing.assert_allclose(totals[1], towards(1) + towards(1, off=0.1), rtol=1e-6)


def test_a_split_undoes_only_what_was_merged_into_that_person(store):
    see(store, 0, 1, 2)
    store.merge(store.find("person-2"), store.find("person-3"))
    store.merge(store.find("person-1"), store.find("person-2"))
    assert store.split(store.find("person-1")) == [2]
    assert [each.parts for each in store.people()] == [(1,), (2, 3)]
    assert store.split(store.find("person-1")) == []


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=5))
def test_splitting_everybody_gives_back_what_was_before_any_merges(tmp_path_factory, merges):
    with open_store(tmp_path_factory.mktemp("people")) as store:
        see(store, 0, 1, 1, 2, 3)
        with store.writing():
            store.offer(2, picture("kept"))
        before = state(store)
        for one, other in merges:
            person, second = store.find(f"person-{one}"), store.find(f"person-{other}")
            if person.number != second.number:
                store.merge(person, second)
        while any(len(each.parts) > 1 for each in store.people()):
            for person in store.people():
                store.split(person)
        assert state(store) == before


def test_ids_are_never_used_again(store):
    see(store, 0, 1)
    store.forget([store.find("person-2")])
    assert see(store, 1, names="b") == [3]
    store.forget(store.people())
    assert store.people() == []
    assert see(store, 0, 1) == [4, 5]


def test_the_forgotten_are_not_in_the_file(store, tmp_path):
    see(store, 0, 1)
    store.rename(store.find("person-2"), "Wilhelmina Forgotten")
    with store.writing():
        store.offer(2, picture("album/secret.jpg", crop=b"bytes of her face " * 300))
        store.offer(1, picture("album/kept.jpg", crop=b"bytes of his face " * 300))
    path = tmp_path / "people" / FILE
    vector = towards(1).tobytes()
    for part in (b"Wilhelmina", b"bytes of her face", b"secret.jpg", vector):
        assert part in path.read_bytes()
    store.forget([store.find("person-2")])
    left = path.read_bytes()
    for part in (b"Wilhelmina", b"bytes of her face", b"secret.jpg", vector):
        assert part not in left
    assert b"bytes of his face" in left
    assert [each.id for each in store.people()] == ["person-1"]
    assert [each.name for each in path.parent.iterdir()] == [FILE]


def test_forgetting_a_person_takes_those_merged_into_it_along(store):
    see(store, 0, 1, 2)
    store.merge(store.find("person-1"), store.find("person-2"))
    store.forget([store.find("person-2")])
    assert [each.id for each in store.people()] == ["person-3"]


@pytest.mark.parametrize("name", ["person-1", "12"])
def test_nobody_is_called_like_an_id(store, name):
    see(store, 0)
    with pytest.raises(UsageError, match="looks like an id"):
        store.rename(store.find("person-1"), name)


def test_who_is_not_there_is_said_with_those_who_are(store):
    see(store, 0, 1)
    with pytest.raises(UsageError, match="has no person Anna") as caught:
        store.find("Anna")
    assert "person-1, person-2" in caught.value.hint
    for who in ("person-1", "person-2"):
        store.rename(store.find(who), "Anna")
    with pytest.raises(UsageError, match="Several people are called Anna: person-1, person-2"):
        store.find("Anna")
    store.rename(store.find("person-1"), "")
    assert store.find("Anna").id == "person-2"
    with pytest.raises(UsageError):
        store.find("")


def test_two_processes_at_once_lose_nobody(tmp_path):
    folder = tmp_path / "people"

    def album(name: str, first: int) -> None:
        for turn in range(10):
            with open_store(folder) as store:
                see(store, first, 3, names=f"{name}{turn}")

    threads = [threading.Thread(target=album, args=each) for each in (("a", 0), ("b", 1), ("c", 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_store(folder) as store:
        assert sorted(each.faces for each in store.people()) == [10, 10, 10, 30]


KILLED = """
import os, sys
from pathlib import Path
from tests.prediction.people.made import open_store, see, picture
store = open_store(Path(sys.argv[1]))
see(store, 0, 1)
print("reported", flush=True)
store.rows("PRAGMA cache_size = 2")
with store.writing():
    store.add_person(8, __import__("datetime").date(2026, 1, 1))
    for number in range(5000):
        store.count(1, [b"%016d" % number], 0, __import__("datetime").date(2026, 1, 1), 9)
    os._exit(9)
"""


def test_a_process_killed_within_a_transaction_loses_nothing_that_was_reported(tmp_path):
    folder = tmp_path / "people"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (9, "reported\n"), done.stderr
    # The journal has what the half-written pages were before.
    assert (folder / f"{FILE}-journal").stat().st_size > 4096
    with open_store(folder) as store:
        assert [(each.id, each.faces) for each in store.people()] == [("person-1", 1), ("person-2", 1)]
        assert see(store, 0, 1, 2, names="") == [1, 2, 3]
    assert [each.name for each in folder.iterdir()] == [FILE]


def test_the_file_is_sqlite_that_others_can_read(store, tmp_path):
    see(store, 0)
    with sqlite3.connect(tmp_path / "people" / FILE) as other:
        assert other.execute("SELECT id, faces FROM people").fetchall() == [(1, 1)]
        assert other.execute("PRAGMA user_version").fetchall() == [(2,)]
