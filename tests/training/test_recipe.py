import dataclasses

import pytest
import torch

from fer_cli.errors import ModelError, UsageError
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe

START = BuildContext(("fear", "anger"), 64)


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ({"fold": -1}, "--fold"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 1}, "--batch-size"),
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"size": 8}, "--size"),
        ({"seed": -1}, "--seed"),
        ({"accumulate": 0}, "--accumulate"),
        ({"warmup": 1.0}, "--warmup"),
        ({"label_smoothing": -0.1}, "--label-smoothing"),
        ({"views": 0}, "--views"),
        ({"clip": float("nan")}, "--clip"),
        ({"ema": 1.0}, "--ema"),
        ({"encoder_lr": 0.0}, "--encoder-lr"),
        ({"layer_decay": 1.1}, "--layer-decay"),
        ({"freeze_epochs": -1}, "--freeze-epochs"),
        ({"logit_adjustment": -0.1}, "--logit-adjustment"),
        ({"logger": ("tensorbored",)}, "--logger tensorbored"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_its_flag(setting, flag):
    with pytest.raises(UsageError, match=flag):
        DifferenceRecipe(**setting)


LEAST = {"fold": 0, "epochs": 1, "patience": 0, "batch_size": 2, "accumulate": 1, "size": 32, "views": 1, "seed": 0}
LEAST |= {"weight_decay": 0.0, "clip": 0.0, "warmup": 0.0, "label_smoothing": 0.0, "lr": 1.0}


@pytest.mark.parametrize("setting", LEAST)
def test_the_least_that_can_be_meant_is_taken_and_what_is_past_it_refused(setting):
    value = LEAST[setting]
    assert getattr(DifferenceRecipe(**{setting: value}), setting) == value
    past = 1.001 if setting == "lr" else value - (1 if isinstance(value, int) else 0.001)
    with pytest.raises(UsageError, match=f"--{setting.replace('_', '-')} {past}"):
        DifferenceRecipe(**{setting: past})


@pytest.mark.parametrize("setting", ["warmup", "label_smoothing"])
def test_a_part_is_less_than_the_whole(setting):
    assert getattr(DifferenceRecipe(**{setting: 0.99}), setting) == 0.99
    with pytest.raises(UsageError, match="less than 1"):
        DifferenceRecipe(**{setting: 1.0})


def test_scratch_implies_a_tuned_encoder_and_nothing_else_does(tmp_path):
    build = {"backbone": "mobilenet_v3_small"}
    scratch = DifferenceRecipe(encoder="scratch", **build).build(START)
    assert scratch.config.tune_encoder
    scratch.save_pretrained(tmp_path)
    for tune in (False, True):
        model = DifferenceRecipe(encoder=str(tmp_path), tune_encoder=tune, **build).build(START)
        assert model.config.tune_encoder is tune


def test_an_encoder_that_is_nothing_is_refused():
    with pytest.raises(ModelError, match="no weights at"):
        DifferenceRecipe(encoder="imagenett").build(START)


def test_only_target_needs_no_pairs():
    assert [DifferenceRecipe(features=features).paired for features in ("both", "difference", "target")] == [
        True,
        True,
        False,
    ]


RECIPES = (ClassifierRecipe, ViTSERecipe, DifferenceRecipe, DisentangledRecipe)


@pytest.mark.parametrize("kind", RECIPES)
def test_published_settings_are_settings_that_the_recipe_has_and_takes(kind):
    for published in kind.published.values():
        settings = dataclasses.asdict(published())
        assert dataclasses.asdict(kind(**settings)).items() >= settings.items()


def test_the_notes_recipe_is_the_notes():
    note = DifferenceRecipe(**dataclasses.asdict(DifferenceRecipe.published["note"]()))
    assert (note.optimizer, note.batch_size, note.epochs, note.schedule) == ("adam", 32, 30, "constant")
    assert (note.label_smoothing, note.class_weights, note.clip, note.augment) == (0, False, 0, "none")
    assert note.patience == note.weight_decay == note.warmup == 0


def test_the_papers_recipe_is_its_authors():
    paper = ViTSERecipe(**dataclasses.asdict(ViTSERecipe.published["paper"]()))
    assert (paper.optimizer, paper.lr, paper.batch_size, paper.epochs) == ("adamw", 1e-4, 8, 30)
    assert (paper.schedule, paper.se_reduction, paper.se_gate, paper.pooling) == ("step", 2, "sigmoid", "class-token")
    assert (paper.augment, paper.clip, paper.warmup, paper.patience) == ("paper", 0, 0, 0)
    # Torch's own AdamW, which the author does not tell otherwise.
    assert paper.weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_comes_back_from_its_json(kind):
    recipe = kind(epochs=7, logger=("none",))
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in recipe.to_dict().items()}
    assert kind(**stored) == recipe


@pytest.mark.parametrize(
    ("recipe", "title"),
    [
        (DifferenceRecipe(), "difference"),
        (DifferenceRecipe(ablation=True), "difference-ablation"),
        (DisentangledRecipe(), "disentangled"),
        (DisentangledRecipe(stage=1), "disentangled-stage1"),
        (DisentangledRecipe(stage=2), "disentangled"),
        (ViTSERecipe(), "vit-se"),
        (ClassifierRecipe(), "classifier"),
    ],
)
def test_a_run_is_called_after_what_is_trained(recipe, title):
    assert recipe.title == title
