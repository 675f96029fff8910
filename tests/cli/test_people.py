"""``fer predict --people`` and ``fer people`` as a person types them."""

import csv
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_cli.cli.app import app
from tests.prediction.made import made_pictures, made_run
from tests.prediction.runs import write_run

CLASSES = ("neutral", "anger", "happiness", "surprise")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A paired run, a single-face one next to it with neutral among its classes, and one of three classes."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "paired", features="both")
    write_run(folder / "single", features="target", classes=CLASSES)
    made_run(folder / "three")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made_pictures(tmp_path / "album", 6)
    return tmp_path


def fer(*words: object, code: int = 0, stdin: str | None = None) -> tuple[str, str]:
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "160"}, input=stdin)
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result.stdout, result.stderr


def predict(run: Path, *words: object, code: int = 0) -> tuple[list[dict[str, str]], str]:
    shown, said = fer("predict", "--run", run, "--people", "people", *words, code=code)
    return list(csv.DictReader(shown.splitlines())), said


@pytest.mark.parametrize("name", ["paired", "single", "three"])
def test_rows_have_people_and_the_same_again_is_the_same(here, runs, name):
    rows, said = predict(runs / name, "album")
    assert all(row["person"].startswith("person-") for row in rows)
    assert all(0 <= float(row["person_confidence"]) <= 1 for row in rows)
    assert "its own encoder: it was trained for expressions, not for people" in said
    listed = fer("people", "list", "people")
    assert predict(runs / name, "album")[0] == rows
    assert fer("people", "list", "people") == listed
    people = list(csv.DictReader(listed[0].splitlines(), delimiter="\t"))
    assert {row["person"] for row in rows} == {each["id"] for each in people}
    assert {each["albums"] for each in people} == {"1"}
    assert list(people[0]) == ["id", "name", "faces", "albums", "first_seen", "last_seen", "neutral", "sure"]


def test_nothing_is_stored_and_nothing_changes_without_people(here, runs):
    shown, _ = fer("predict", "--run", runs / "paired", "album")
    assert {row["person"] for row in csv.DictReader(shown.splitlines())} == {""}
    assert [each.name for each in here.iterdir()] == ["album"]


def test_a_paired_model_is_served_by_the_store(here, runs):
    one_person = ("--identity-threshold", "2")
    predict(runs / "paired", "album", *one_person)
    made_pictures(here / "later", 7)
    rows, said = predict(runs / "paired", "later/006.png", *one_person)
    [row] = rows
    assert "1 people in 1 faces, 1 of them known before and 0 new" in said
    assert row["person"] == "person-1"
    if row["neutral"] != "mean":
        assert row["neutral"].startswith("people:person-1 (")
        assert 0 <= float(row["neutral_confidence"]) <= 1
    given, _ = predict(runs / "paired", "later/006.png", "--neutral", "album/000.png", *one_person)
    assert (given[0]["neutral"], given[0]["person"]) == ("album/000.png", "person-1")


def test_names_that_come_through_a_pipe_are_matched_as_they_come(here, runs):
    fer("predict", "--run", runs / "paired", "--people", "people", "album/000.png")
    shown, said = fer("predict", "--run", runs / "paired", "--people", "people", "-", stdin="album/000.png\n")
    assert next(csv.DictReader(shown.splitlines()))["person"] == "person-1"
    assert "as it comes" in said


def test_an_interrupted_prediction_is_resumed_with_the_same_people(here, runs, monkeypatch):
    predict(runs / "paired", "album", "--out", "whole.csv")
    whole = Path("whole.csv").read_text()
    monkeypatch.setattr("fer_cli.prediction.checkpoint.Checkpoint.remove", lambda self: None)
    fer("predict", "--run", runs / "paired", "--people", "again", "album", "--out", "p.csv")
    Path("p.csv").unlink()
    part = Path(".p.csv.unfinished/part-0.jsonl")
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:3]))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    fer("predict", "--run", runs / "paired", "--people", "again", "album", "--out", "p.csv", "--resume")
    assert Path("p.csv").read_text() == whole


KILLED = """
import os, signal, sys
from fer_cli.prediction import checkpoint
from fer_cli.prediction.people.store import PeopleStore
def killing(function, called=[]):
    def call(*given):
        called.append(given)
        return function(*given) if len(called) < 5 else os.kill(os.getpid(), signal.SIGKILL)
    return call
if sys.argv[1] == "people":
    PeopleStore.count = killing(PeopleStore.count)
else:
    checkpoint.line_of = killing(checkpoint.line_of)
from fer_cli.cli.app import app
sys.argv[1:] = sys.argv[2:]
app()
"""


def stored(folder: str) -> dict[str, list[tuple]]:
    with sqlite3.connect(f"{folder}/people.sqlite") as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(store.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}


@pytest.mark.parametrize("moment", ["people", "rows"])
def test_a_killed_prediction_ends_by_the_same_line_with_the_same_rows_and_people(here, runs, moment):
    line = ["predict", "album", "--run", str(runs / "single"), "--identity-threshold", "0.000001", "--resume"]
    fer(*line, "--people", "whole", "--out", "whole.csv")
    line += ["--people", "people", "--out", "p.csv"]
    command = [sys.executable, "-c", KILLED, moment, *line]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    # What was reported is there, and nothing of what was not.
    assert ("people: 6 people in 6 faces" in killed.stderr) == (moment == "rows")
    assert len(fer("people", "list", "people")[0].splitlines()) - 1 == (6 if moment == "rows" else 0)
    fer(*line)
    assert Path("p.csv").read_text() == Path("whole.csv").read_text()
    assert stored("people") == stored("whole")
    assert len(stored("people")["pictures"]) >= 6


def test_another_encoder_is_refused_with_what_to_type(here, runs):
    predict(runs / "single", "album")
    for each in ("paired", "three"):
        _, said = predict(runs / each, "album", code=2)
        assert "was made with another" in said
        assert "--people with another folder" in said
    fer("people", "list", "nowhere", code=2)


def test_people_are_named_merged_split_and_shown(here, runs):
    predict(runs / "single", "album", "--identity-threshold", "0.000001")
    before = fer("people", "list", "people")[0]
    assert len(before.splitlines()) == 1 + 6
    fer("people", "rename", "people", "person-2", "=Anna")
    _, said = fer("people", "merge", "people", "person-1", "=Anna")
    assert "person-2 is person-1 from now on" in said
    shown, _ = fer("people", "show", "people", "person-2")
    assert shown.splitlines()[:3] == ["id\tperson-1", "name\t=Anna", "faces\t2"]
    assert "merged\tperson-2" in shown
    rows, _ = predict(runs / "single", "album/001.png")
    assert rows[0]["person"] == "person-1"
    assert "person-2 is back" in fer("people", "split", "people", "person-1")[1]
    assert "Nobody was merged" in fer("people", "split", "people", "person-1", code=2)[1]
    fer("people", "rename", "people", "person-2", "")
    assert fer("people", "list", "people")[0] == before
    assert "has no person Otto" in fer("people", "show", "people", "Otto", code=2)[1]


def test_forgetting_needs_a_yes_and_deletes(here, runs):
    predict(runs / "single", "album", "--identity-threshold", "0.000001")
    said = fer("people", "forget", "people", "person-1", code=2)[1]
    assert "person-1 for ever" in said
    assert "--yes" in said
    fer("people", "forget", "people", "person-1", "person-3", "--yes")
    _, *left = [line.split("\t")[0] for line in fer("people", "list", "people")[0].splitlines()]
    assert left == ["person-2", "person-4", "person-5", "person-6"]
    fer("people", "forget", "people", code=2)
    fer("people", "forget", "people", "person-2", "--all", code=2)
    fer("people", "forget", "people", "--all", "--yes")
    assert len(fer("people", "list", "people")[0].splitlines()) == 1
    with sqlite3.connect("people/people.sqlite") as store:
        assert store.execute("SELECT count(*) FROM faces").fetchone() == (0,)


def test_people_and_their_pictures_are_exported_without_embeddings(here, runs):
    predict(runs / "single", "album", "--identity-threshold", "0.000001")
    fer("people", "rename", "people", "person-1", "=Anna")
    shown, _ = fer("people", "export", "people")
    rows = list(csv.DictReader(shown.splitlines()))
    assert {row["person"] for row in rows} == {f"person-{number}" for number in range(1, 7)}
    assert rows[0]["name"] == "'=Anna"
    assert not {"embedding", "centroid"} & set(rows[0])
    fer("people", "export", "people", "--out", "p.jsonl", "--embeddings")
    row = json.loads(Path("p.jsonl").read_text().splitlines()[0])
    assert row["name"] == "=Anna"
    assert sum(part**2 for part in json.loads(row["centroid"])) == pytest.approx(1, abs=1e-3)
    assert "there already" in fer("people", "export", "people", "--out", "p.jsonl", code=2)[1]


def test_a_sheet_of_all_or_of_some(here, runs):
    predict(runs / "single", "album", "--identity-threshold", "0.000001")
    fer("people", "sheet", "people", "--out", "all.png")
    fer("people", "sheet", "people", "person-2", "--out", "one.png")
    assert Image.open("all.png").size[1] > 4 * Image.open("one.png").size[1]
    assert "there already" in fer("people", "sheet", "people", "--out", "one.png", code=2)[1]


def test_a_store_that_is_damaged_is_a_sentence(here, runs):
    predict(runs / "single", "album")
    path = Path("people/people.sqlite")
    path.write_bytes(path.read_bytes()[:5000])
    for words in (["people", "list", "people"], ["predict", "--run", runs / "single", "--people", "people", "album"]):
        assert "people.sqlite is damaged" in fer(*words, code=1)[1]
