"""What weight decay falls on, in each of the three networks: the rule of timm's ``param_groups_weight_decay``."""

import dataclasses

import pytest
import torch
from torch import nn

from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.inputs import Collator, model_inputs
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import silent
from fer_cli.training.recipes.base import BuildContext, Recipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from fer_cli.training.trainer import FoldTrainer, make_trainer
from tests.made import CLASSES

SMALL = {"backbone": "mobilenet_v3_small", "encoder": "scratch", "logger": ("none",)}
RECIPES = {
    "difference": DifferenceRecipe(**SMALL),
    "stage 1": DisentangledRecipe(stage=1, identity="none", disentangle="adversarial", **SMALL),
    "vit-se": ViTSERecipe(backbone="tiny", pretrained=False, pooling="pooler", logger=("none",)),
}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


def trainer(recipe: Recipe, made, tmp_path) -> FoldTrainer:
    model = recipe.build(BuildContext(CLASSES, 32, ("P01", "P02")))
    rows = made.samples(paired=model.paired)
    faces = model_inputs(model, rows, Crops(made.path), {})
    trainer = make_trainer(
        model, recipe, faces, faces, Collator(Preprocessing(32)), torch.device("cpu"), tmp_path, silent
    )
    trainer.create_optimizer()
    return trainer


def decay_of(trainer: FoldTrainer) -> dict[int, float]:
    """The weight decay of each parameter, by its id."""
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    return {id(parameter): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("name", RECIPES)
def test_only_the_weights_of_linear_and_convolutional_layers_decay(name, optimizer, made, tmp_path):
    recipe = dataclasses.replace(RECIPES[name], optimizer=optimizer, weight_decay=0.05)
    made_trainer = trainer(recipe, made, tmp_path)
    decay = decay_of(made_trainer)
    layers = [module for module in made_trainer.model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    norms = [module for module in made_trainer.model.modules() if isinstance(module, NORMS)]
    decayed = {id(layer.weight) for layer in layers}
    assert {parameter for parameter, value in decay.items() if value} == decayed
    assert set(decay.values()) == {0.05, 0.0}
    # Each parameter is trained, and once.
    trained = [parameter for parameter in made_trainer.model.parameters() if parameter.requires_grad]
    assert sorted(decay) == sorted(map(id, trained))
    assert norms
    assert all(decay[id(norm.weight)] == decay[id(norm.bias)] == 0 for norm in norms)


def test_class_token_and_position_embeddings_do_not_decay(made, tmp_path):
    made_trainer = trainer(RECIPES["vit-se"], made, tmp_path)
    decay = decay_of(made_trainer)
    named = dict(made_trainer.model.named_parameters())
    for name in ("vit.embeddings.cls_token", "vit.embeddings.position_embeddings"):
        assert decay[id(named[name])] == 0
    assert decay[id(named["vit.embeddings.patch_embeddings.projection.weight"])] == 0.01


def test_a_published_recipe_without_weight_decay_has_none(made, tmp_path):
    note = DifferenceRecipe(**{**dataclasses.asdict(DifferenceRecipe.published["note"]()), **SMALL})
    assert set(decay_of(trainer(note, made, tmp_path)).values()) == {0.0}


def test_sgd_has_momentum_and_the_others_torchs_own_settings(made, tmp_path):
    options = {}
    for name in ("adamw", "adam", "sgd"):
        recipe = dataclasses.replace(RECIPES["difference"], optimizer=name, lr=0.02)
        made_optimizer = trainer(recipe, made, tmp_path).optimizer
        options[name] = getattr(made_optimizer, "optimizer", made_optimizer).param_groups[0]
        assert options[name]["lr"] == 0.02
    assert options["sgd"]["momentum"] == 0.9
    assert options["adamw"]["betas"] == options["adam"]["betas"] == (0.9, 0.999)
