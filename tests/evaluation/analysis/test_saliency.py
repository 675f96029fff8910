import numpy as np
import pandas as pd
import pytest
import torch
from transformers import ViTConfig

from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.analysis import choose, explain
from fer_cli.models.difference import DifferenceConfig, DifferenceModel
from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
from fer_cli.models.inference import Classifier
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.models.vit_se import TINY, ViTSEConfig, ViTSEModel, attention_rollout
from tests.made import CLASSES

NAMES = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: index for index, name in enumerate(CLASSES)}}
SMALL = {"backbone": "mobilenet_v3_small", "hidden_sizes": [], **NAMES}


def faces(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return ViTSEModel(ViTSEConfig(vit=ViTConfig(**TINY, image_size=64), **NAMES)).eval()


@pytest.mark.parametrize("features", ["both", "difference", "target"])
def test_grad_cam_of_a_linear_head_is_its_weights_times_the_features(features):
    # A linear head on the average of h·w places: the gradient at each is its weight divided by h·w.
    model = DifferenceModel(DifferenceConfig(features=features, **SMALL)).eval()
    target, neutral = faces(2).split(1)
    with torch.no_grad():
        seen = model.encoder.features(target)
        weights = model.head[0].weight[1].view(-1, model.encoder.width).sum(dim=0)
        expected = torch.einsum("c,chw->hw", weights, seen[0]).relu() / seen[0, 0].numel()
    found = model.saliency(target, 1, None if features == "target" else neutral)
    assert torch.allclose(found, expected, atol=1e-6)
    assert found.max() > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_grad_cam_of_stage_1_is_that_of_the_emotion_encoder():
    model = DisentangledModel(DisentangledConfig(identity="mobilenet_v3_small", **SMALL)).eval()
    target = faces()
    with torch.no_grad():
        seen = model.encoder.features(target)
        weights = model.head[0].weight[2, : model.encoder.width]
        expected = torch.einsum("c,chw->hw", weights, seen[0]).relu() / seen[0, 0].numel()
    assert torch.allclose(model.saliency(target, 2), expected, atol=1e-6)
    assert not model.encoder.features._forward_hooks


def test_a_rollout_worked_out_by_hand():
    # One head, a class token and two patches. Half of itself kept, the class token takes 1/4 of each patch in layer 1;
    # in layer 2 it looks at the first patch alone: half of what it had, and half of that patch, which kept itself.
    first = torch.tensor([[0, 0.5, 0.5], [0, 1, 0], [0, 0, 1]])
    second = torch.tensor([[0, 1.0, 0], [0, 1, 0], [0, 0, 1]])
    found = attention_rollout(torch.stack([first, second])[:, None])
    assert torch.allclose(found, torch.tensor([0.125 + 0.5, 0.125]))


def test_a_rollout_covers_the_patches_and_leaves_the_model_as_it_was(vit):
    pixels = faces()
    with torch.no_grad():
        before, implementation = vit(pixels).logits, vit.vit.config._attn_implementation
    found = vit.saliency(pixels, 0)
    assert found.shape == (4, 4)
    assert 0 < found.sum() < 1
    assert found.min() == 0
    assert vit.vit.config._attn_implementation == implementation
    with torch.no_grad():
        assert torch.equal(vit(pixels).logits, before)


def predictions(made, *, paired: bool) -> pd.DataFrame:
    rows = made.samples(paired=paired).head(3)
    return rows.assign(predicted=CLASSES[1], confidence=0.5)


@pytest.mark.parametrize("features", ["both", "target"])
def test_overlays_are_the_size_of_the_crops(made, features):
    model = DifferenceModel(DifferenceConfig(features=features, **SMALL))
    classifier = Classifier(model, Preprocessing(64), torch.device("cpu"))
    explained = explain(classifier, predictions(made, paired=classifier.paired), Crops(made.path))
    assert len(explained) == 3
    for each in explained:
        assert each.method == "Grad-CAM"
        assert each.saliency.shape == (32, 32)
        assert each.overlay.shape == (32, 32, 3)
        assert each.overlay.dtype == np.uint8
        assert each.saliency.min() >= 0
        # What nothing rests on is left as it is.
        dark = each.saliency == 0
        face = Crops(made.path)[each.file_name].permute(1, 2, 0).numpy()
        assert np.array_equal(each.overlay[dark], face[dark])


def test_a_vit_is_explained_by_its_attention(made, vit):
    classifier = Classifier(vit, Preprocessing(64), torch.device("cpu"))
    explained = explain(classifier, predictions(made, paired=False), Crops(made.path))
    assert {each.method for each in explained} == {"attention rollout"}
    assert all(each.saliency.max() == 1 for each in explained)


def test_mistakes_come_first_and_every_class_has_its_turn():
    table = pd.DataFrame(
        [
            ("a", "anger", "anger", 0.9),
            ("b", "anger", "happiness", 0.5),
            ("c", "anger", "happiness", 0.8),
            ("d", "happiness", "happiness", 0.7),
            ("e", "happiness", "anger", 0.6),
        ],
        columns=["file_name", "label", "predicted", "confidence"],
    )
    assert choose(table, 5)["file_name"].tolist() == ["c", "e", "a", "d", "b"]
    assert choose(table, 2)["file_name"].tolist() == ["c", "e"]
    assert list(choose(table, 9).columns) == list(table.columns)
