"""Specifications, from a file of TOML to the cells that they come to."""

import pickle
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from fer_cli.benchmark import recipes as entries
from fer_cli.benchmark.specification import Specification, expand, initial
from fer_cli.errors import DatasetError, FerError, RunError, UsageError
from tests.made import made_dataset, unnamed
from tests.prediction.runs import write_run

DATASETS = """
[datasets]
one = "data/one"
two = "data/two"
three = "data/three"
"""
PAIRED = '[[recipes]]\nname = "pairs"\ntrain = "difference"\nencoder = "scratch"\n'
SINGLE = '[[recipes]]\nname = "single"\ntrain = "difference"\nencoder = "scratch"\nfeatures = "target"\n'
EVERY = """
[evaluations.within]
repeats = 2
[evaluations.cross-corpus]
[evaluations.leave-one-corpus-out]
[evaluations.learning-curve]
subjects = [2, 3]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("specification")
    for place, name in enumerate(("one", "two", "three")):
        made_dataset(home / "data" / name, subjects=9 + place, corpus=name)
    write_run(home / "runs" / "pair", features="both")
    write_run(home / "runs" / "alone", features="target")
    return home


@pytest.fixture
def home(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "home")


def opened(home: Path, text: str) -> Specification:
    (home / "benchmark.toml").write_text(text)
    return Specification.open(home / "benchmark.toml")


def mine(specification: Specification) -> list:
    """The cells but those of the baseline, which every benchmark has."""
    return [cell for cell in expand(specification) if not cell.recipe.startswith(entries.BASELINE)]


def test_what_is_not_said_is_average_recall_within_each_dataset_from_one_seed(made):
    found = opened(made, DATASETS + PAIRED)
    assert (found.metric, found.seeds) == ("unweighted_average_recall", (0,))
    assert (found.neutral, found.title) == (("given",), "benchmark")
    assert not found.allow_seen
    assert list(found.evaluations) == ["within"]
    assert [cell.title for cell in mine(found)] == [
        f"pairs, within, {name}, neutral given" for name in ("one", "two", "three")
    ]


def test_every_evaluation_comes_to_its_cells(made):
    found = mine(opened(made, "seeds = [0, 1]\nneutral = ['given', 'mean']\n" + DATASETS + PAIRED + SINGLE + EVERY))
    count = Counter((cell.recipe, cell.evaluation) for cell in found)
    for recipe, accesses in (("pairs", 2), ("single", 1)):
        assert count[recipe, "within"] == 3 * 2 * 2 * accesses
        assert count[recipe, "cross-corpus"] == 6 * 2 * accesses
        assert count[recipe, "leave-one-corpus-out"] == 3 * 2 * accesses
        assert count[recipe, "learning-curve"] == 3 * 2 * 2 * accesses
    assert {cell.neutral for cell in found if cell.recipe == "single"} == {"none"}
    assert {cell.neutral for cell in found if cell.recipe == "pairs"} == {"given", "mean"}
    assert {cell.train_subjects for cell in found if cell.evaluation == "learning-curve"} == {2, 3}
    others = {cell.test: cell.train for cell in found if cell.evaluation == "leave-one-corpus-out"}
    assert others == {"one": ("two", "three"), "two": ("one", "three"), "three": ("one", "two")}
    assert len({cell.digest for cell in found}) == len(found)


def test_the_first_of_those_that_share_a_training_comes_before_all_that_find_it_done(made):
    text = "neutral = ['given', 'mean']\n" + DATASETS + PAIRED + EVERY
    trainings = [(cell.recipe, cell.train, cell.repeat, cell.train_subjects) for cell in mine(opened(made, text))]
    first = len(set(trainings))
    assert len(set(trainings[:first])) == first
    assert mine(opened(made, text)) == mine(opened(made, text))


def test_runs_and_tables_are_tested_on_each_dataset(home):
    (home / "tables").mkdir()
    (home / "tables" / "other.csv").write_text("file_name,label\n")
    text = """
[[recipes]]
run = "runs/pair"
name = "pair"
[[recipes]]
name = "alone"
run = "runs/alone"
[[recipes]]
name = "other"
predictions = { two = "tables/other.csv" }
"""
    found = mine(opened(home, "neutral = ['mean', 'given']" + DATASETS + text))
    assert {cell.evaluation for cell in found} == {"predictions"}
    assert Counter((cell.recipe, cell.neutral) for cell in found) == {
        ("pair", "mean"): 3,
        ("pair", "given"): 3,
        ("alone", "none"): 3,
        ("other", "none"): 1,
    }
    [table] = [cell for cell in found if cell.recipe == "other"]
    before = table.digest
    (home / "tables" / "other.csv").write_text("file_name,label\nelse,anger\n")
    assert [cell.digest for cell in mine(opened(home, DATASETS + text)) if cell.recipe == "other"] != [before]


def test_a_digest_changes_with_each_thing_that_a_number_depends_on(home):
    def digest(text: str = "", recipe: str = SINGLE) -> str:
        return mine(opened(home, text + DATASETS + recipe))[0].digest

    before = digest()
    assert digest() == before
    assert digest("title = 'Another'\nmetric = 'macro_f1'\n") == before
    changed = [
        digest("seeds = [1]\n"),
        digest("allow-seen-subjects = true\n"),
        digest(recipe=SINGLE + "epochs = 3\n"),
        digest(recipe=SINGLE.replace('"single"', '"other"')),
        digest(recipe=SINGLE + "[evaluations.within]\nfolds = 4\n"),
    ]
    shutil.copy(home / "runs" / "alone" / "model.safetensors", home / "start.safetensors")
    started = SINGLE.replace('"scratch"', '"start.safetensors"')
    changed.append(digest(recipe=started))
    shutil.copy(home / "runs" / "pair" / "model.safetensors", home / "start.safetensors")
    changed.append(digest(recipe=started))
    rows = pd.read_csv(home / "data" / "one" / "metadata.csv", dtype="string")
    rows.iloc[:-1].to_csv(home / "data" / "one" / "metadata.csv", index=False)
    changed.append(digest())
    assert len({before, *changed}) == 1 + len(changed)


def test_a_digest_is_the_same_wherever_the_folder_is(made, tmp_path):
    text = DATASETS + PAIRED + EVERY + '[[recipes]]\nname = "pair"\nrun = "runs/pair"\n'
    moved = shutil.copytree(made, tmp_path / "moved")
    assert [cell.digest for cell in mine(opened(made, text))] == [cell.digest for cell in mine(opened(moved, text))]


def test_of_people_who_are_not_named_there_is_one_draw(home):
    unnamed(made_dataset(home / "data" / "nobody", corpus="nobody"), {"a": "train", "b": "test"})
    found = mine(opened(home, '[datasets]\nnobody = "data/nobody"\n' + SINGLE + "[evaluations.within]\nrepeats = 5\n"))
    assert [cell.repeat for cell in found] == [0]


def test_the_baseline_is_always_a_row(made, monkeypatch):
    kind = entries._RECIPES["difference"]
    monkeypatch.setitem(entries._RECIPES, entries.BASELINE, kind)
    added = opened(made, DATASETS + SINGLE).recipes
    assert [(each.name, each.train) for each in added] == [("baseline", "baseline"), ("single", "difference")]
    assert added[0].settings == {"features": "target"}
    own = '[[recipes]]\nname = "hog"\ntrain = "baseline"\nfeatures = "both"\n'
    assert [each.name for each in opened(made, DATASETS + own).recipes] == ["hog"]
    taken = SINGLE.replace('"single"', '"baseline"')
    assert len({each.name for each in opened(made, DATASETS + taken).recipes}) == 2


def test_it_goes_to_other_processes_without_its_datasets(made):
    found = opened(made, DATASETS + PAIRED)
    assert len(found.opened) == 3
    sent = pickle.dumps(found)
    assert len(sent) < 20_000
    again = pickle.loads(sent)  # noqa: S301
    assert again == found
    assert expand(again) == expand(found)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("seed = [0]" + DATASETS + PAIRED, "no key 'seed'", "seeds?"),
        ("metric = 'acuracy'" + DATASETS + PAIRED, "no metric 'acuracy'", "Did you mean accuracy?"),
        ("metric = 'ece'" + DATASETS + PAIRED, "no metric 'ece'", "macro_f1"),
        (DATASETS + PAIRED.replace('"difference"', '"diference"'), "no recipe to train 'diference'", "difference?"),
        (DATASETS + PAIRED + "epoch = 3", "no setting of difference 'epoch'", "epochs?"),
        (DATASETS + PAIRED + "epochs = 'three'", "recipe pairs: epochs: Expected `int`", ""),
        (DATASETS + PAIRED + "epochs = 0", "--epochs 0: a number of at least 1", ""),
        (DATASETS + PAIRED + "seed = 3", "seed is none of its own", "seeds = "),
        (DATASETS + PAIRED + "fold = 3", "fold is none of its own", "evaluation"),
        (DATASETS + PAIRED + "ablation = true", "ablation is none of its own", "target, difference and both"),
        (DATASETS + PAIRED + "recipe = 'not'", "no published settings of difference 'not'", "note?"),
        (DATASETS + PAIRED + "[evaluations.crosscorpus]", "no evaluation 'crosscorpus'", "cross-corpus?"),
        (DATASETS + PAIRED + "[evaluations.within]\nrepeat = 3", "no setting of within 'repeat'", "repeats?"),
        (DATASETS + PAIRED + "[evaluations.within]\nfolds = 2", "evaluations.within: folds", ""),
        (DATASETS + PAIRED + "[evaluations.learning-curve]", "no numbers of training subjects", "subjects = "),
        (DATASETS + PAIRED + PAIRED, "recipe 'pairs' twice", ""),
        (PAIRED, "no datasets", "[datasets]"),
        (DATASETS, "no recipes", "[[recipes]]"),
        (DATASETS + '[[recipes]]\nname = "a"\n', "says nothing of what it is", ""),
        (DATASETS + '[[recipes]]\nname = "a"\ntrain = "difference"\nrun = "faces"\n', "train and run", ""),
        (DATASETS + '[[recipes]]\nname = "a/b"\nrun = "faces"\n', "'a/b' is no name", ""),
        (DATASETS + '[[recipes]]\nname = "a"\nrun = "faces"\nepochs = 3\n', "no setting of a run", ""),
        (DATASETS + '[[recipes]]\nname = "a"\npredictions = { ome = "a.csv" }\n', "no dataset 'ome'", "one?"),
        (DATASETS + '[[recipes]]\nname = "a"\npredictions = { one = "a.csv" }\n', "there is no file", ""),
        ('[datasets]\n"../one" = "data/one"\n' + PAIRED, "is no name for a dataset", ""),
        ('[datasets]\none = "data/one"\n' + PAIRED + "[evaluations.cross-corpus]", "needs 2 datasets or more", ""),
        ("neutral = ['none']" + DATASETS + PAIRED, "neutral", ""),
        ("seeds = []" + DATASETS + PAIRED, "seeds", ""),
        ("datasets = 3\n" + PAIRED, "datasets", ""),
        ("= 3", "is not TOML", ""),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_nearest_name(made, text, said, hint):
    with pytest.raises(UsageError) as told:
        opened(made, text)
    assert said in told.value.message
    assert hint in told.value.hint
    assert str(made / "benchmark.toml") in told.value.message


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('[datasets]\none = "data/gone"\n' + PAIRED, DatasetError),
        (DATASETS + '[[recipes]]\nname = "a"\nrun = "runs/gone"\n', RunError),
    ],
)
def test_a_folder_that_is_not_there_is_named(made, text, kind):
    with pytest.raises(kind, match="gone"):
        opened(made, text)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read") as told:
        Specification.open(tmp_path / "gone.toml")
    assert "--init" in told.value.hint
    (tmp_path / "large.toml").write_text("#" * 1_000_001)
    with pytest.raises(UsageError, match="larger than 1 MB"):
        Specification.open(tmp_path / "large.toml")


def test_what_init_writes_is_a_specification_of_what_is_there(home):
    (home / "data" / "two").rename(home / "data" / "zwei & drei")
    text = initial(home)
    found = opened(home, text)
    assert sorted(path.name for path in found.datasets.values()) == ["one", "three", "zwei & drei"]
    assert list(found.evaluations) == ["within", "cross-corpus", "leave-one-corpus-out"]
    assert {"difference", "single"} <= {each.name for each in found.recipes}
    # What it shows in comments can be used as it is.
    shown = "\n".join(line.removeprefix("# ") for line in text.splitlines() if not line.startswith("# run ="))
    assert 'name = "pair"' in shown
    assert "runs/pair" in text
    assert all(cell.recipe != "pair" for cell in expand(found))
    with pytest.raises(FerError, match="no prepared dataset"):
        initial(home / "runs")
