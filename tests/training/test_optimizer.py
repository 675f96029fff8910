"""The learning rate of each layer."""

import dataclasses

import pytest
import torch

from fer_cli.errors import UsageError
from fer_cli.training.optimizer import decayed_parameters, layer_depths, parameter_groups
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import CLASSES
from tests.training.test_trainer import BASE, trainer

CONTEXT = BuildContext(CLASSES, 32)
SMALL = ClassifierRecipe(encoder="scratch", backbone="mobilenet_v3_small", lr=0.01, weight_decay=0.1)


def rates(recipe, model) -> dict[str, tuple[float, float]]:
    """The rate and the decay of each parameter, by its name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, recipe, decayed_parameters(model))
        for parameter in group["params"]
    }


def test_a_layer_is_what_shares_a_name_up_to_its_first_number():
    names = ["stem.weight", "stem.bias", "blocks.0.a.1.weight", "blocks.0.b.weight", "blocks.1.a.weight", "norm.weight"]
    assert list(layer_depths(names).values()) == [0, 0, 1, 1, 2, 2]
    resnet = ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "layer2.0.conv1.weight"]
    assert list(layer_depths(resnet).values()) == [0, 0, 1, 2, 3]
    assert list(layer_depths(["features.0.0.weight", "features.0.1.weight", "features.1.0.weight"]).values()) == [
        0,
        0,
        1,
    ]


def test_the_encoder_learns_at_its_part_of_the_heads_rate():
    recipe = dataclasses.replace(SMALL, encoder_lr=0.1)
    found = rates(recipe, recipe.build(CONTEXT))
    for name, (rate, decay) in found.items():
        assert rate == pytest.approx(0.01 if name.startswith("head.") else 0.001)
        assert decay == (0.1 if name.endswith("weight") and ("head" in name or ".0.weight" in name) else decay)
    assert found["encoder.features.0.0.weight"] == (pytest.approx(0.001), 0.1)
    assert found["encoder.features.0.1.weight"] == (pytest.approx(0.001), 0.0)
    assert found["head.0.bias"] == (pytest.approx(0.01), 0.0)


def test_each_layer_learns_more_slowly_than_the_next():
    recipe = dataclasses.replace(SMALL, layer_decay=0.5, encoder_lr=0.8)
    model = recipe.build(CONTEXT)
    found = rates(recipe, model)
    blocks = len(model.encoder.features)
    assert blocks == 13
    for block in range(blocks):
        of_block = {rate for name, (rate, _) in found.items() if name.startswith(f"encoder.features.{block}.")}
        assert list(of_block) == pytest.approx([0.01 * 0.8 * 0.5 ** (blocks - block)])
    assert found["head.0.weight"][0] == 0.01


def test_a_transformers_tokens_are_its_first_layer_and_its_last_norm_its_last():
    recipe = ViTSERecipe(backbone="tiny", layer_decay=0.5, lr=1e-3)
    model = recipe.build(CONTEXT)
    found = {name: rate for name, (rate, _) in rates(recipe, model).items()}
    # Four blocks above the embedding of patches.
    assert found["vit.embeddings.cls_token"] == pytest.approx(1e-3 * 0.5**5)
    assert found["vit.layernorm.weight"] == pytest.approx(1e-3 * 0.5)
    assert sorted({round(rate / 1e-3, 6) for rate in found.values()}) == [0.5**power for power in (5, 4, 3, 2, 1, 0)]
    assert found["classifier.weight"] == found["gate.squeeze.weight"] == 1e-3


def test_the_optimizer_has_them_and_the_schedule_scales_them_all(tmp_path):
    model = SMALL.build(CONTEXT)
    made = trainer(tmp_path, dataclasses.replace(SMALL, encoder_lr=0.1, epochs=4, schedule="cosine", warmup=0.0), model)
    made.create_optimizer_and_scheduler(20)
    assert sorted({group["initial_lr"] for group in made.optimizer.param_groups}) == pytest.approx([0.001, 0.01])
    for _ in range(10):
        made.optimizer.step()
        made.lr_scheduler.step()
    assert {round(group["lr"] / group["initial_lr"], 6) for group in made.optimizer.param_groups} == {0.5}
    trained = sum(parameter.requires_grad for parameter in model.parameters())
    assert sum(len(group["params"]) for group in made.optimizer.param_groups) == trained


@pytest.mark.parametrize("setting", [{"encoder_lr": 0.1}, {"layer_decay": 0.9}, {"freeze_epochs": 2}])
def test_rates_of_an_encoder_that_is_not_trained_are_refused(tmp_path, setting):
    [name] = setting
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}.*is not trained") as caught:
        trainer(tmp_path, dataclasses.replace(BASE, **setting))
    assert "--tune-encoder" in caught.value.hint


def test_an_encoder_that_never_trains_is_refused():
    with pytest.raises(UsageError, match="--freeze-epochs 3: the training has 3 epochs"):
        ClassifierRecipe(epochs=3, freeze_epochs=3)


def test_a_frozen_encoder_stands_still_and_then_learns():
    model = SMALL.build(CONTEXT).train()
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}

    def step() -> None:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(pixel_values=torch.randn(4, 3, 32, 32), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()

    model.freeze_encoder(True)
    step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.encoder.state_dict().items())
    model.freeze_encoder(False)
    step()
    after = model.encoder.state_dict()
    assert not torch.equal(after["features.0.0.weight"], before["features.0.0.weight"])
    assert not torch.equal(after["features.0.1.running_mean"], before["features.0.1.running_mean"])
