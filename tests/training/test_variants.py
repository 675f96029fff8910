import json

import pytest

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import FerError, RunError
from fer_cli.files import locked
from fer_cli.runs.run import CrossValidation
from fer_cli.training.cross_validation import train
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_model


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
    import dataclasses

    [(name, run)] = train(dataclasses.replace(ablation, ablation=False), made, tmp_path / "out", device="cpu").items()
    assert name == ""
    assert run.path == tmp_path / "out"
