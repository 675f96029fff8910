"""Quantization of a graph to 8-bit integers, by ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from fer_cli.models.onnx import silence

#: A loss of accuracy on the validation fold above which the other method is tried.
HURTS = 0.01


def smallest_graph(
    graph: Path, calibration: list[dict[str, np.ndarray]], accuracy: Callable[[Path], float]
) -> tuple[Path, str]:
    """The int8 form of ``graph``, in a file of the same folder, and how it was made.

    Static quantization (weights and activations; the ranges of these from ``calibration``, a dict of inputs a batch) is
    the faster. Where it costs more than one point of ``accuracy``, measured on faces of neither training nor
    test, dynamic quantization of the linear layers' weights is tried too, and the more accurate kept.
    """
    prepared, static, dynamic = (graph.with_name(f"{name}.onnx") for name in ("prepared", "static", "dynamic"))
    with silence():
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(static),
            _Reader(calibration),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    found = accuracy(static)
    if found >= accuracy(graph) - HURTS:
        return static, f"static, ranges of {len(calibration)} training faces"
    with silence():
        quantization.quantize_dynamic(
            str(prepared),
            str(dynamic),
            # Convolutions of dynamic integers are slower than those of floats.
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=quantization.QuantType.QInt8,
        )
    if accuracy(dynamic) > found:
        return dynamic, "dynamic, linear layers only, for static quantization costs more accuracy"
    return static, f"static, ranges of {len(calibration)} training faces"


class _Reader(quantization.CalibrationDataReader):
    """Gives the calibrator one batch after another."""

    def __init__(self, batches: list[dict[str, np.ndarray]]):
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)
