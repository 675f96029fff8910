import json
import os

import pytest

from fer_cli.errors import RunError
from fer_cli.runs.run import Run, names, runs_in, shared_subjects
from tests.made import run_card

CARD = run_card(("anger", "fear"), fold=1, seen={"made": ["A", "B"]})


def written(folder, **changes):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({**CARD, **changes}))
    return folder


def test_a_run_says_its_protocol_and_fold(tmp_path):
    run = Run.open(written(tmp_path / "first"))
    assert run.name == "first"
    assert run.fold == 1
    assert run.protocol.classes == ("anger", "fear")


def test_what_is_no_run_is_refused_with_what_is_there(tmp_path):
    written(tmp_path / "runs" / "first")
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    for path, said in (
        ("nowhere", "no folder"),
        ("file", "is a file"),
        ("runs", "runs in it are first"),
        ("broken", "not what fer wrote"),
    ):
        with pytest.raises(RunError, match=said):
            Run.open(tmp_path / path)


@pytest.mark.parametrize("missing", ["version", "protocol", "dataset", "fold", "seen", "classes"])
def test_a_card_that_lacks_what_is_needed_is_refused(tmp_path, missing):
    folder = written(tmp_path / "run")
    (folder / "run.json").write_text(json.dumps({name: value for name, value in CARD.items() if name != missing}))
    with pytest.raises(RunError, match=missing):
        Run.open(folder)


def test_a_later_version_is_refused(tmp_path):
    with pytest.raises(RunError, match="later version"):
        Run.open(written(tmp_path / "run", version=99))


def test_the_runs_in_is_the_one_finished_last(tmp_path):
    for age, name in ((0, "b"), (1, "c"), (2, "a")):
        card = written(tmp_path / name) / "run.json"
        os.utime(card, (1_700_000_000 - age, 1_700_000_000 - age))
    (tmp_path / "unfinished").mkdir()
    assert runs_in(tmp_path) == [tmp_path / "b", tmp_path / "c", tmp_path / "a"]
    assert runs_in(tmp_path / "nowhere") == []


def test_overlap_is_by_corpus():
    assert shared_subjects({"made": ["A", "B"]}, "made", {"B", "C"}) == ["B"]
    assert shared_subjects({"made": ["A", "B"]}, "other", {"B", "C"}) == []


def test_many_names_are_cut_short():
    assert names(["A", "B"]) == "A, B"
    assert names(["A", "B", "C", "D"], most=2) == "A, B and 2 more"
