import pytest
import torch
from torch import nn

from fer_cli.errors import ModelError
from fer_cli.models import DifferenceConfig, DifferenceModel

CLASSES = ("anger", "fear", "happiness")


def model(**settings) -> DifferenceModel:
    torch.manual_seed(0)
    names = dict(enumerate(CLASSES))
    labels = {name: index for index, name in names.items()}
    return DifferenceModel(
        DifferenceConfig(**{"backbone": "mobilenet_v3_small", **settings}, id2label=names, label2id=labels)
    )


def faces(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("backbone", "width"), [("mobilenet_v3_large", 960), ("mobilenet_v3_small", 576)])
@pytest.mark.parametrize(("features", "times"), [("both", 2), ("difference", 1), ("target", 1)])
def test_the_head_is_as_wide_as_what_it_sees(backbone, width, features, times):
    linear = [layer for layer in model(backbone=backbone, features=features).head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [width * times, 256, 128, 64, 32]
    assert linear[-1].out_features == len(CLASSES)


def test_difference_sees_the_target_minus_the_neutral():
    both = model().eval()
    target, neutral = faces(1), faces(2)
    seen = []
    both.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        both(target, neutral)
        a, b = both.encoder(target), both.encoder(neutral)
    assert torch.allclose(seen[0], torch.cat([a - b, a], dim=1), atol=1e-5)


def test_a_face_compared_with_itself_has_no_difference():
    alone = model(features="difference").eval()
    with torch.no_grad():
        same, other = alone(faces(1), faces(1)).logits, alone(faces(3), faces(3)).logits
    assert torch.allclose(same, other, atol=1e-6)


def test_target_needs_no_neutral_and_the_others_say_that_they_do():
    assert model(features="target").eval()(faces(1)).logits.shape == (2, 3)
    with pytest.raises(ValueError, match="neutral_pixel_values"):
        model(features="both").eval()(faces(1))


@pytest.mark.parametrize("loaded", [False, True])
def test_frozen_means_no_gradient_and_no_drift(loaded, tmp_path):
    frozen = model(tune_encoder=False)
    if loaded:
        frozen.save_pretrained(tmp_path)
        frozen = DifferenceModel.from_pretrained(tmp_path)
    before = {name: tensor.clone() for name, tensor in frozen.encoder.state_dict().items()}
    frozen.train()
    optimizer = torch.optim.SGD([p for p in frozen.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        frozen(faces(1), faces(2), labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
    assert all(parameter.grad is None for parameter in frozen.encoder.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in frozen.encoder.state_dict().items())
    assert all(parameter.grad is not None for parameter in frozen.head.parameters())


def test_a_tuned_encoder_learns_and_moves_its_statistics():
    tuned = model(tune_encoder=True)
    before = {name: tensor.clone() for name, tensor in tuned.encoder.state_dict().items()}
    tuned.train()(faces(1), faces(2), labels=torch.tensor([0, 1])).loss.backward()
    assert all(parameter.grad is not None for parameter in tuned.encoder.parameters())
    after = tuned.encoder.state_dict()
    moved = [name for name in before if name.endswith("running_mean") and not torch.equal(before[name], after[name])]
    assert moved


def test_it_loads_in_two_lines_as_it_was_saved(tmp_path):
    saved = model(features="both").eval()
    saved.save_pretrained(tmp_path)
    from transformers import AutoModelForImageClassification

    for loader in (DifferenceModel, AutoModelForImageClassification):
        loaded = loader.from_pretrained(tmp_path)
        assert not loaded.training
        assert loaded.config.id2label == dict(enumerate(CLASSES))
        with torch.no_grad():
            assert torch.equal(loaded(faces(1), faces(2)).logits, saved(faces(1), faces(2)).logits)


def test_features_that_are_not_known_are_refused():
    with pytest.raises(ModelError, match="both, difference, target"):
        model(features="everything")
    with pytest.raises(ModelError, match="backbone"):
        model(backbone="resnet1")
