import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModelForImageClassification

from fer_cli.errors import ModelError
from fer_cli.models import DisentangledConfig, DisentangledModel
from fer_cli.models.disentangled import shared_part
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

CLASSES = ("anger", "fear", "happiness")
SMALL = "mobilenet_v3_small"


def model(**settings) -> DisentangledModel:
    torch.manual_seed(0)
    labels = {name: index for index, name in enumerate(CLASSES)}
    settings = {"backbone": SMALL, "identity": SMALL, **settings}
    return DisentangledModel(DisentangledConfig(**settings, id2label=dict(enumerate(CLASSES)), label2id=labels))


def faces(seed: int = 0, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


LABELS, SUBJECTS = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 0, 1])


def test_stage_1_sees_960_numbers_of_emotion_beside_2048_of_identity():
    with torch.device("meta"):
        network = DisentangledModel(DisentangledConfig(num_labels=7))
    widths = [(layer.in_features, layer.out_features) for layer in network.head if hasattr(layer, "in_features")]
    assert widths == [(3008, 256), (256, 128), (128, 64), (64, 32), (32, 7)]
    assert network.encoder.width == 960
    assert network.identity.width == 2048


def test_without_identity_the_emotion_embedding_stands_alone():
    network = model(identity=None)
    assert network.identity is None
    assert network.frozen == {}
    assert network.head[0].in_features == 576


def test_the_head_sees_the_two_embeddings_side_by_side():
    network = model().eval()
    with torch.no_grad():
        expected = network.head(torch.cat([network.encoder(faces()), network.identity(faces())], dim=1))
        assert torch.equal(network(faces()).logits, expected)


def test_an_identity_embedding_of_before_stands_in_for_the_encoder():
    network = model().eval()
    with torch.no_grad():
        before = network.identity(faces())
        assert torch.equal(network(faces(), identity_embeddings=before).logits, network(faces()).logits)
        other = network(faces(), identity_embeddings=before + 1).logits
    assert not torch.equal(other, network(faces()).logits)


@pytest.mark.parametrize("loaded", [False, True])
def test_the_identity_encoder_is_frozen_and_the_emotion_encoder_is_not(tmp_path, loaded):
    network = model()
    if loaded:
        network.save_pretrained(tmp_path)
        network = DisentangledModel.from_pretrained(tmp_path)
    identity = {name: tensor.clone() for name, tensor in network.identity.state_dict().items()}
    emotion = {name: tensor.clone() for name, tensor in network.encoder.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([part for part in network.parameters() if part.requires_grad], lr=0.1)
    for _ in range(2):
        network(faces(), labels=LABELS).loss.backward()
        optimizer.step()
    assert all(parameter.grad is None for parameter in network.identity.parameters())
    assert all(torch.equal(identity[name], tensor) for name, tensor in network.identity.state_dict().items())
    moved = [name for name, tensor in network.encoder.state_dict().items() if not torch.equal(emotion[name], tensor)]
    assert any(name.endswith("weight") for name in moved)
    assert any(name.endswith("running_mean") for name in moved)


def test_the_adversary_learns_subjects_and_the_encoder_the_opposite():
    """The reversed gradient of the penalty equals minus that of the plain classification of subjects."""
    network = model(disentangle="adversarial", disentangle_weight=0.5, subjects=2).train()
    emotion = torch.randn(4, 576, generator=torch.Generator().manual_seed(1), requires_grad=True)
    network._penalty(emotion, None, SUBJECTS).backward()
    reversed_ = emotion.grad.clone()
    to_adversary = [parameter.grad.clone() for parameter in network.adversary.parameters()]
    emotion.grad = None
    network.adversary.zero_grad()
    (0.5 * functional.cross_entropy(network.adversary(emotion), SUBJECTS)).backward()
    assert torch.allclose(reversed_, -emotion.grad)
    plain = [parameter.grad for parameter in network.adversary.parameters()]
    assert all(torch.allclose(one, other) for one, other in zip(to_adversary, plain, strict=True))
    assert reversed_.abs().max() > 0


def test_an_adversary_needs_to_know_who_is_shown():
    with pytest.raises(ValueError, match="subjects"):
        model(disentangle="adversarial", subjects=2).train()(faces(), labels=LABELS)


def test_the_penalty_is_part_of_the_loss_in_training_and_of_nothing_else():
    for settings in ({"disentangle": "orthogonal"}, {"disentangle": "adversarial", "subjects": 2}):
        network = model(**settings).train()
        output = network(faces(), labels=LABELS, subjects=SUBJECTS)
        assert output.penalty > 0
        expected = functional.cross_entropy(output.logits, LABELS) + output.penalty
        assert torch.allclose(output.loss, expected)
        judged = network.eval()(faces(), labels=LABELS)
        assert judged.penalty is None
        assert torch.allclose(judged.loss, functional.cross_entropy(judged.logits, LABELS))
    assert model().train()(faces(), labels=LABELS).penalty is None


def test_what_embeddings_share_by_hand():
    one = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert shared_part(one, one).item() == pytest.approx(1)
    # Across four faces the first varies with (+ + - -), the second with (+ - + -): they have nothing in common.
    first = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    second = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    assert shared_part(first, second).item() == pytest.approx(0)
    assert shared_part(first, first + 5).item() == pytest.approx(1)


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 9), st.integers(1, 9))
def test_what_embeddings_share_is_a_share(seed, count, width, other_width):
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randn(count, width, generator=draw), torch.randn(count, other_width, generator=draw)
    assert -1e-6 <= shared_part(one, other) <= 1 + 1e-5
    assert torch.allclose(shared_part(one, other), shared_part(other, one), atol=1e-6)
    # The definition: the squared Frobenius norm of the product of the two, centred and each of length one.
    centred = [functional.normalize(part - part.mean(dim=0), dim=1) for part in (one, other)]
    assert torch.allclose(shared_part(one, other), (centred[0].T @ centred[1]).square().sum() / count**2, atol=1e-5)


def test_the_orthogonal_penalty_drives_the_shared_part_out():
    torch.manual_seed(0)
    fixed = torch.randn(16, 4)
    embedding = torch.nn.Parameter(fixed @ torch.randn(4, 8))
    before = shared_part(embedding, fixed).item()
    optimizer = torch.optim.Adam([embedding], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        shared_part(embedding, fixed).backward()
        optimizer.step()
    assert shared_part(embedding, fixed).item() < 0.2 * before


def test_it_loads_as_it_was_saved(tmp_path):
    saved = model(disentangle="adversarial", subjects=2).eval()
    saved.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, DisentangledModel)
    with torch.no_grad():
        assert torch.equal(loaded(faces()).logits, saved(faces()).logits)


def test_what_cannot_be_is_refused():
    with pytest.raises(ModelError, match="concat, adversarial, orthogonal"):
        model(disentangle="hope")
    with pytest.raises(ModelError, match="orthogonal compares two embeddings"):
        model(disentangle="orthogonal", identity=None)
    with pytest.raises(ModelError, match="no identity network 'resnet18'"):
        model(identity="resnet18")


def test_the_identity_encoder_sees_imagenets_colours_whatever_the_emotion_encoder_takes():
    torch.manual_seed(0)
    labels = {"id2label": {0: "anger", 1: "fear"}, "label2id": {"anger": 0, "fear": 1}}
    config = {"backbone": "mobilenet_v3_small", "identity": "mobilenet_v3_small", **labels}
    plain = DisentangledModel(DisentangledConfig(**config)).eval()
    other = DisentangledModel(DisentangledConfig(normalisation=[[0.5] * 3, [0.25] * 3], **config)).eval()
    other.load_state_dict(plain.state_dict())
    colours = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected = plain.identity((colours - mean) / std)
        assert torch.allclose(other.identity((colours - 0.5) / 0.25), expected, atol=1e-5)
