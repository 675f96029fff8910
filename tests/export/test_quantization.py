from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fer_cli.export.onnx import smallest_graph
from fer_cli.models.onnx import open_session, run_graph, write_graph


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))

    def forward(self, pixel_values):
        return self.layers(pixel_values)


def faces(count: int, seed: int) -> torch.Tensor:
    return 2 * torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) - 1


def made(tmp_path, accuracies: dict[str, float]):
    """The small graph of a network, where ``accuracies`` says how accurate each of the graphs turns out."""
    write_graph(Net(), {"pixel_values": torch.randn(2, 3, 8, 8)}, "logits", tmp_path / "float32.onnx", trace=True)
    calibration = [{"pixel_values": faces(1, seed).numpy()} for seed in range(9)]
    return smallest_graph(tmp_path / "float32.onnx", calibration, lambda graph: accuracies[graph.stem])


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_static_integers_where_they_cost_no_more_than_a_point(tmp_path):
    small, method = made(tmp_path, {"static": 0.895, "float32": 0.9})
    assert method == "static, ranges of 9 training faces"
    assert "QuantizeLinear" in operators(small)
    exact = Net()(faces(5, 0)).detach().numpy()
    found = run_graph(open_session(small), {"pixel_values": faces(5, 0)})
    assert 0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("accuracies", [{"static": 0.9, "float32": 0.9}, {"static": 0, "float32": 0.9, "dynamic": 0.9}])
def test_two_products_of_a_weight_and_an_input_fit_into_sixteen_bits(tmp_path, accuracies):
    small, _ = made(tmp_path, accuracies)
    tensors = map(onnx.numpy_helper.to_array, onnx.load(small).graph.initializer)
    weights = [each for each in tensors if each.dtype == np.int8 and each.ndim > 1]
    assert weights
    for each in weights:
        assert 32 < np.abs(each.astype(int)).max() <= 64


def test_dynamic_ones_where_those_cost_more_and_these_less(tmp_path):
    small, method = made(tmp_path, {"static": 0.5, "float32": 0.9, "dynamic": 0.88})
    assert method.startswith("dynamic")
    assert "QuantizeLinear" not in operators(small)
    assert "DynamicQuantizeLinear" in operators(small)


def test_static_ones_where_neither_does_well(tmp_path):
    assert made(tmp_path, {"static": 0.5, "float32": 0.9, "dynamic": 0.4})[1].startswith("static")
