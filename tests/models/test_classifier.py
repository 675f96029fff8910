"""The classifier of single pictures."""

import pytest
import torch
from torch.nn import functional

from fer_cli.errors import ModelError
from fer_cli.models import ClassifierConfig, ClassifierModel
from fer_cli.models.loading import load_own
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.classifier import ClassifierRecipe

CONTEXT = BuildContext(("anger", "happiness", "surprise"), 32)
SMALL = {"encoder": "scratch", "backbone": "mobilenet_v3_small"}


def built(**settings) -> ClassifierModel:
    torch.manual_seed(0)
    return ClassifierRecipe(**SMALL, **settings).build(CONTEXT)


def test_the_head_is_linear_unless_told_otherwise_and_begins_with_all_classes_alike():
    model = built().eval()
    assert [tuple(layer.weight.shape) for layer in model.head if hasattr(layer, "weight")] == [(3, 576)]
    # He's initialisation, which hidden layers have, would give logits six times as far apart.
    assert model(embeddings=torch.randn(100, 576)).logits.std().item() == pytest.approx(0.01 * 576**0.5, rel=0.2)
    hidden = built(hidden=(64, 16))
    assert [tuple(layer.weight.shape) for layer in hidden.head if hasattr(layer, "weight")] == [
        (64, 576),
        (16, 64),
        (3, 16),
    ]


def test_pictures_and_their_embeddings_give_the_same_answer():
    model = built().eval()
    faces = torch.randn(2, 3, 32, 32)
    torch.nn.init.normal_(model.head[-1].bias)
    assert torch.allclose(model(pixel_values=faces).logits, model(embeddings=model.features(faces)).logits)


def test_the_loss_is_the_cross_entropy_with_indices_or_shares():
    model = built().eval()
    embeddings = torch.randn(2, 576)
    logits = model(embeddings=embeddings).logits
    labels = torch.tensor([2, 0])
    assert torch.equal(model(embeddings=embeddings, labels=labels).loss, functional.cross_entropy(logits, labels))
    shares = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    expected = -(shares * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(model(embeddings=embeddings, labels=shares).loss, expected)


def test_dropout_drops_in_training_alone():
    model = built(dropout=0.5).train()
    embeddings = torch.ones(1, 576)
    torch.manual_seed(0)
    assert not torch.equal(model(embeddings=embeddings).logits, model(embeddings=embeddings).logits)
    model.eval()
    assert torch.equal(model(embeddings=embeddings).logits, model(embeddings=embeddings).logits)


def test_a_frozen_encoder_has_no_gradient_and_still_statistics(tmp_path):
    built().save_pretrained(tmp_path)
    recipe = ClassifierRecipe(encoder=str(tmp_path), freeze_encoder=True)
    model = recipe.build(CONTEXT).train()
    assert set(model.frozen) == {"embeddings"}
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    model(pixel_values=torch.randn(4, 3, 32, 32), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.encoder.state_dict().items())
    assert model.head[-1].weight.grad is not None
    assert built(freeze_encoder=True).config.tune_encoder, "weights from nowhere are not worth freezing"


def test_it_is_loaded_as_it_was_saved(tmp_path):
    model = built(hidden=(8,), dropout=0.3).eval()
    model.config.tta = "flip"
    model.save_pretrained(tmp_path)
    again, embeddings = load_own(tmp_path), torch.randn(2, 576)
    assert isinstance(again, ClassifierModel)
    assert (again.config.dropout, again.config.hidden_sizes, again.config.tta) == (0.3, [8], "flip")
    assert torch.equal(again.eval()(embeddings=embeddings).logits, model(embeddings=embeddings).logits)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_test_time_augmentation_that_is_none_of_ours_is_refused(tmp_path):
    model = built()
    model.config.tta = "rotate"
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="tta"):
        load_own(tmp_path)


def test_a_configuration_has_the_recipes_defaults():
    assert ClassifierConfig().hidden_sizes == []
    assert ClassifierRecipe().dropout == ClassifierConfig().dropout
