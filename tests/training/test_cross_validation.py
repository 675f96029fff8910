import dataclasses
import json

import pytest

from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.options import Session
from fer_cli.runs.run import CrossValidation, Run, open_any
from fer_cli.training import cross_validation as folds
from fer_cli.training.cross_validation import cross_validate
from fer_cli.training.fit import fit
from fer_cli.training.folder import identity_of, will_resume
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from tests.made import made_model, run_card, unnamed


@pytest.fixture
def recipe(tmp_path) -> DifferenceRecipe:
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    return DifferenceRecipe(encoder=str(tmp_path / "encoder"), epochs=2, batch_size=9, logger=("none",))


def test_every_fold_is_held_out_once_in_a_run_of_its_own(recipe, made, tmp_path):
    result = cross_validate(recipe, made, tmp_path / "cv", device="cpu", command="fer train difference --cv")
    assert [run.path.name for run in result.runs] == ["fold0", "fold1", "fold2"]
    assert [run.fold for run in result.runs] == [0, 1, 2]
    tested = [name for run in result.runs for name in run.card["subjects"]["test"]]
    assert sorted(tested) == sorted(made.metadata["subject"].unique())
    for run in result.runs:
        assert not set(run.card["subjects"]["test"]) & set(run.seen["made"])
    assert result.card["command"] == "fer train difference --cv"
    assert isinstance(open_any(tmp_path / "cv"), CrossValidation)
    assert isinstance(open_any(tmp_path / "cv" / "fold1"), Run)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the training of each fold is asked for, which is not trained: its run has a card and nothing else."""
    calls = []

    def note(recipe, dataset, out, **settings):
        calls.append((recipe, dataset, out, settings))
        assert will_resume(identity_of(recipe, dataset, folds=True), tmp_path / "cv")
        out.mkdir()
        (out / "run.json").write_text(json.dumps(run_card(fold=recipe.fold)))
        settings["progress"]("training", 3, 4, loss=0.5)

    monkeypatch.setattr(folds, "fit", note)
    return calls


def test_every_fold_is_trained_as_the_whole_was_asked_to_be(recipe, made, tmp_path, asked):
    told = []

    def progress(*place, **facts):
        told.append((*place, facts))

    # The encoder has seen a subject, on whom is insisted.
    (tmp_path / "encoder" / "run.json").write_text(json.dumps(run_card(seen={"made": ["P02"]})))
    recipe = dataclasses.replace(recipe, fold=2, seed=5)
    settings = {"device": "cpu", "allow_seen": True, "command": "fer train difference --cv"}
    result = cross_validate(recipe, made, tmp_path / "cv", progress=progress, **settings)
    assert [call[0] for call in asked] == [dataclasses.replace(recipe, fold=fold) for fold in (0, 1, 2)]
    assert [call[2] for call in asked] == [tmp_path / "cv" / f"fold{fold}" for fold in (0, 1, 2)]
    for _, dataset, _, given in asked:
        assert dataset is made
        assert given.items() >= settings.items()
    assert told == [(f"fold {place}/3 training", 3, 4, {"loss": 0.5}) for place in (1, 2, 3)]
    expected = {
        "version": 1,
        "model": "difference",
        "command": "fer train difference --cv",
        "recipe": dataclasses.replace(recipe, fold=0).to_dict(),
        "dataset": {"path": str(made.path.resolve()), "fingerprint": made.fingerprint},
        "protocol": made.protocol.to_dict(),
        "folds": ["fold0", "fold1", "fold2"],
    }
    assert {name: result.card.get(name) for name in expected} == expected
    assert {path.name for path in result.path.iterdir()} == {*expected["folds"], "cross-validation.json"}


def test_a_cross_validation_that_is_asked_for_nothing_more_guards_seen_subjects(recipe, made, tmp_path, asked):
    result = cross_validate(recipe, made, tmp_path / "cv")
    for *_, given in asked:
        assert (given["device"], given["allow_seen"], given["command"]) == ("auto", False, "")
    assert result.card["command"] == ""


def test_an_unfinished_cross_validation_is_one_and_no_training_of_a_fold(recipe, made, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(folds, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(dataclasses.replace(recipe, fold=1), made, tmp_path / "cv", device="cpu")
    assert will_resume(identity_of(recipe, made, folds=True), tmp_path / "cv")
    assert not will_resume(identity_of(recipe, made), tmp_path / "cv")


def test_pooled_each_sample_is_tested_once(recipe, made, tmp_path):
    evaluation = evaluate(cross_validate(recipe, made, tmp_path / "cv", device="cpu"), session=Session("cpu"))
    samples = made.samples(paired=True)
    assert sorted(evaluation.predictions["file_name"]) == sorted(samples["file_name"])
    assert evaluation.confusion.to_numpy().sum() == len(samples) == 27
    assert list(evaluation.folds["n"]) == [9, 9, 9]
    mean, deviation = evaluation.over_folds()
    assert mean == pytest.approx(evaluation.folds["accuracy"].mean())
    assert deviation == pytest.approx(evaluation.folds["accuracy"].std())


def test_an_interrupted_cross_validation_goes_on(recipe, made, tmp_path, monkeypatch):
    trained = []

    def counted(each, *arguments, **settings):
        if each.fold == 1 and trained == [0]:
            trained.append(None)
            raise KeyboardInterrupt
        trained.append(each.fold)
        return fit(each, *arguments, **settings)

    monkeypatch.setattr(folds, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(recipe, made, tmp_path / "cv", device="cpu")
    with pytest.raises(RunError, match="not finished"):
        CrossValidation.open(tmp_path / "cv")
    cross_validate(recipe, made, tmp_path / "cv", device="cpu")
    assert trained == [0, None, 1, 2]
    with pytest.raises(RunError, match="finished run"):
        cross_validate(recipe, made, tmp_path / "cv", device="cpu")


def test_both_stages_of_each_fold_leave_its_test_subjects_out(made, tmp_path):
    recipe = DisentangledRecipe(
        encoder="scratch", identity="none", backbone="mobilenet_v3_small", epochs=1, batch_size=9, logger=("none",)
    )
    result = cross_validate(recipe, made, tmp_path / "cv", device="cpu")
    for run in result.runs:
        first = Run.open(run.path / "stage1")
        assert first.fold == run.fold
        assert not set(run.card["subjects"]["test"]) & set(first.seen["made"])


def test_stage_2_of_each_fold_takes_stage_1_of_that_fold(made, tmp_path):
    one = DisentangledRecipe(
        stage=1, encoder="scratch", identity="none", backbone="mobilenet_v3_small", epochs=1, batch_size=9
    )
    cross_validate(one, made, tmp_path / "one", device="cpu")
    two = DisentangledRecipe(stage=2, encoder=str(tmp_path / "one"), epochs=1, batch_size=9)
    result = cross_validate(two, made, tmp_path / "two", device="cpu")
    assert all(not run.card["insisted_on"] for run in result.runs)


def test_a_start_that_knows_some_fold_is_refused_before_any_is_trained(recipe, made, tmp_path):
    start = fit(recipe, made, tmp_path / "start", device="cpu")
    knowing = dataclasses.replace(recipe, encoder=str(start.path))
    with pytest.raises(RunError, match="fold 1 tests"):
        cross_validate(knowing, made, tmp_path / "cv", device="cpu")
    assert not (tmp_path / "cv").exists()


def test_without_folds_there_is_none(made, tmp_path):
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    with pytest.raises(DatasetError, match=r"made has no folds, for its corpus does not say") as caught:
        cross_validate(DifferenceRecipe(features="target", encoder="scratch"), dataset, tmp_path / "cv", device="cpu")
    assert caught.value.hint == "Leave --cv out."


def test_a_cross_validation_whose_runs_are_gone_is_said(recipe, made, tmp_path):
    result = cross_validate(recipe, made, tmp_path / "cv", device="cpu")
    (result.path / "fold1").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="fold1"):
        CrossValidation.open(result.path)
    (result.path / "cross-validation.json").write_text("{}")
    with pytest.raises(RunError, match="not what fer wrote"):
        CrossValidation.open(result.path)
