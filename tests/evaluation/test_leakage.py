"""Subjects whom published weights do not list, recognised by the dataset that they were trained on and its folds."""

import json
import shutil

import pytest

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import RunError
from fer_cli.evaluation.leakage import Leakage, check_leakage
from fer_cli.runs.run import Run, unlisted_behind
from tests.made import made_dataset, run_card, unnamed

#: Of nine subjects in three folds those of each, as a run of fold 0 has them.
TEST, VAL, TRAIN = (["P01", "P04", "P07"], ["P02", "P05", "P08"], ["P03", "P06", "P09"])


@pytest.fixture
def wild(tmp_path) -> PreparedDataset:
    return made_dataset(tmp_path / "data" / "wild", corpus="files")


def published(folder, wild, *, extra: bool = True, **changes) -> Run:
    """A run that trained on ``wild``, its own dataset or an ``extra`` one, and lists nobody of it."""
    data = {"path": "gone", "name": "wild", "corpus": "files", "fingerprint": wild.fingerprint}
    card = run_card(seen={"made": []}, extra_data=[data]) if extra else run_card(seen={}, dataset=data)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({**card, **changes}))
    return Run.open(folder)


def check(run, dataset, side, *, allow_seen=False) -> Leakage:
    rows = dataset.samples(paired=False) if side == "all" else dataset.split(run.fold, paired=False)[side]
    return check_leakage(run, dataset, rows, allow_seen=allow_seen)


def test_of_further_data_the_folds_that_trained_are_refused_by_name(wild, tmp_path):
    run = published(tmp_path / "run", wild)
    assert not check(run, wild, "test")
    # The validation fold of further data neither trains nor chooses the epoch.
    assert not check(run, wild, "val")
    for side in ("train", "all"):
        with pytest.raises(
            RunError, match=r"trained on 3 of the files subjects in this test \(P03, P06, P09\)"
        ) as told:
            check(run, wild, side)
        assert told.value.hint.startswith("Type --split test ")
        assert check(run, wild, side, allow_seen=True) == Leakage(tuple(TRAIN))


def test_of_its_own_data_the_validation_fold_is_refused_too(wild, tmp_path):
    run = published(tmp_path / "run", wild, extra=False)
    assert not check(run, wild, "test")
    assert check(run, wild, "val", allow_seen=True).subjects == tuple(VAL)
    assert check(run, wild, "all", allow_seen=True).subjects == tuple(sorted(TRAIN + VAL))


def test_which_folds_trained_follows_from_that_of_the_run(wild, tmp_path):
    run = published(tmp_path / "run", wild, fold=2)
    assert not check(run, wild, "test")
    assert check(run, wild, "all", allow_seen=True).subjects == tuple(VAL)


def test_the_same_names_in_another_dataset_are_other_people(wild, tmp_path):
    run = published(tmp_path / "run", wild)
    other = made_dataset(tmp_path / "data" / "other", corpus="files", size=48)
    assert not check(run, other, "all")
    moved = PreparedDataset.open(shutil.copytree(wild.path, tmp_path / "elsewhere"))
    assert check(run, moved, "all", allow_seen=True).subjects == tuple(TRAIN)


def test_people_that_are_listed_are_known_by_their_names_alone(wild, tmp_path):
    run = published(tmp_path / "run", wild, seen={"made": [], "files": ["P03"]})
    assert unlisted_behind(run.path) == []
    assert check(run, wild, "all", allow_seen=True).subjects == ("P03",)


def test_pictures_of_unnamed_people_are_those_of_the_same_dataset(wild, tmp_path):
    dataset = unnamed(wild, {"a": "train", "b": "val", "c": "test"})
    run = published(tmp_path / "run", dataset)
    assert not check(run, dataset, "test")
    with pytest.raises(RunError, match="18 of the files pictures"):
        check(run, dataset, "all")
    # Any folder of pictures is of this corpus: these have no split, and nothing to do with the run.
    others = unnamed(made_dataset(tmp_path / "data" / "others", corpus="files", size=48), {"a": None})
    assert not check(run, others, "all")
    alone = published(tmp_path / "alone", others)
    assert check(alone, others, "all", allow_seen=True) == Leakage(pictures=27)


def test_what_weights_were_trained_on_before_counts_too(wild, tmp_path):
    before = unlisted_behind(published(tmp_path / "before", wild, fold=1).path)
    run = published(tmp_path / "run", made_dataset(tmp_path / "own", size=48), extra=False, unlisted=before)
    assert before == [{"fingerprint": wild.fingerprint, "fold": 1, "extra": True}]
    assert check(run, wild, "all", allow_seen=True).subjects == tuple(TEST)
    assert unlisted_behind(run.path)[0] == before[0]
