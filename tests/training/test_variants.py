import dataclasses
import json

import pytest

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import FerError, RunError
from fer_cli.files import locked
from fer_cli.runs.run import CrossValidation
from fer_cli.training import cross_validation as folds
from fer_cli.training.cross_validation import open_trained, train
from fer_cli.training.folder import identity_of, will_resume
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_model, run_card


@pytest.fixture
def ablation(tmp_path) -> DifferenceRecipe:
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    return DifferenceRecipe(encoder=str(tmp_path / "encoder"), ablation=True, epochs=1, batch_size=9, logger=("none",))


def test_an_ablation_trains_target_difference_and_both_on_the_same_pairs(ablation, made, tmp_path):
    # A face without a neutral picture is in none of the three.
    metadata = (made.path / "metadata.csv").read_text()
    (made.path / "metadata.csv").write_text(metadata.replace("images/P01/neutral.png,,", ",,", 1))
    made = PreparedDataset.open(made.path)
    trained = train(ablation, made, tmp_path / "out", device="cpu", command="fer train difference --ablation")
    assert list(trained) == ["target", "difference", "both"]
    assert {run.card["recipe"]["features"] for run in trained.values()} == set(trained)
    assert {sum(run.card["counts"].values()) for run in trained.values()} == {26}
    assert all(run.path == tmp_path / "out" / name for name, run in trained.items())
    card = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert card["variants"] == ["target", "difference", "both"]
    with pytest.raises(RunError, match="finished run"):
        train(ablation, made, tmp_path / "out", device="cpu")


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What each training is asked for, of a fold or of all, which is not trained: its run has a card and no more."""
    calls = []

    def noted(kind):
        def note(recipe, dataset, out, **settings):
            calls.append((kind, recipe, dataset, out, settings))
            out.mkdir(exist_ok=True)
            (out / "run.json").write_text(json.dumps(run_card(fold=recipe.fold)))
            return out

        return note

    monkeypatch.setattr(folds, "fit", noted("fold"))
    monkeypatch.setattr(folds, "cross_validate", noted("folds"))
    return calls


@pytest.mark.parametrize("cross_validation", [False, True])
def test_each_variant_is_trained_as_the_whole_was_asked_to_be(cross_validation, ablation, made, tmp_path, asked):
    ablation = dataclasses.replace(ablation, fold=0 if cross_validation else 1)
    settings = {"device": "cpu", "allow_seen": True, "command": "fer train difference --ablation", "progress": print}
    out = tmp_path / "out"
    trained = train(ablation, made, out, cross_validation=cross_validation, **settings)
    names = ["target", "difference", "both"]
    assert trained == {name: out / name for name in names}
    assert asked == [
        ("folds" if cross_validation else "fold", ablation.variants()[name], made, out / name, settings)
        for name in names
    ]
    expected = {
        "version": 1,
        "model": "difference",
        "command": "fer train difference --ablation",
        "recipe": ablation.to_dict(),
        "dataset": {"path": str(made.path.resolve()), "fingerprint": made.fingerprint},
        "cross_validation": cross_validation,
        "variants": names,
    }
    card = json.loads((out / "comparison.json").read_text())
    assert {name: card.get(name) for name in expected} == expected
    assert {path.name for path in out.iterdir()} >= {*names, "comparison.json"}
    assert not (out / "unfinished.json").exists()
    # Trained and not yet evaluated: the same line goes on with it, and no other.
    assert will_resume(identity_of(ablation, made, folds=cross_validation), out)
    assert not will_resume(identity_of(ablation, made, folds=not cross_validation), out)


def test_a_training_that_is_asked_for_nothing_more_is_of_one_fold_and_guards_seen_subjects(
    ablation, made, tmp_path, asked
):
    train(ablation, made, tmp_path / "out")
    for kind, *_, settings in asked:
        assert (kind, settings["device"], settings["allow_seen"], settings["command"]) == ("fold", "auto", False, "")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["command"] == ""


@pytest.mark.parametrize("cross_validation", [False, True])
def test_an_unfinished_ablation_is_one_and_no_training_of_a_variant(
    cross_validation, ablation, made, tmp_path, monkeypatch
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(folds, "fit", interrupted)
    monkeypatch.setattr(folds, "cross_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(ablation, made, tmp_path / "out", device="cpu", cross_validation=cross_validation)
    assert will_resume(identity_of(ablation, made, folds=cross_validation), tmp_path / "out")
    assert not will_resume(identity_of(ablation, made, folds=not cross_validation), tmp_path / "out")


def test_what_was_trained_is_opened_by_name(ablation, made, tmp_path, asked):
    train(ablation, made, tmp_path / "three")
    opened = open_trained(tmp_path / "three")
    assert {name: run.path for name, run in opened.items()} == {
        name: tmp_path / "three" / name for name in ("target", "difference", "both")
    }
    train(dataclasses.replace(ablation, ablation=False), made, tmp_path / "one")
    (tmp_path / "one" / "unfinished.json").write_text("{}")
    [(name, run)] = open_trained(tmp_path / "one").items()
    assert (name, run.path) == ("", tmp_path / "one")
    # What a kill left beside a finished training is removed.
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["run.json"]


def test_over_all_folds_each_variant_is_a_cross_validation(ablation, made, tmp_path):
    trained = train(ablation, made, tmp_path / "out", cross_validation=True, device="cpu")
    assert all(isinstance(result, CrossValidation) for result in trained.values())
    assert all(len(result.runs) == 3 for result in trained.values())


def test_an_interrupted_ablation_goes_on(ablation, made, tmp_path):
    def stop(stage, done, total, /, **facts):
        if (tmp_path / "out" / "target" / "run.json").is_file():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ablation, made, tmp_path / "out", device="cpu", progress=stop)
    written = (tmp_path / "out" / "target" / "run.json").stat().st_mtime_ns
    assert list(train(ablation, made, tmp_path / "out", device="cpu")) == ["target", "difference", "both"]
    assert (tmp_path / "out" / "target" / "run.json").stat().st_mtime_ns == written


def test_two_processes_do_not_train_into_one_folder(ablation, made, tmp_path):
    """The first to come holds the folder until it ends; here it is stood in for by this process."""
    out = tmp_path / "out"
    with locked(out, "training into"), pytest.raises(FerError, match="Another process is training into"):
        train(ablation, made, out, device="cpu")
    assert not out.exists()


def test_one_recipe_alone_goes_to_the_folder_itself(ablation, made, tmp_path):
    [(name, run)] = train(dataclasses.replace(ablation, ablation=False), made, tmp_path / "out", device="cpu").items()
    assert name == ""
    assert run.path == tmp_path / "out"
