"""``fer evaluate`` as a person types it, on a run that is there already."""

import io
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.cli.figures import matrix
from fer_cli.dataset.schema import VOTE_COLUMNS


@pytest.fixture(scope="module")
def _home(tmp_path_factory):
    from tests.trained import trained

    return trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def here(_home, tmp_path, monkeypatch):
    """A folder to stand in, with a cross-validation in ``runs/cv``, its runs beside it, and what is known of people."""
    from tests.trained import moved

    home = moved(_home, tmp_path / "home")
    for fold in range(3):
        shutil.copytree(home / "runs" / "cv" / f"fold{fold}", home / "runs" / f"fold{fold}")
    lines = [f"P{number:02d},{'female' if number % 2 else 'male'},{20 + number}" for number in range(1, 10)]
    (home / "subjects.csv").write_text("\n".join(["subject,gender,age", *lines]) + "\n")
    monkeypatch.chdir(home)
    return home


def fer(*words: str, code: int = 0, columns: int = 80):
    """What ``fer`` says and shows; fails if it exits otherwise than with ``code``."""
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": str(columns)})
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def test_the_screen_has_measures_with_intervals_matrices_and_classes_within_80_columns(here):
    shown = fer("evaluate", "runs/fold0").stdout
    assert "test fold 0" in " ".join(shown.split())
    for name in ("accuracy", "average recall", "macro-F1", "weighted F1", "kappa", "AUC, 1 vs rest", "ECE"):
        assert re.search(rf"^{name} +\S+ \[\S+, \S+\]$|^{name} +\S+ *$", shown, flags=re.MULTILINE), name
    metrics = json.loads((here / "runs/fold0/evaluation/metrics.json").read_text())
    value, low, high = (f"{100 * metrics['measures']['accuracy'][name]:.1f}" for name in ("value", "low", "high"))
    assert f"{value} [{low}, {high}]" in shown
    chance = 100 * metrics["chance"]["accuracy"]
    assert f"a guesser reaches at most (95 %): accuracy {chance:.1f}, average recall" in shown
    assert "true ↓ as →" in shown
    assert "% of true" in shown
    assert "at temperature" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown


def test_classes_are_named_in_full_where_80_columns_have_room():
    classes = ["anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    counts = pd.DataFrame(np.eye(8, dtype=int) * 1000, index=classes, columns=classes)
    for names in (classes, classes[:7], [f"{name} of a long name" for name in classes]):
        console = Console(width=80, file=io.StringIO())
        console.print(matrix(counts.iloc[: len(names), : len(names)].set_axis(names, axis=1), normalised=False))
        lines = console.file.getvalue().splitlines()
        assert len(lines) == 1 + len(names)
        assert max(len(line.rstrip()) for line in lines) <= 80
        if names[0] == "anger":
            assert lines[0].split()[-len(names) :] == names


def test_a_cross_validation_that_was_finished_last_is_the_latest(here):
    for path in (here / "runs").glob("*/run.json"):
        os.utime(path, (1, 1))
    assert "run       runs/cv (the latest in ./runs)" in fer("evaluate").output


def test_a_cross_validation_shows_its_folds_and_sums_to_all_samples(here):
    shown = fer("evaluate", "runs/cv").stdout
    assert "27 samples of 9 subjects" in shown
    assert "accuracy by fold" in shown
    metrics = json.loads((here / "runs/cv/evaluation/metrics.json").read_text())
    assert sum(map(sum, metrics["confusion"])) == 27


def test_groups_and_their_gaps_are_shown_with_what_is_too_small(here):
    result = fer("evaluate", "runs/cv", "--group-by", "gender", "--subjects", "subjects.csv")
    assert re.search(r"^female \* +15 +5 ", result.stdout, flags=re.MULTILINE)
    assert "gender female: 5 subjects and 15 samples are too few" in result.stderr
    assert (here / "runs/cv/evaluation/gaps.csv").is_file()


def test_metrics_weighted_by_agreement_are_shown_within_80_columns(here):
    path = here / "data/made/metadata.csv"
    rows = pd.read_csv(path, dtype="string")
    rows = rows.assign(**dict.fromkeys(VOTE_COLUMNS, "1"))
    rows.to_csv(path, index=False)
    shown = fer("evaluate", "runs/cv", "--sample-weight", "agreement").stdout
    card = json.loads((here / "runs/cv/evaluation/metrics.json").read_text())
    usual, weighted = (
        "{:.1f} [{:.1f}, {:.1f}]".format(
            *(100 * each["measures"]["accuracy"][name] for name in ("value", "low", "high"))
        )
        for each in (card, card["weighted"])
    )
    assert re.search(rf"^accuracy +{re.escape(usual)} +{re.escape(weighted)}$", shown, flags=re.MULTILINE)
    # Of ten votes each class has one.
    assert "expected accuracy 10.0 [10.0, 10.0]" in shown
    assert re.search(r"^below 0\.5 \* +27 ", shown, flags=re.MULTILINE)
    assert "gaps" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_insisting_is_stamped_on_the_screen(here):
    assert "trained on 3 of the made subjects" in fer("evaluate", "runs/fold0", "--split", "val", code=1).stderr
    shown = fer("evaluate", "runs/fold0", "--split", "val", "--allow-seen-subjects", "--out", "there").stdout
    assert "TESTED ON 3 SUBJECTS THAT THE MODEL WAS TRAINED ON" in " ".join(shown.split())
    assert (here / "there" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("runs/fold0", "--group-by", "gender"), 2, "need each other"),
        (("runs/fold0", "--subjects", "subjects.csv"), 2, "need each other"),
        (("runs/fold0", "--group-by", "height", "--subjects", "subjects.csv"), 2, "It has gender, age"),
        (("runs/fold0", "--group-by", "age", "--subjects", "nowhere.csv"), 1, "No such file"),
        (("runs/fold0", "--split", "train"), 2, "'test', 'val', 'all'"),
        (("runs/cv", "--split", "all"), 2, "tested 3 times"),
        (("runs/cv", "--data", "data/made"), 2, "--data data/made for one of its runs"),
        (("runs/fold0", "--data", "nowhere"), 1, "no folder nowhere"),
        (("runs/fold0", "--sample-weight", "agreement"), 1, "no votes (the columns votes_neutral, votes_anger and so"),
        (("runs/fold0", "--sample-weight", "size"), 2, "agreement"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(here, words, code, said):
    assert said in " ".join(fer("evaluate", *words, code=code, columns=200).output.split())
    assert not (here / "runs/fold0/evaluation").exists()


def test_a_table_of_another_program_is_evaluated_in_the_place_of_a_run(here):
    rows = pd.read_csv(here / "data/made/metadata.csv").query("role == 'apex'")
    table = pd.DataFrame({"input_image_path": rows["file_name"], "facial_expression": rows["label"].str.title()})
    table.to_csv(here / "libreface.csv", index=False)
    result = fer("evaluate", "--predictions", "libreface.csv", "--data", "data/made")
    assert "predictions of LibreFace" in " ".join(result.stdout.split())
    assert "no calibration error" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    card = json.loads((here / "libreface-made/metrics.json").read_text())
    assert (card["accuracy"], card["neutral_access"]) == (1, "none")
    fer("evaluate", "runs/fold0")
    assert "LibreFace" in fer("compare", "runs/fold0", "libreface-made").stdout


def test_a_table_without_some_pictures_is_evaluated_both_ways_and_exits_with_3(here):
    rows = pd.read_csv(here / "data/made/metadata.csv").query("role == 'apex'").iloc[3:]
    table = pd.DataFrame({"file": rows["file_name"], "label": rows["label"]})
    table.to_csv(here / "mine.csv", index=False)
    shown = fer("evaluate", "--predictions", "mine.csv", "--data", "data/made", "--out", "found", code=3).stdout
    assert "3 of 27 pictures missing; counted as wrong:\naccuracy 88.9 [" in shown
    assert (here / "found/predictions.csv").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--predictions", "mine.csv"], 2, "--data"),
        (["runs/fold0", "--predictions", "mine.csv", "--data", "data/made"], 2, "--predictions and RUN"),
        (["--predictions", "mine.csv", "--data", "data/made", "--map", "--tta", "flip"], 2, "--map, --tta"),
        (["--predictions", "none.csv", "--data", "data/made"], 1, "none.csv cannot be read"),
        (["--predictions", "mine.csv", "--data", "runs"], 1, "not a prepared dataset"),
        (["--predictions", "mine.csv", "--data", "data/made"], 1, "cats/1.jpg"),
    ],
)
def test_a_table_that_cannot_be_evaluated_is_a_sentence(here, words, code, said):
    (here / "mine.csv").write_text("file,label\ncats/1.jpg,anger\n")
    assert said in " ".join(fer("evaluate", *words, code=code).stderr.split())
