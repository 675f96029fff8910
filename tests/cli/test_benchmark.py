"""``fer benchmark`` as a person types it."""

import re

import pytest
from typer.testing import CliRunner

from fer_cli.benchmark import runner
from fer_cli.cli.app import app
from tests.benchmark.test_runner import SPEC
from tests.benchmark.work import begun, evaluate
from tests.made import made_dataset

OUT = "benchmarks/made"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, with two datasets, and a specification whose cells are made up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "compute_cell", evaluate)
    for name, subjects in (("one", 9), ("two", 6)):
        made_dataset(tmp_path / "data" / name, subjects=subjects, corpus=name)
    (tmp_path / "made.toml").write_text(SPEC)
    return tmp_path


def fer(*words, code=0):
    """What ``fer benchmark`` says and shows."""
    result = CliRunner().invoke(app, ["benchmark", *map(str, words)], env={"COLUMNS": "80"})
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def failing(here, *recipes):
    (here / OUT).mkdir(parents=True)
    for name in ("specification.toml", *(f"fail-{recipe}" for recipe in recipes)):
        (here / OUT / name).touch()


def test_results_are_on_the_screen_and_in_files(here):
    done = fer("made.toml", "--jobs", 2)
    assert done.stdout.startswith("Made\n")
    assert re.search(r"^one +first +none +\d+\.\d \[\d+\.\d, \d+\.\d\]", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^two +second +given +\d+\.\d ", done.stdout, flags=re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"page      {OUT}/benchmark.html" in done.stderr
    assert (here / OUT / "benchmark.html").is_file()
    again = fer("made.toml")
    assert again.stdout == done.stdout
    assert len(begun(here / OUT)) == 8


def test_a_plan_computes_nothing(here):
    lines = [line.split("\t") for line in fer("made.toml", "--plan").stdout.splitlines()]
    assert len(lines) == 8
    assert {(state, how) for _, _, state, _, how in lines} == {("to do", "guess")}
    assert not (here / "benchmarks").exists()
    fer("made.toml")
    lines = [line.split("\t") for line in fer("made.toml", "--plan").stdout.splitlines()]
    assert {tuple(line[2:]) for line in lines} == {("done", "", "")}


def test_some_failed_cells_are_exit_code_3_and_all_are_1(here):
    failing(here, "first")
    some = fer("made.toml", code=3)
    assert some.stderr.count("made to fail") == some.stderr.count("(and 3 cells more)") == 1
    assert "4 cells of 8 failed" in some.stderr
    assert fer("made.toml", "--plan").stdout.count("\tdone\t") == 4
    (here / OUT / "fail-first").unlink()
    fer("made.toml")


def test_all_cells_failed(here):
    failing(here, "first", "second")
    every = fer("made.toml", code=1)
    assert "8 cells of 8 failed" in every.stderr
    assert (here / OUT / "benchmark.html").is_file()


def test_an_earlier_benchmark_is_compared_with(here):
    fer("made.toml", "--out", "earlier")
    (here / "made.toml").write_text(SPEC.replace('"first"', '"third"'))
    shown = fer("made.toml", "--against", "earlier/results.parquet").stdout
    assert "Against earlier/results.parquet: " in shown
    assert "4 same" in shown
    assert "4 new" in shown
    assert "4 lost" in shown


def test_a_table_that_cannot_be_read_is_refused_before_anything_is_computed(here):
    (here / "bad.parquet").write_text("no parquet")
    assert "bad.parquet" in fer("made.toml", "--against", "bad.parquet", code=1).stderr
    assert not (here / "benchmarks").exists()


def test_a_folder_of_something_else_is_refused(here):
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").touch()
    for words in ((), ("--plan",)):
        assert "something else" in fer("made.toml", "--out", "mine", *words, code=2).stderr
    assert [path.name for path in (here / "mine").iterdir()] == ["notes.txt"]


def test_datasets_that_share_pictures_are_refused_unless_insisted(here):
    (here / "made.toml").write_text(SPEC.replace("allow_shared = true", ""))
    refused = fer("made.toml", code=2)
    assert "pictures of two are in one too" in refused.stderr
    assert "--allow-shared" in refused.stderr
    fer("made.toml", "--allow-shared")


def test_a_specification_that_is_not_there_or_names_what_there_is_not(here):
    assert "--init" in fer("absent.toml", code=2).stderr
    (here / "made.toml").write_text(SPEC.replace('"difference"', '"diference"'))
    assert "difference" in fer("made.toml", code=2).stderr


def test_init_writes_what_can_be_planned_and_refuses_to_replace_it(here):
    from fer_cli.benchmark.specification import Specification

    written = fer("new.toml", "--init")
    assert "fer benchmark new.toml --plan" in written.stderr
    assert set(Specification.open(here / "new.toml").datasets) == {"one", "two"}
    before = (here / "new.toml").read_bytes()
    assert "is there already" in fer("new.toml", "--init", code=2).stderr
    assert (here / "new.toml").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(here, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "compute_cells", interrupt)
    assert "type the same line again" in fer("made.toml", code=130).stderr
