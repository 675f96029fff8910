"""A training's folder: whose it is, whether it is free, and what an error or a kill leaves in it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from fer_cli.errors import RunError, UsageError
from fer_cli.training.fit import already_trained
from fer_cli.training.folder import FORMAT, finished, identity_of, interrupted, is_free, reserve, reserved, will_resume
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import abandoned, made_dataset, run_card

RECIPE = DifferenceRecipe(encoder="scratch", fold=1, epochs=3)
CPU = torch.device("cpu")
#: The records that mark a folder as a run's, a cross-validation's and a comparison's.
RUN, FOLDS, COMPARED = "run.json", "cross-validation.json", "comparison.json"


@pytest.fixture
def identity(made):
    return identity_of(RECIPE, made)


def write(path: Path, document: object = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def evaluated(folder: Path) -> None:
    write(folder / "evaluation" / "report.html")


def card(identity: dict, **more) -> dict:
    """What is in the record of a finished training of this identity."""
    dataset = {"path": identity["path"], "fingerprint": identity["dataset"]}
    return {"version": 1, "model": identity["model"], "recipe": identity["recipe"], "dataset": dataset, **more}


def test_a_training_is_its_recipe_and_the_rows_and_crops_that_it_is_trained_on(made):
    assert identity_of(RECIPE, made) == {
        "version": FORMAT,
        "model": "difference",
        "recipe": RECIPE.to_dict(),
        "dataset": made.fingerprint,
        "path": str(made.path.resolve()),
        "cross_validation": False,
    }


def test_where_every_fold_is_trained_it_does_not_matter_which_was_typed(made):
    every = identity_of(RECIPE, made, folds=True)
    assert every["cross_validation"] is True
    assert every["recipe"] == dataclasses.replace(RECIPE, fold=0).to_dict()
    assert every == identity_of(dataclasses.replace(RECIPE, fold=2), made, folds=True)


def test_only_the_same_training_is_resumed_and_wherever_its_dataset_is_now(identity, tmp_path):
    write(tmp_path / "out" / "unfinished.json", identity)
    assert will_resume(identity, tmp_path / "out")
    assert will_resume({**identity, "path": "/elsewhere"}, tmp_path / "out")
    for name, other in {
        "version": FORMAT + 1,
        "model": "disentangled",
        "recipe": {**identity["recipe"], "seed": 1},
        "dataset": "0",
        "cross_validation": True,
    }.items():
        assert not will_resume({**identity, name: other}, tmp_path / "out"), name
    assert not will_resume(identity, tmp_path / "nowhere")


def test_who_loads_the_pictures_and_how_a_steps_batch_is_divided_is_not_what_is_trained(made, tmp_path):
    """So a training for which there was no memory goes on in smaller batches."""
    write(tmp_path / "unfinished.json", identity_of(dataclasses.replace(RECIPE, batch_size=32, accumulate=1), made))
    for same in ({"batch_size": 8, "accumulate": 4}, {"batch_size": 32, "workers": "3"}):
        assert will_resume(identity_of(dataclasses.replace(RECIPE, **same), made), tmp_path), same
    for other in ({"batch_size": 8}, {"accumulate": 2}):
        assert not will_resume(identity_of(dataclasses.replace(RECIPE, **other), made), tmp_path), other


def test_further_data_is_part_of_what_is_trained(made, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    recipe = dataclasses.replace(RECIPE, extra_data=(str(other.path),))
    identity = identity_of(recipe, made)
    assert identity["extra_data"] == [other.fingerprint]
    write(tmp_path / "run" / RUN, card(identity, extra_data=[{"fingerprint": other.fingerprint}]))
    assert will_resume(identity, tmp_path / "run")
    write(tmp_path / "changed" / RUN, card(identity, extra_data=[{"fingerprint": "0"}]))
    assert not will_resume(identity, tmp_path / "changed")


def test_checkpoints_of_an_earlier_format_are_not_gone_on_with(identity, tmp_path):
    write(tmp_path / "unfinished.json", {name: value for name, value in identity.items() if name != "version"})
    assert not will_resume(identity, tmp_path)


@pytest.mark.parametrize("damage", ["", "[]", '{"model": "difference"}', None])
def test_a_record_that_cannot_be_read_is_of_no_training(damage, identity, tmp_path):
    path = write(tmp_path / "unfinished.json", {**identity, "recipe": 5})
    if damage is not None:
        path.write_text(damage)
    assert interrupted(tmp_path) is None


@pytest.mark.parametrize("record", [RUN, FOLDS, COMPARED])
def test_any_of_three_records_marks_a_finished_training(record, tmp_path):
    assert not finished(tmp_path)
    (tmp_path / record).mkdir()
    assert not finished(tmp_path)
    (tmp_path / record).rmdir()
    write(tmp_path / record, {})
    assert finished(tmp_path)


@pytest.mark.parametrize(("record", "folds"), [(RUN, False), (FOLDS, True)])
def test_a_finished_training_is_interrupted_until_it_was_evaluated(record, folds, made, tmp_path):
    identity = identity_of(RECIPE, made, folds=folds)
    write(tmp_path / record, card(identity))
    assert interrupted(tmp_path) == identity
    assert will_resume(identity, tmp_path)
    evaluated(tmp_path)
    assert interrupted(tmp_path) is None


@pytest.mark.parametrize("folds", [False, True])
def test_a_finished_comparison_is_interrupted_until_each_variant_was_evaluated(folds, made, tmp_path):
    identity = identity_of(RECIPE, made, folds=folds)
    write(tmp_path / COMPARED, card(identity, cross_validation=folds, variants=["target", "both"]))
    assert interrupted(tmp_path) == identity
    evaluated(tmp_path / "target")
    # The comparison has no evaluation of its own.
    evaluated(tmp_path)
    assert interrupted(tmp_path) == identity
    evaluated(tmp_path / "both")
    assert interrupted(tmp_path) is None


def test_a_comparison_that_does_not_name_its_variants_was_not_evaluated(identity, tmp_path):
    write(tmp_path / COMPARED, card(identity, cross_validation=False))
    assert interrupted(tmp_path) == identity


@pytest.mark.parametrize("lost", ["model", "recipe", "dataset"])
def test_a_finished_record_without_what_says_whose_it_is_is_of_nobody(lost, identity, tmp_path):
    write(tmp_path / RUN, {name: value for name, value in card(identity).items() if name != lost})
    assert interrupted(tmp_path) is None
    write(tmp_path / RUN, {**card(identity), lost: 5})
    assert interrupted(tmp_path) is None


def test_free_is_what_is_not_there_or_empty_but_for_what_a_kill_left(tmp_path):
    assert is_free(tmp_path / "nowhere")
    (tmp_path / "out").mkdir()
    assert is_free(tmp_path / "out")
    left = abandoned(tmp_path / "out", "unfinished.json")
    assert left.exists()
    assert is_free(tmp_path / "out")
    assert not left.exists()
    (tmp_path / "out" / "chapter.txt").touch()
    assert not is_free(tmp_path / "out")
    assert not is_free(tmp_path / "out" / "chapter.txt")


def test_a_folder_is_reserved_by_the_record_of_the_training_under_way(identity, tmp_path):
    out = tmp_path / "of" / "several" / "levels"
    reserve(out, identity)
    assert json.loads((out / "unfinished.json").read_text()) == identity
    assert will_resume(identity, out)
    # Reserved by itself it is not in its own way, whatever it has trained meanwhile.
    (out / "checkpoints").mkdir()
    reserve(out, identity)
    (tmp_path / "empty").mkdir()
    reserve(tmp_path / "empty", identity)
    assert will_resume(identity, tmp_path / "empty")


def test_what_is_in_the_way_is_named_and_left_as_it_is(made, identity, tmp_path):
    other = identity_of(dataclasses.replace(RECIPE, epochs=4), made)
    reserve(tmp_path / "other", other)
    with pytest.raises(RunError, match=r"other is in the way: it holds an unfinished training with other settings\.$"):
        reserve(tmp_path / "other", identity)
    assert will_resume(other, tmp_path / "other")
    write(tmp_path / "thesis" / "chapter.txt")
    with pytest.raises(RunError, match=r"thesis is in the way: it holds something else\.$"):
        reserve(tmp_path / "thesis", identity)
    write(tmp_path / "run" / RUN, card(identity))
    with pytest.raises(RunError, match=r"run holds a finished run\.$"):
        reserve(tmp_path / "run", identity)
    for name in ("other", "thesis", "run"):
        with pytest.raises(RunError) as caught:
            reserve(tmp_path / name, identity)
        assert caught.value.hint.startswith("Type --out FOLDER")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RUN]


def test_a_folder_that_cannot_be_made_is_said(identity, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/out cannot be written: Not a directory\.$") as caught:
        reserve(tmp_path / "file" / "out", identity)
    assert caught.value.hint.startswith("Type --out FOLDER")


def with_error(out: Path, identity: dict, *, part: str = "") -> None:
    """Reserve ``out``, train a ``part`` into it if there is one, and meet an error that a person must correct."""

    def stopped() -> None:
        with reserved(out, identity, CPU):
            assert will_resume(identity, out)
            if part:
                write(out / part / RUN)
            raise UsageError("That cannot be meant.")

    with pytest.raises(UsageError, match="cannot be meant"):
        stopped()


def test_an_error_to_correct_leaves_no_new_folder_behind(identity, tmp_path):
    out = tmp_path / "runs" / "mine"
    with_error(out, identity)
    assert not out.parent.exists()


def test_an_error_to_correct_leaves_a_folder_that_was_there_and_a_part_that_is_trained(identity, tmp_path):
    (tmp_path / "empty").mkdir()
    with_error(tmp_path / "empty", identity)
    assert will_resume(identity, tmp_path / "empty")
    with_error(tmp_path / "new", identity, part="stage1")
    assert (tmp_path / "new" / "stage1" / RUN).is_file()
    assert will_resume(identity, tmp_path / "new")


def test_a_kill_leaves_the_folder_reserved(identity, tmp_path):
    with pytest.raises(KeyboardInterrupt), reserved(tmp_path / "out", identity, CPU):
        raise KeyboardInterrupt
    assert will_resume(identity, tmp_path / "out")


@pytest.mark.parametrize("record", [RUN, FOLDS, COMPARED])
def test_of_a_finished_training_what_a_kill_left_is_removed_and_of_another_nothing(record, tmp_path):
    out = tmp_path / "out"
    write(out / "unfinished.json", {})
    write(out / "checkpoints" / "checkpoint-3" / "trainer_state.json", {})
    left = abandoned(out, "epochs.csv")
    assert not already_trained(out)
    assert {path.name for path in out.iterdir()} == {"unfinished.json", "checkpoints", left.name}
    write(out / record, run_card())
    assert already_trained(out)
    assert [path.name for path in out.iterdir()] == [record]
    # There is nothing to remove the second time.
    assert already_trained(out)
    shutil.rmtree(out)
    assert not already_trained(out)
