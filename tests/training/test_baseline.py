"""The baseline's training: scikit-learn's own answers, C by the validation fold, and a run like any other."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage.feature import hog
from sklearn.metrics import accuracy_score, log_loss, recall_score
from sklearn.svm import LinearSVC

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.errors import DatasetError, TrainingError, UsageError
from fer_cli.evaluation.compare import compare
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.evaluation.inference import run_inference
from fer_cli.models.loading import load_own
from fer_cli.options import Session
from fer_cli.runs.run import Run
from fer_cli.training.cross_validation import cross_validate, train
from fer_cli.training.fit import fit
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.baseline import BaselineRecipe
from tests.made import CLASSES, made_dataset

GRID = (0.0001, 0.003, 0.1, 3.0)
CPU = Session("cpu")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> PreparedDataset:
    """The dataset of bars, their pictures mostly noise, and fewer of surprise, so that no C is right everywhere."""
    made = made_dataset(tmp_path_factory.mktemp("noisy") / "made", subjects=24)
    random = np.random.default_rng(0)
    for path in sorted(made.path.glob("images/*/*.png")):
        with Image.open(path) as picture:
            pixels = np.asarray(picture, float)
        Image.fromarray((0.25 * pixels + 0.75 * random.integers(0, 256, pixels.shape)).astype(np.uint8)).save(path)
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    rare = (metadata["label"] == "surprise") & metadata["subject"].isin(sorted(metadata["subject"].unique())[::2])
    metadata[~rare].to_csv(made.path / "metadata.csv", index=False)
    return PreparedDataset.open(made.path)


def by_hand(dataset: PreparedDataset, features: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Inputs and labels of each side of fold 0, made by scikit-image alone."""
    crops = Crops(dataset.path)

    def described(names: pd.Series) -> np.ndarray:
        grey = (crops[name].permute(1, 2, 0).numpy() / 255 @ (0.2989, 0.587, 0.114) for name in names)
        settings = {"orientations": 8, "pixels_per_cell": (8, 8), "cells_per_block": (2, 2)}
        return np.stack([hog(face.astype(np.float32), **settings) for face in grey])

    sides = {}
    for side, rows in dataset.split(0, paired=features != "target").items():
        seen = described(rows["file_name"])
        if features != "target":
            difference = seen - described(rows["neutral_file_name"])
            seen = difference if features == "difference" else np.hstack([difference, seen])
        sides[side] = seen, rows["label"].to_numpy(str)
    return sides


@pytest.mark.parametrize(
    ("features", "select", "balanced"),
    [("target", "uar", False), ("difference", "accuracy", True), ("both", "uar", True), ("both", "accuracy", False)],
)
def test_the_run_answers_as_scikit_learns_machine_of_the_best_c(noisy, tmp_path, features, select, balanced):
    recipe = BaselineRecipe(features=features, C=GRID[::-1], select=select, class_weights=balanced, size=32)
    run = fit(recipe, noisy, tmp_path / "run", device="cpu")
    sides = by_hand(noisy, features)
    machines = [LinearSVC(C=C, dual=False, class_weight="balanced" if balanced else None) for C in GRID]
    machines = [machine.fit(*sides["train"]) for machine in machines]
    truth = sides["val"][1]
    answers = [machine.predict(sides["val"][0]) for machine in machines]
    scores = {
        "accuracy": [accuracy_score(truth, each) for each in answers],
        "uar": [recall_score(truth, each, average="macro") for each in answers],
    }
    assert len(set(scores[select])) > 1
    assert [each["C"] for each in run.card["tried"]] == list(GRID)
    for name, values in scores.items():
        assert [each[f"val_{name}"] for each in run.card["tried"]] == pytest.approx(values)
    # Of equals the first, which has the smallest C.
    place = int(np.argmax(scores[select]))
    assert run.card["best"] == run.card["tried"][place]
    predictions = evaluate(run, session=CPU).predictions
    assert predictions["predicted"].tolist() == machines[place].predict(sides["test"][0]).tolist()


def test_probabilities_are_those_of_the_temperature_that_the_validation_fold_likes_best(noisy, tmp_path):
    run = fit(BaselineRecipe(features="target", C=(0.1,), size=32), noisy, tmp_path / "run", device="cpu")
    model = load_own(run.path)
    inference = run_inference(run, split="val", session=Session("cpu", allow_seen=True))
    truth = pd.Index(CLASSES).get_indexer(inference.predictions["label"])
    assert run.card["best"]["val_loss"] == pytest.approx(log_loss(truth, inference.probabilities), abs=1e-4)
    logits = np.log(inference.probabilities) * model.temperature
    for factor in (0.9, 1.1):
        powers = np.exp(logits / (model.temperature * factor))
        assert log_loss(truth, powers / powers.sum(axis=1, keepdims=True)) > run.card["best"]["val_loss"]


def test_of_equally_good_c_the_smallest_is_kept(made, tmp_path):
    run = fit(BaselineRecipe(features="target", C=(3.0, 1.0, 2.0), size=32), made, tmp_path / "run", device="cpu")
    assert [each["val_uar"] for each in run.card["tried"]] == [1, 1, 1]
    assert run.card["best"]["C"] == 1
    # A validation fold without a mistake has no likeliest temperature.
    assert load_own(run.path).temperature == 1


def test_one_c_is_taken_as_given(made, tmp_path):
    run = fit(BaselineRecipe(features="target", C=(2.0,), size=32), made, tmp_path / "run", device="cpu")
    assert run.selection == run.card["epoch_rule"] == "C 2, as given"


def test_its_record_is_whole_and_tells_of_no_epoch(made, tmp_path):
    run = fit(BaselineRecipe(size=32), made, tmp_path / "run", device="cpu", command="fer train baseline")
    assert run.selection == "C by highest average recall on the validation fold"
    assert {"C", "val_loss", "val_accuracy", "val_uar", "iterations"} == set(run.card["best"])
    assert run.card["recipe"] == BaselineRecipe(size=32).to_dict()
    assert "lr" not in run.card["recipe"]
    assert run.card["precision"] == "float32"
    assert (
        run.seen == load_seen(run) == {"made": sorted({*run.card["subjects"]["train"], *run.card["subjects"]["val"]})}
    )
    assert {path.name for path in run.path.iterdir()} == {
        *("config.json", "model.safetensors", "neutral.safetensors", "preprocessor_config.json", "run.json")
    }
    assert len(NeutralMean.load(run.path).mean) == 3 * 3 * 32
    evaluation = evaluate(run, session=CPU)
    assert "; C by highest average recall on the validation fold; test fold 0" in evaluation.provenance.about
    page = (run.path / "evaluation" / "report.html").read_text()
    assert "C kept" in page
    assert "epoch kept" not in page
    assert json.loads((run.path / "evaluation" / "metrics.json").read_text())["model"] == "baseline"


def load_seen(run: Run) -> dict[str, list[str]]:
    from fer_cli.documents import read_seen

    return read_seen(run.path / "model.safetensors")


def test_two_trainings_give_the_same_bytes_and_share_one_file_of_hog(made, tmp_path):
    one, other = (fit(BaselineRecipe(size=32), made, tmp_path / name, device="cpu") for name in "ab")
    fit(BaselineRecipe(size=32, features="target", fold=1), made, tmp_path / "c", device="cpu")
    assert (one.path / "model.safetensors").read_bytes() == (other.path / "model.safetensors").read_bytes()
    assert len(list((made.path / "embeddings").glob("*.safetensors"))) == 1
    fit(BaselineRecipe(size=32, orientations=9), made, tmp_path / "d", device="cpu")
    assert len(list((made.path / "embeddings").glob("*.safetensors"))) == 2


def test_an_interrupted_cross_validation_goes_on_with_the_folds_that_are_left(made, tmp_path, monkeypatch):
    recipe, fitted, solve = BaselineRecipe(size=32), [], BaselineRecipe.solve

    def stopping(self, *arguments):
        fitted.append(self.fold)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return solve(self, *arguments)

    monkeypatch.setattr(BaselineRecipe, "solve", stopping)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(recipe, made, tmp_path / "cv", device="cpu")
    whole = cross_validate(recipe, made, tmp_path / "cv", device="cpu")
    assert fitted == [0, 1, 1, 2]
    evaluation = evaluate(whole, session=CPU)
    assert len(evaluation.predictions) == 27
    assert evaluation.value() == 1
    assert "C by highest average recall on the validation fold; every fold tested" in evaluation.provenance.about


def test_an_ablation_is_of_all_three_on_the_same_pairs(made, tmp_path):
    trained = train(BaselineRecipe(ablation=True, size=32), made, tmp_path / "runs", device="cpu")
    assert list(trained) == ["target", "difference", "both"]
    for run in trained.values():
        evaluate(run, session=CPU)
    comparison = compare([tmp_path / "runs"])
    assert comparison.samples == 9
    assert not [note for note in comparison.notes if "does not beat" in note]


def test_other_datasets_train_too_and_several_neutral_faces_are_averaged(made, tmp_path):
    other = made_dataset(tmp_path / "other", corpus="other", subjects=12)
    run = fit(BaselineRecipe(size=32, extra_data=(str(other.path),), neutrals=2), made, tmp_path / "run", device="cpu")
    assert run.card["extra_data"][0]["count"] == 12
    assert load_own(run.path).config.neutrals == 2
    assert evaluate(run, session=CPU).value() == 1


@pytest.mark.parametrize("grid", [(), (0.0,), (1.0, -1.0), (float("nan"),), (float("inf"),)])
def test_a_c_that_cannot_be_meant_is_refused(grid):
    with pytest.raises(UsageError, match="--C"):
        BaselineRecipe(C=grid)


class Rows(torch.utils.data.Dataset):
    """Embeddings, each a row of the same number."""

    def __init__(self, values: list[float], labels: list[int]):
        self._values, self._labels = torch.tensor(values)[:, None].expand(-1, 288), torch.tensor(labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitems__(self, places: list[int]) -> dict[str, torch.Tensor]:
        return {"embeddings": self._values[places], "labels": self._labels[places]}


def test_one_class_and_numbers_that_are_none_are_told(monkeypatch):
    recipe = BaselineRecipe(features="target", size=32)
    model = recipe.build(BuildContext(CLASSES, 32))
    with pytest.raises(DatasetError, match="one class only"):
        recipe.solve(model, Rows([0.1, 0.2], [1, 1]), Rows([0.1], [1]), lambda *_, **__: None)
    fitted = LinearSVC.fit

    def endless(self, *arguments):
        fitted(self, *arguments)
        self.coef_[:] = np.nan
        return self

    monkeypatch.setattr(LinearSVC, "fit", endless)
    with pytest.raises(TrainingError, match=r"--C 0\.001: the SVM's coefficients are not finite"):
        recipe.solve(model, Rows([0.1, 0.2, 0.3], [0, 1, 2]), Rows([0.1], [1]), lambda *_, **__: None)
