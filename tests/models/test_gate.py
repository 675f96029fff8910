import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.errors import ModelError
from fer_cli.models.vit_se import SqueezeExcitation


def embeddings(seed: int, width: int, scale: float) -> torch.Tensor:
    return scale * torch.randn(5, width, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.floats(0.01, 100), st.integers(1, 16))
def test_a_sigmoid_gate_lies_between_0_and_1_and_a_relu_gate_above_0(seed, scale, reduction):
    given_ = embeddings(seed, 16, scale)
    sigmoid = SqueezeExcitation(16, reduction=reduction, gate="sigmoid").gates(given_)
    relu = SqueezeExcitation(16, reduction=reduction, gate="relu").gates(given_)
    assert ((sigmoid >= 0) & (sigmoid <= 1)).all()
    assert (relu >= 0).all()
    assert sigmoid.shape == relu.shape == given_.shape


def test_a_relu_gate_has_no_upper_bound():
    gate = SqueezeExcitation(8, reduction=2, gate="relu")
    assert gate.gates(embeddings(0, 8, 100.0)).max() > 1


def test_it_scales_each_number_by_its_gate():
    gate = SqueezeExcitation(16)
    given_ = embeddings(0, 16, 1.0)
    assert torch.equal(gate(given_), given_ * gate.gates(given_))


def test_by_hand():
    gate = SqueezeExcitation(2, reduction=2, gate="sigmoid")
    with torch.no_grad():
        gate.squeeze.weight.copy_(torch.tensor([[1.0, -1.0]]))
        gate.squeeze.bias.fill_(1.0)
        gate.excite.weight.copy_(torch.tensor([[1.0], [-2.0]]))
        gate.excite.bias.zero_()
    # squeezed to relu(3 - 1 + 1) = 3, excited to sigmoid(3) and sigmoid(-6)
    expected = torch.tensor([[3 * 0.95257413, 1 * 0.00247262]])
    assert torch.allclose(gate(torch.tensor([[3.0, 1.0]])), expected, atol=1e-6)


@pytest.mark.parametrize(("reduction", "between"), [(1, 768), (2, 384), (4, 192), (16, 48)])
def test_the_layer_between_is_narrower_as_asked(reduction, between):
    gate = SqueezeExcitation(768, reduction=reduction)
    assert {name: tuple(weight.shape) for name, weight in gate.named_parameters()} == {
        "squeeze.weight": (between, 768),
        "squeeze.bias": (between,),
        "excite.weight": (768, between),
        "excite.bias": (768,),
    }


def test_gates_that_are_none_are_refused():
    with pytest.raises(ModelError, match="no gate 'tanh'"):
        SqueezeExcitation(8, gate="tanh")
    for reduction in (0, 9):
        with pytest.raises(ModelError, match=f"8 numbers {reduction} times"):
            SqueezeExcitation(8, reduction=reduction)
