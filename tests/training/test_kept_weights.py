"""The weights that a run keeps are those of the epoch that its record names, to the last bit."""

import dataclasses
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import RunError
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import load_checkpoint
from fer_cli.runs.run import Run
from fer_cli.training import fit as fitting
from fer_cli.training.fit import fit
from fer_cli.training.recipes.base import Recipe
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import CLASSES, made_dataset, made_model

COMMON = {"epochs": 4, "batch_size": 4, "schedule": "constant", "warmup": 0.0, "logger": ("none",)}
SCRATCH = {"encoder": "scratch", "backbone": "mobilenet_v3_small", "lr": 1e-2}
RECIPES = {
    "vit-se": ViTSERecipe(backbone="tiny", lr=1e-3, **COMMON),
    "difference": DifferenceRecipe(**SCRATCH, **COMMON),
    "classifier": ClassifierRecipe(**SCRATCH, **COMMON, ema=0.5),
    "disentangled": DisentangledRecipe(identity="none", **SCRATCH, **COMMON),
}


def validation_loss(run: Run, recipe: Recipe, dataset: PreparedDataset) -> float:
    """The mean cross-entropy of the kept weights over the run's validation fold."""
    rows = recipe.sides(dataset)["val"]
    classifier = Classifier.load(run.path, device="cpu")
    crops = Crops(dataset.path)

    def stacked(names: pd.Series) -> torch.Tensor:
        return torch.stack([crops[name] for name in names])

    inputs = {"pixel_values": classifier.preprocessing(stacked(rows["file_name"]))}
    if recipe.paired:
        names = {"embeddings": "file_name", "neutral_embeddings": "neutral_file_name"}
        inputs = {name: classifier.embed(stacked(rows[column])) for name, column in names.items()}
    # Not of probabilities, which have no digits left where a label is thought next to impossible.
    with torch.inference_mode():
        logits = classifier.logits(inputs).double()
    truth = torch.tensor([classifier.classes.index(label) for label in rows["label"]])
    return torch.nn.functional.cross_entropy(logits, truth).item()


def contradicted(dataset: PreparedDataset) -> PreparedDataset:
    """The dataset with the validation fold's labels turned round: the more is learned, the higher its loss."""
    metadata = pd.read_csv(dataset.path / "metadata.csv", dtype="string")
    turned = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
    wrong = (metadata["fold"] == "1") & metadata["label"].isin(turned)
    metadata.loc[wrong, "label"] = metadata.loc[wrong, "label"].map(turned)
    metadata.to_csv(dataset.path / "metadata.csv", index=False)
    return PreparedDataset.open(dataset.path)


@pytest.mark.parametrize("model", RECIPES)
def test_they_give_the_recorded_validation_loss_and_are_not_the_last_epochs(model, made, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "shutil", SimpleNamespace(rmtree=lambda *_, **__: None))
    dataset, recipe = contradicted(made), RECIPES[model]
    run = fit(recipe, dataset, tmp_path / "run", device="cpu")
    best = run.card["best"]
    assert validation_loss(run, recipe, dataset) == pytest.approx(best["val_loss"], rel=1e-4)
    epochs = pd.read_csv(run.path / "epochs.csv")
    assert best["epoch"] < len(epochs) == 4
    kept, last = load_file(run.path / "model.safetensors"), _checkpoint(run, epoch=4)
    chosen = _checkpoint(run, epoch=best["epoch"])
    assert last.keys() == chosen.keys() <= kept.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in chosen.items())
    assert not all(torch.equal(kept[name], tensor) for name, tensor in last.items())
    if model == "disentangled":
        first = dataclasses.replace(recipe, stage=1)
        stage1 = Run.open(run.path / "stage1")
        assert validation_loss(stage1, first, dataset) == pytest.approx(stage1.card["best"]["val_loss"], rel=1e-4)


def _checkpoint(run: Run, *, epoch: int) -> dict[str, torch.Tensor]:
    steps = {int(path.name.partition("-")[2]): path for path in (run.path / "checkpoints").iterdir()}
    return load_file(steps[max(steps) * epoch // 4] / "model.safetensors")


@pytest.fixture
def saved(tmp_path):
    """A model whose encoder is frozen, and a checkpoint of its head alone."""
    model = made_model()
    model._keys_to_ignore_on_save = [name for name in model.state_dict() if name.startswith("encoder.")]
    model.save_pretrained(tmp_path / "checkpoint-1")
    return model, tmp_path / "checkpoint-1"


def test_a_checkpoint_gives_back_all_that_it_saves_and_leaves_the_frozen_part_alone(saved):
    model, folder = saved
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.nn.init.zeros_(model.head[0].weight)
    random = torch.get_rng_state()
    load_checkpoint(model, folder)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("head.2.bias"), "they lack head.2.bias"),
        (lambda tensors: tensors.update(other=torch.zeros(1)), "they are of another model: they hold other"),
        (lambda tensors: tensors.update({"encoder.features.0.1.bias": torch.zeros(16)}), "features.0.1.bias"),
        (lambda tensors: tensors["head.2.bias"].fill_(float("nan")), "of head.2.bias are NaN or infinite"),
        (lambda tensors: tensors.update({"head.2.bias": torch.zeros(3)}), "cannot be loaded"),
    ],
    ids=["missing", "unexpected", "frozen part there", "not a number", "another shape"],
)
def test_a_checkpoint_that_is_not_what_the_model_saves_is_an_error(saved, change, said):
    model, folder = saved
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=said):
        load_checkpoint(model, folder)


def test_an_interrupted_training_may_be_moved_before_it_is_resumed(tmp_path):
    """The trainer's own record names its best checkpoint by a path that is not there any longer."""
    dataset = contradicted(made_dataset(tmp_path / "made"))
    recipe = RECIPES["difference"]
    whole = fit(recipe, dataset, tmp_path / "whole", device="cpu")

    def interrupt(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if facts.get("epoch") == "4/4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, dataset, tmp_path / "here", device="cpu", progress=interrupt)
    shutil.move(tmp_path / "here", tmp_path / "there")
    resumed = fit(recipe, dataset, tmp_path / "there", device="cpu")
    assert resumed.card["best"] == whole.card["best"]
    one, other = ((run.path / "model.safetensors").read_bytes() for run in (whole, resumed))
    assert one == other
