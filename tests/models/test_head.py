"""The head: what it sees standardised, its layers, and how it begins."""

import json

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from fer_cli.models.difference import DifferenceConfig, DifferenceModel
from fer_cli.models.encoder import Standardise, initialise, make_head, small_output
from fer_cli.models.loading import load_own
from tests.made import made_model

LABELS = {"id2label": {0: "anger", 1: "happiness"}, "label2id": {"anger": 0, "happiness": 1}}


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_it_standardises_as_scikit_learn_does(scale):
    """Embeddings of a network fresh from its seed are of the size 1e-9, in which a head sees nothing."""
    values = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * scale + scale
    values[:, 3] = 5 * scale
    layer = Standardise(7)
    layer.fit(values)
    expected = StandardScaler().fit(values.double().numpy()).transform(values.double().numpy())
    expected[:, 3] = 0
    assert np.allclose(layer(values).numpy(), expected, atol=1e-4)


def test_a_pairs_features_are_standardised_together_and_the_statistics_kept_with_the_weights(tmp_path):
    config = DifferenceConfig(backbone="mobilenet_v3_small", hidden_sizes=[], standardise=True, **LABELS)
    model = DifferenceModel(config).eval()
    target, neutral = torch.randn(2, 40, 576, generator=torch.Generator().manual_seed(0))
    seen = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.standardise(target, neutral)
    model(embeddings=target, neutral_embeddings=neutral)
    assert torch.allclose(seen[0].mean(dim=0), torch.zeros(2 * 576), atol=1e-5)
    assert torch.allclose(seen[0].std(dim=0, correction=0), torch.ones(2 * 576), atol=1e-4)
    assert not {"standardised.mean", "standardised.std"} & {name for name, _ in model.named_parameters()}
    model.save_pretrained(tmp_path)
    loaded = load_own(tmp_path).eval()
    expected, found = (each(embeddings=target, neutral_embeddings=neutral).logits for each in (model, loaded))
    assert torch.equal(expected, found)


def test_a_model_of_before_is_opened_with_the_head_that_it_has(tmp_path):
    """Its configuration says nothing of standardisation, dropout or neutral pictures."""
    model = made_model()
    model.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    for name in ("standardise", "dropout", "neutrals", "image_size"):
        del stored[name]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    loaded = load_own(tmp_path).eval()
    faces = torch.randn(2, 3, 64, 64)
    assert torch.equal(loaded(faces, faces.flip(-1)).logits, model(faces, faces.flip(-1)).logits)
    assert not hasattr(loaded.standardised, "mean")


def test_dropout_is_of_every_layers_inputs_in_training_and_changes_no_names():
    head = make_head(8, (6, 4), 3, dropout=0.5)
    assert head.state_dict().keys() == make_head(8, (6, 4), 3).state_dict().keys()
    ones = torch.ones(1, 8)
    head.eval()
    assert torch.equal(head(ones), head(ones))
    linear = make_head(10_000, (), 1, dropout=0.25).train()
    torch.nn.init.ones_(linear[0].weight)
    torch.nn.init.zeros_(linear[0].bias)
    torch.manual_seed(0)
    # What is left is scaled up, so that the sum stays about what it was.
    total = linear(torch.ones(1, 10_000)).item()
    assert total != 10_000
    assert total == pytest.approx(10_000, rel=0.03)


def test_small_outputs_begin_with_all_classes_alike():
    torch.manual_seed(0)
    head = make_head(960, (), 7)
    head.apply(initialise)
    embeddings = torch.randn(64, 960)
    loud = torch.nn.functional.cross_entropy(head(embeddings), torch.zeros(64, dtype=torch.long))
    small_output(head)
    quiet = torch.nn.functional.cross_entropy(head(embeddings), torch.zeros(64, dtype=torch.long))
    assert quiet.item() == pytest.approx(np.log(7), abs=0.1)
    assert loud > quiet + 0.3


def test_what_is_dead_in_training_does_not_drown_the_rest_and_rounding_is_no_feature():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(50, 4, generator=generator)
    embeddings[:, 3] = 1e-6 * embeddings[:, 3]
    layer = Standardise(4)
    layer.fit(embeddings)
    assert layer.std[3] == pytest.approx(0.1 * embeddings.double().std(dim=0, correction=0).mean().item(), rel=1e-6)
    collapsed = 0.5 + 1e-8 * embeddings
    layer.fit(collapsed)
    assert layer(collapsed).abs().max() < 1e-6
