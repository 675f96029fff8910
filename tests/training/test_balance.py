"""Class imbalance: the loss with its adjustments, and the sampler, by hand."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from fer_cli.training.fit import fit
from fer_cli.training.optimizer import ClassSampler, TrainingLoss, adjust_output, class_frequencies
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.disentangled import IdentityRecipe

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [0.0, 3.0, 1.0]])
LABELS = torch.tensor([0, 2, 1])
SHARES = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]])


def loss(labels, *, class_weights=None, frequencies=None, **settings) -> float:
    return TrainingLoss(ClassifierRecipe(**settings), class_weights, frequencies)(LOGITS, labels).item()


def test_without_options_it_is_the_cross_entropy():
    assert loss(LABELS, frequencies=torch.tensor([5.0, 3.0, 2.0])) == functional.cross_entropy(LOGITS, LABELS).item()


def test_soft_labels_weigh_each_classs_logarithm():
    rows = LOGITS.tolist()
    by_hand = 0.0
    for logits, shares in zip(rows, SHARES.tolist(), strict=True):
        total = math.log(sum(math.exp(value) for value in logits))
        by_hand -= sum(share * (value - total) for value, share in zip(logits, shares, strict=True))
    assert loss(SHARES) == pytest.approx(by_hand / 3)


def test_labels_of_one_class_each_are_the_same_as_indices_and_as_shares():
    one_hot = functional.one_hot(LABELS, 3).float()
    weights = torch.tensor([0.5, 1.0, 4.0])
    assert loss(one_hot) == pytest.approx(loss(LABELS))
    assert loss(one_hot, class_weights=weights) == pytest.approx(loss(LABELS, class_weights=weights))


def test_logit_adjustment_adds_the_logarithm_of_the_prior():
    """Menon et al.: 80 % and 20 % of two classes, logits equal: the loss of the rare one is that of a fifth."""
    recipe = ClassifierRecipe(logit_adjustment=1.0)
    adjusted = TrainingLoss(recipe, None, torch.tensor([8.0, 2.0]))
    flat = torch.zeros(1, 2, requires_grad=True)
    value = adjusted(flat, torch.tensor([1]))
    assert value.item() == pytest.approx(-math.log(0.2))
    value.backward()
    # Softmax less truth: as if the model had given the classes their shares.
    assert flat.grad.tolist() == [pytest.approx([0.8, -0.8])]
    half = TrainingLoss(ClassifierRecipe(logit_adjustment=0.5), None, torch.tensor([8.0, 2.0]))
    assert half(torch.zeros(1, 2), torch.tensor([1])).item() == pytest.approx(-math.log(1 / 3))


def test_an_adjusted_output_takes_off_what_the_prior_adds():
    """Bayes: divided by the prior, the posterior of a picture that tells nothing is the same for every class."""
    layer = torch.nn.Linear(4, 2)
    torch.nn.init.zeros_(layer.weight)
    layer.bias.data = torch.tensor([0.8, 0.2]).log()
    adjust_output(layer, torch.tensor([8.0, 2.0]), 1.0)
    assert layer(torch.randn(1, 4)).softmax(1)[0].tolist() == pytest.approx([0.5, 0.5])
    adjust_output(layer, torch.tensor([8.0, 2.0]), -0.5)
    assert layer.bias.softmax(0).tolist() == pytest.approx([2 / 3, 1 / 3])


def test_it_moves_the_kept_models_biases_and_nothing_else(made, tmp_path):
    settings = {"encoder": "scratch", "backbone": "mobilenet_v3_small", "size": 32, "epochs": 1, "logger": ("none",)}
    plain = fit(ClassifierRecipe(**settings), made, tmp_path / "plain", device="cpu")
    adjusted = fit(ClassifierRecipe(**settings, posthoc_adjustment=0.5), made, tmp_path / "adjusted", device="cpu")
    one, other = (load_file(run.path / "model.safetensors") for run in (plain, adjusted))
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == ["head.0.bias"]
    rows = made.split(0, paired=False)["train"]["label"]
    shares = torch.tensor([float((rows == name).mean()) for name in plain.card["classes"]])
    assert torch.allclose(one["head.0.bias"] - other["head.0.bias"], 0.5 * shares.log(), atol=1e-6)


def test_frequencies_are_those_that_sampling_leaves():
    labels = torch.tensor([0] * 16 + [1] * 4)
    assert class_frequencies(labels, 2, "natural").tolist() == [16, 4]
    assert class_frequencies(labels, 2, "sqrt").tolist() == pytest.approx([4, 2])
    assert class_frequencies(labels, 2, "balanced").tolist() == [1, 1]
    assert class_frequencies(SHARES, 3, "natural").tolist() == pytest.approx([0.7, 1.7, 0.6])


@pytest.mark.parametrize(("sampling", "expected"), [("balanced", [1 / 3] * 3), ("sqrt", [4 / 7, 2 / 7, 1 / 7])])
def test_classes_are_drawn_as_often_as_asked(sampling, expected):
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([16_000, 4_000, 1_000]))
    drawn = labels[list(ClassSampler(labels, sampling, seed=0))]
    assert len(drawn) == len(labels)
    assert (torch.bincount(drawn) / len(drawn)).tolist() == pytest.approx(expected, abs=0.015)


def test_a_draw_depends_on_seed_and_epoch_alone():
    labels = torch.tensor([0] * 50 + [1] * 5)

    def draw(seed: int, epoch: int) -> list[int]:
        sampler = ClassSampler(labels, "balanced", seed)
        torch.rand(seed + 1)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(0, 3) == draw(0, 3)
    assert draw(0, 3) != draw(0, 4)
    assert draw(0, 3) != draw(1, 3)


def test_cosfaces_loss_is_that_of_its_paper():
    cosines = torch.tensor([[0.9, 0.1, -0.3], [0.2, 0.4, 0.1]], dtype=torch.float64)
    labels, scale, margin = torch.tensor([0, 2]), 24.0, 0.25
    expected = []
    for row, right in zip(cosines.tolist(), labels.tolist(), strict=True):
        of_right = math.exp(scale * (row[right] - margin))
        others = sum(math.exp(scale * cosine) for place, cosine in enumerate(row) if place != right)
        expected.append(-math.log(of_right / (of_right + others)))
    loss = TrainingLoss(IdentityRecipe(margin=margin))
    assert loss(scale * cosines, labels).item() == pytest.approx(sum(expected) / 2)
    one_hot = functional.one_hot(labels, 3).double()
    assert loss(scale * cosines, one_hot).item() == pytest.approx(sum(expected) / 2)
    plain = functional.cross_entropy(scale * cosines, labels)
    assert TrainingLoss(IdentityRecipe())(scale * cosines, labels) == plain
