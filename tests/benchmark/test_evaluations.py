"""Evaluations of cells on small datasets: what is trained, what is tested on whom, and what becomes of failures."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from fer_cli.benchmark import evaluations
from fer_cli.benchmark.cells import COLUMNS, Cell, CellResult
from fer_cli.benchmark.evaluations import command_of, compute, load
from fer_cli.benchmark.specification import Specification, expand
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DiskFullError, TrainingError
from fer_cli.evaluation.chance import adjusted_chance
from fer_cli.evaluation.metrics import METRICS
from fer_cli.options import Session
from fer_cli.runs.run import Run
from tests.evaluation.test_inference import relabelled
from tests.made import made_dataset, made_model
from tests.prediction.runs import write_run

CPU = Session("cpu")
DATASETS = '[datasets]\none = "data/one"\ntwo = "data/two"\nthree = "data/three"\n'
PAIRS = '[[recipes]]\nname = "pairs"\ntrain = "difference"\nencoder = "start"\nepochs = 1\n'
EVERY = """
[evaluations.within]
repeats = 2
[evaluations.cross-corpus]
[evaluations.leave-one-corpus-out]
[evaluations.learning-curve]
subjects = [2]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Three corpora of squares and the weights of a small encoder."""
    home = tmp_path_factory.mktemp("benchmark")
    for place, name in enumerate(("one", "two", "three")):
        made_dataset(home / "data" / name, subjects=9 + place, corpus=name)
    made_model(features="target").save_pretrained(home / "start")
    return home


@pytest.fixture(scope="module")
def specification(home) -> Specification:
    return opened(home, "neutral = ['given', 'mean', 'found']\n" + DATASETS + PAIRS + EVERY)


def opened(home: Path, text: str, name: str = "benchmark") -> Specification:
    (home / f"{name}.toml").write_text(text)
    return Specification.open(home / f"{name}.toml")


def cell_of(specification: Specification, **wanted) -> Cell:
    """The first cell that has what is wanted, not of the baseline."""
    usual = {"neutral": "given", "repeat": 0, "recipe": specification.recipes[-1].name, **wanted}
    return next(
        cell for cell in expand(specification) if all(getattr(cell, name) == value for name, value in usual.items())
    )


def computed(specification: Specification, out: Path | None = None, **wanted) -> CellResult:
    cell = cell_of(specification, **wanted)
    return compute(cell, specification, folder_of(specification, cell, out), CPU)


def folder_of(specification: Specification, cell: Cell, out: Path | None = None) -> Path:
    return (out or specification.folder / "out") / "cells" / cell.digest


def table_of(result: CellResult) -> pd.DataFrame:
    return pd.read_csv(result.predictions, keep_default_na=False)


def test_within_a_dataset_everybody_is_tested_once_by_a_model_that_has_not_seen_them(specification):
    result = computed(specification, evaluation="within", test="one")
    assert result.status == "done"
    table, data = table_of(result), specification.opened["one"]
    assert sorted(table["file_name"]) == sorted(data.samples(paired=True)["file_name"])
    pooled, *folds = result.rows
    assert pooled["accuracy"] == pytest.approx(accuracy_score(table["label"], table["predicted"]))
    assert pooled["accuracy_low"] <= pooled["accuracy"] <= pooled["accuracy_high"]
    assert (pooled["fold"], pooled["n"], pooled["subjects"], pooled["train_n"]) == (None, 27, 9, 9)
    assert [row["fold"] for row in folds] == [0, 1, 2]
    for row in folds:
        own = table[table["fold"] == row["fold"]]
        assert (row["n"], row["subjects"], row["train_n"]) == (9, 3, 9)
        assert row["unweighted_average_recall"] == pytest.approx(
            balanced_accuracy_score(own["label"], own["predicted"])
        )
        assert np.isnan(row["accuracy_low"])
    names = {f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")}
    for row in result.rows:
        assert set(row) == {*COLUMNS, *names}
        assert row["classes"] == "anger, happiness, surprise"
        assert row["train"] == row["test"] == "one"


def test_cells_that_share_a_training_find_it_done(specification, monkeypatch):
    computed(specification, evaluation="within", test="one")

    def refuse(*_, **__):
        raise AssertionError("it is trained already")

    monkeypatch.setattr(evaluations, "fit", refuse)
    for neutral in ("mean", "found"):
        assert computed(specification, evaluation="within", test="one", neutral=neutral).status == "done"
    for test in ("two", "three"):
        result = computed(specification, evaluation="cross-corpus", train=("one",), test=test)
        [row] = result.rows
        table = table_of(result)
        assert sorted(table["file_name"]) == sorted(specification.opened[test].samples(paired=True)["file_name"])
        assert (row["train"], row["test"], row["train_n"], row["fold"]) == ("one", test, 9, None)


def test_the_accesses_are_on_the_same_faces_and_give_other_numbers(specification):
    results = {
        name: computed(specification, evaluation="within", test="one", neutral=name)
        for name in ("given", "mean", "found")
    }
    tables = {name: table_of(result) for name, result in results.items()}
    assert tables["given"]["file_name"].equals(tables["mean"]["file_name"])
    assert tables["given"]["file_name"].equals(tables["found"]["file_name"])
    shares = [tables[name][["p_anger", "p_happiness"]].to_numpy() for name in ("given", "mean")]
    assert not np.allclose(*shares)
    for name, result in results.items():
        assert result.rows[0]["neutral"] == name
        assert f"neutral {name}" in result.rows[0]["protocol"]


def test_what_is_done_is_read_and_not_computed_again(specification, monkeypatch):
    before = computed(specification, evaluation="within", test="one")
    monkeypatch.setattr(evaluations, "_Work", None)
    again = computed(specification, evaluation="within", test="one")
    assert json.dumps(again.rows) == json.dumps(before.rows)
    assert again.predictions == before.predictions


def test_the_chance_level_is_that_of_the_metric_that_decides_now(specification, home):
    first = computed(specification, evaluation="within")
    labels = table_of(first)["label"]
    assert first.rows[0]["chance"] == adjusted_chance(labels, "unweighted_average_recall")
    other = load(first.cell, folder_of(specification, first.cell), "accuracy")
    assert other.rows[0]["chance"] == adjusted_chance(labels, "accuracy")
    assert {row["fold"] for row in other.rows} == {None, 0, 1, 2}
    # Nobody knows how a guesser would guess.
    assert np.isnan(load(first.cell, folder_of(specification, first.cell), "macro_f1").rows[0]["chance"])


@pytest.mark.parametrize("damage", ["version", "digest", "table", "text"])
def test_a_record_that_is_not_whole_or_of_another_cell_is_none(specification, tmp_path, damage):
    result = computed(specification, evaluation="within", test="one")
    folder = shutil.copytree(result.predictions.parent, tmp_path / "cell")
    assert load(result.cell, folder, "accuracy") is not None
    card = json.loads((folder / "cell.json").read_text())
    if damage == "table":
        (folder / "predictions.csv").unlink()
    elif damage == "text":
        (folder / "cell.json").write_text("{")
    else:
        (folder / "cell.json").write_text(json.dumps({**card, damage: 99 if damage == "version" else "0"}))
    assert load(result.cell, folder, "accuracy") is None


def test_another_draw_has_other_folds_of_the_same_people(specification):
    first = table_of(computed(specification, evaluation="within", test="one"))
    result = computed(specification, evaluation="within", test="one", repeat=1)
    second = table_of(result)
    assert sorted(first["file_name"]) == sorted(second["file_name"])
    assert dict(zip(first["subject"], first["fold"], strict=True)) != dict(
        zip(second["subject"], second["fold"], strict=True)
    )
    assert "draw 1" in result.rows[0]["protocol"]
    assert (specification.folder / "out" / "datasets" / "one-draw1" / "dataset.json").is_file()


def test_a_learning_curve_trains_on_so_many_people_and_tests_the_same(specification):
    result = computed(specification, evaluation="learning-curve", test="one")
    [row] = result.rows
    assert (row["train_subjects"], row["train_n"], row["n"]) == (2, 2 * 3, 9)
    tested = specification.opened["one"].split(0, paired=True)["test"]["file_name"]
    assert sorted(table_of(result)["file_name"]) == sorted(tested)


def test_one_corpus_is_left_out_and_all_others_train(specification):
    [row] = computed(specification, evaluation="leave-one-corpus-out", test="three").rows
    assert row["train"] == "one + two"
    # The folds of both that neither test nor validate: three people of the one, three of the other.
    assert (row["n"], row["train_n"]) == (33, 18)


def test_a_number_of_folds_that_is_not_the_datasets_own_is_drawn(home):
    specification = opened(home, DATASETS + PAIRS + "[evaluations.within]\nfolds = 4\n", "folds")
    result = computed(specification, evaluation="within", test="two")
    assert [row["fold"] for row in result.rows] == [None, 0, 1, 2, 3]
    assert (home / "out" / "datasets" / "two-4folds").is_dir()


def test_no_row_has_a_path_of_this_machine(specification):
    for evaluation, test in (("within", "one"), ("cross-corpus", "two"), ("learning-curve", "one")):
        for row in computed(specification, evaluation=evaluation, test=test).rows:
            assert str(specification.folder) not in json.dumps(row)


def test_classes_are_matched_by_name_and_what_is_not_common_is_noted(home, tmp_path):
    data = PreparedDataset.open(shutil.copytree(home / "data" / "two", home / "data" / "half"))
    relabelled(data, {"anger": "disgust"})
    none = PreparedDataset.open(shutil.copytree(home / "data" / "two", home / "data" / "none"))
    relabelled(none, {"anger": "disgust", "happiness": "fear", "surprise": "sadness"})
    text = '[datasets]\none = "data/one"\nhalf = "data/half"\nnone = "data/none"\n'
    specification = opened(home, text + PAIRS + "[evaluations.cross-corpus]\n", "classes")
    [row] = computed(specification, evaluation="cross-corpus", train=("one",), test="half").rows
    assert row["classes"] == "happiness, surprise"
    assert "samples of disgust" in row["notes"]
    assert "the model's anger" in row["notes"]
    failed = computed(specification, evaluation="cross-corpus", train=("one",), test="none")
    assert failed.status == "failed"
    assert "no class in common" in failed.reason
    assert str(home) not in failed.reason
    [row] = failed.rows
    assert (row["status"], row["reason"], row["train"], row["test"]) == ("failed", failed.reason, "one", "none")


def test_crops_of_two_sizes_of_face_do_not_train_together(home):
    made_dataset(home / "data" / "wide", corpus="wide", margin=0.4)
    text = '[datasets]\none = "data/one"\nwide = "data/wide"\ntwo = "data/two"\n'
    specification = opened(home, text + PAIRS + "[evaluations.leave-one-corpus-out]\n", "margins")
    result = computed(specification, evaluation="leave-one-corpus-out", test="two")
    assert result.status == "failed"
    assert "margin of 0.4" in result.reason


def test_a_run_is_refused_on_people_that_it_was_trained_on_unless_insisted(home):
    write_run(home / "runs" / "mine", features="target", seen={"one": ["P01", "P02"]})
    run = '[[recipes]]\nname = "mine"\nrun = "runs/mine"\n'
    one, two = (
        computed(opened(home, DATASETS + run, "run"), test=name, neutral="none", evaluation="predictions")
        for name in ("one", "two")
    )
    assert (one.status, two.status) == ("failed", "done")
    assert "trained on 2 of the one subjects in this test (P01, P02)" in one.reason
    assert two.rows[0]["train"] == ""
    assert len(two.rows) == 1
    insisted = computed(
        opened(home, "allow-seen-subjects = true\n" + DATASETS + run, "run"),
        test="one",
        neutral="none",
        evaluation="predictions",
    )
    assert insisted.status == "done"
    assert "TESTED ON 2 SUBJECTS" in insisted.rows[0]["protocol"]


def test_another_programs_table_is_evaluated_as_a_run_is(home):
    dataset = PreparedDataset.open(home / "data" / "one")
    rows = dataset.samples(paired=False)
    said = rows[["file_name", "label"]].assign(label="anger")
    # One picture is missing, and two of every three of the others are wrong.
    said.iloc[:-1].to_csv(home / "table.csv", index=False)
    specification = opened(
        home, DATASETS + '[[recipes]]\nname = "other"\npredictions = { one = "table.csv" }\n', "table"
    )
    result = computed(specification, neutral="none", evaluation="predictions", test="one")
    [row] = result.rows
    right = (rows["label"].iloc[:-1] == "anger").mean()
    assert (row["accuracy"], row["n"], row["train_n"]) == (pytest.approx(right), len(rows) - 1, None)
    assert "counted as wrong" in row["notes"]
    assert not [name for name in table_of(result) if name.startswith("p_")]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (MemoryError(), "too little memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "too little memory"),
        (TrainingError("The loss is no longer a finite number."), "no longer a finite number"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_ends_a_training_is_a_reason_and_is_tried_again(specification, tmp_path, monkeypatch, raised, said):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(evaluations, "fit", fail)
    cell = cell_of(specification, evaluation="within", test="one")
    result = compute(cell, specification, folder_of(specification, cell, tmp_path), CPU)
    assert result.status == "failed"
    assert said in result.reason
    assert load(cell, folder_of(specification, cell, tmp_path), "accuracy") is None


@pytest.mark.parametrize("raised", [ZeroDivisionError, DiskFullError])
def test_our_own_faults_and_a_full_disk_are_no_results(specification, tmp_path, monkeypatch, raised):
    def fail(*_, **__):
        raise raised("no room")

    monkeypatch.setattr(evaluations, "fit", fail)
    cell = cell_of(specification, evaluation="within", test="one")
    with pytest.raises(raised):
        compute(cell, specification, folder_of(specification, cell, tmp_path), CPU)


def test_a_cells_command_can_be_typed(specification):
    lines = {
        name: command_of(cell_of(specification, **wanted), specification)
        for name, wanted in {
            "within": {"evaluation": "within", "test": "one"},
            "draw": {"evaluation": "within", "test": "one", "repeat": 1},
            "cross": {"evaluation": "cross-corpus", "train": ("one",), "test": "two", "neutral": "mean"},
            "left": {"evaluation": "leave-one-corpus-out", "test": "three"},
            "curve": {"evaluation": "learning-curve", "test": "one"},
        }.items()
    }
    assert lines["within"].startswith(
        "fer train difference --cv --data data/one --encoder start --epochs 1 --out runs/"
    )
    assert '--cv --data "$OUT/datasets/one-draw1"' in lines["draw"]
    assert '--data "$OUT/datasets/one-2subjects"' in lines["curve"]
    assert "--extra-data data/two" in lines["left"]
    trained, tested = (shlex.split(part) for part in lines["cross"].split("&&"))
    assert "--cv" not in trained
    assert tested[:2] == ["fer", "evaluate"]
    assert tested[2] == trained[-1]
    assert tested[3:] == ["--data", "data/two", "--neutral", "mean"]


def test_the_typed_line_of_a_cell_gives_its_number(specification, tmp_path):
    from fer_cli.evaluation.evaluate import evaluate
    from fer_cli.training.cross_validation import cross_validate

    entry = specification.entry("pairs")
    trained = cross_validate(entry.recipe(), specification.opened["one"], tmp_path / "cv", device="cpu")
    found = computed(specification, evaluation="within", test="one").rows[0]
    assert evaluate(trained, session=CPU).value() == pytest.approx(found["accuracy"])
    assert Run.open(next(specification.folder.glob("out/trainings/*/fold0"))).card["recipe"]["logger"] == ["none"]


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three folders of anybody's pictures, in each of which people are called P01, P02 …."""
    for place, name in enumerate(("one", "two", "three")):
        made_dataset(tmp_path / "data" / name, subjects=9 + place, corpus="files")
    return tmp_path


BASELINE = "[[recipes]]\ntrain = 'baseline'\nfeatures = 'target'\n"
ACROSS = "[evaluations.cross-corpus]\n[evaluations.leave-one-corpus-out]\n"


def made_of(path: Path, root: str) -> None:
    card = json.loads((path / "dataset.json").read_text())
    card["settings"]["root"] = root
    (path / "dataset.json").write_text(json.dumps(card))


def test_people_of_equal_names_in_other_folders_of_anybodys_are_others(folders):
    specification = opened(folders, DATASETS + BASELINE + ACROSS)
    for evaluation in ("cross-corpus", "leave-one-corpus-out"):
        found = computed(specification, evaluation=evaluation, test="two", neutral="none")
        assert found.status == "done", found.reason
        assert "SEEN" not in found.rows[0]["protocol"] + found.rows[0]["notes"].upper()
        assert found.rows[0]["test"] == "two"
        # Typed alone nobody has compared the pictures.
        assert found.rows[0]["command"].count("--allow-seen-subjects") == 2


def test_two_preparations_of_one_folder_show_the_same_people(folders):
    for name in ("one", "two"):
        made_of(folders / "data" / name, "/anywhere/faces")
    specification = opened(folders, DATASETS + BASELINE + ACROSS)
    wanted = {"evaluation": "cross-corpus", "train": ("one",), "neutral": "none"}
    found = computed(specification, test="two", **wanted)
    assert found.status == "failed"
    assert "was trained on 6 of the files subjects" in found.reason
    assert computed(specification, test="three", **wanted).status == "done"


def test_weights_that_know_a_name_of_anybodys_folder_are_asked_by_name(folders):
    from tests.training.test_leakage import run

    start = run(folders / "start", {"files": ["P10"]})
    save_file({"weight": torch.zeros(1)}, start / "model.safetensors")
    specification = opened(folders, DATASETS + PAIRS + ACROSS)
    cells = [cell_of(specification, evaluation="cross-corpus", test=name, train=("three",)) for name in ("one", "two")]
    works = [evaluations._Work(cell, specification, folders, CPU) for cell in cells]
    # P10 is in the second alone.
    assert [work._strangers(specification.dataset(work.cell.test)) for work in works] == [True, False]
