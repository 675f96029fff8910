"""Networks as ONNX graphs: written, checked, and opened by ONNX Runtime."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_cli.errors import ModelError
from fer_cli.files import written_whole

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Understood by ONNX Runtime since 1.14 (2023); the first in which an antialiased Resize can be said.
OPSET = 18


def write_graph(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    output: str,
    path: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    trace: bool = False,
) -> None:
    """Write ``network`` to ``path``: a graph from the named ``inputs`` to one ``output``, any number of faces at once.

    ``inputs`` are examples, by the names of the arguments of the network's ``forward``; all of their sizes but the
    first, the batch, are kept. ``metadata`` becomes the file's ``metadata_props``, values that are no text as JSON. The
    file passes ``onnx.checker``. ``trace`` takes torch's older exporter, which needs a fifth of a second where the
    newer one needs six, for networks that it is known to read: of others it writes pages to standard output. Raises
    :class:`~fer_cli.errors.ModelError` if torch cannot export the network.
    """
    import onnx

    network.eval()
    graph = _exported(network, {name: example.contiguous() for name, example in inputs.items()}, output, trace)
    onnx.helper.set_model_props(graph, {name: _text(value) for name, value in (metadata or {}).items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        onnx.save(graph, beside)
        onnx.checker.check_model(str(beside), full_check=True)


def _exported(network: nn.Module, inputs: dict[str, Tensor], output: str, trace: bool) -> Any:
    """The graph as an ``onnx.ModelProto``."""
    import onnx

    names = {"input_names": list(inputs), "output_names": [output], "opset_version": OPSET, "verbose": False}
    with torch.inference_mode(False), torch.no_grad(), silence():
        try:
            if trace:
                traced = BytesIO()
                axes = {name: {0: "batch"} for name in (*inputs, output)}
                torch.onnx.export(network, tuple(inputs.values()), traced, dynamo=False, dynamic_axes=axes, **names)
                return onnx.load_from_string(traced.getvalue())
            batch = torch.export.Dim("batch")
            shapes = {name: {0: batch} for name in inputs}
            program = torch.onnx.export(network, kwargs=inputs, dynamo=True, dynamic_shapes=shapes, **names)
            return program.model_proto
        except Exception as error:  # the exporter raises whatever the layer at hand made it raise
            reason = next(iter(str(error).strip().splitlines()), "")
            raise ModelError(f"torch cannot export this network to ONNX ({type(error).__name__}: {reason}).") from error


def open_session(path: Path | str) -> "InferenceSession":
    """The graph in ``path``, to be run on the CPU: one core a call, and any number of calls at once.

    Raises :class:`~fer_cli.errors.ModelError` if ONNX Runtime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common ancestor but this
        raise ModelError(f"{path} cannot be loaded by ONNX Runtime: {str(error).splitlines()[0]}") from error


def run_graph(session: "InferenceSession", inputs: Mapping[str, Tensor]) -> np.ndarray:
    """The graph's only output for a batch of its inputs."""
    [result] = session.run(None, {name: value.contiguous().numpy() for name, value in inputs.items()})
    return result


def set_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Replace the metadata of the graph in ``path``, which passes ``onnx.checker`` after."""
    import onnx

    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {name: _text(value) for name, value in metadata.items()})
    with written_whole(path) as beside:
        onnx.save(graph, beside)
        onnx.checker.check_model(str(beside), full_check=True)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def silence() -> Iterator[None]:
    """Keep exporters and quantizers quiet: they tell their developers much on both streams, in warnings and in logs."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
