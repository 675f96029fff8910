"""ONNX graphs of networks, and classifiers that ONNX Runtime runs where that is faster than torch."""

import hashlib
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import fer_cli
from fer_cli.errors import DiskFullError, MissingLibraryError, ModelError, UsageError
from fer_cli.extras import require
from fer_cli.files import cache_folder, written_whole
from fer_cli.models import FLIP, INT8, INT8_GRAPH, ONNXRUNTIME, TORCH
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import fingerprint

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Understood by ONNX Runtime since 1.14 (2023); the first in which an antialiased Resize can be expressed.
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
    :class:`~fer_cli.errors.ModelError` if torch cannot export the network, and as :func:`require_exporter` does without
    ``trace``.
    """
    import onnx

    network.eval()
    graph = _exported(network, {name: example.contiguous() for name, example in inputs.items()}, output, trace)
    onnx.helper.set_model_props(graph, {name: _text(value) for name, value in (metadata or {}).items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        onnx.save(graph, part)
        onnx.checker.check_model(str(part), full_check=True)


def _exported(network: nn.Module, inputs: dict[str, Tensor], output: str, trace: bool) -> Any:
    """The graph as an ``onnx.ModelProto``."""
    import onnx

    if not trace:
        require_exporter()
    names: dict[str, Any] = {
        "input_names": list(inputs),
        "output_names": [output],
        "opset_version": OPSET,
        "verbose": False,
    }
    with torch.inference_mode(False), torch.no_grad(), silence():
        try:
            if trace:
                # Any: this exporter writes to streams too, which torch's types lack.
                traced: Any = BytesIO()
                axes = {name: {0: "batch"} for name in (*inputs, output)}
                torch.onnx.export(network, tuple(inputs.values()), traced, dynamo=False, dynamic_axes=axes, **names)
                return onnx.load_from_string(traced.getvalue())
            batch = torch.export.Dim("batch")
            shapes = {name: {0: batch} for name in inputs}
            program = torch.onnx.export(network, kwargs=inputs, dynamo=True, dynamic_shapes=shapes, **names)
            assert program is not None  # it is where no file is named
            return program.model_proto
        except Exception as error:  # the exporter raises whatever the layer at hand made it raise
            reason = next(iter(str(error).strip().splitlines()), "")
            raise ModelError(f"torch cannot export this network to ONNX ({type(error).__name__}: {reason}).") from error


def require_exporter() -> None:
    """Raise :class:`~fer_cli.errors.MissingLibraryError` where what torch's newer ONNX exporter needs is missing."""
    require("onnxscript", "The export of this network to ONNX")


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
    with written_whole(path) as part:
        onnx.save(graph, part)
        onnx.checker.check_model(str(part), full_check=True)


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


#: How far a probability may be from torch's.
TOLERANCE = 1e-4


class OnnxClassifier(Classifier):
    """A classifier with ``session`` in place of its network, or of the encoder of a network that compares two faces.

    Any number of threads may use it at once.
    """

    def __init__(self, classifier: Classifier, session: "InferenceSession"):
        super().__init__(classifier.model, classifier.preprocessing, classifier.device, classifier.classes)
        self.tta = classifier.tta
        self._session = session

    def _encode(self, pixels: Tensor) -> Tensor:
        if not self.paired:
            return super()._encode(pixels)
        return torch.from_numpy(run_graph(self._session, {"pixel_values": pixels}))

    def _forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        if self.paired:
            # Of embeddings: a head of a few layers is nothing to gain by.
            return super()._forward(inputs)
        return torch.from_numpy(run_graph(self._session, inputs))


class _Graph(nn.Module):
    """A model as a function of tensors that gives one tensor, for a graph; logits are divided by ``temperature``.

    With ``tta`` ``flip`` they are those of :meth:`~fer_cli.models.inference.Classifier.logits`: of the mean of the
    pictures' and their mirror images' probabilities.
    """

    model: Any

    def __init__(self, model: nn.Module, temperature: float = 1.0, tta: str | None = None):
        super().__init__()
        self.model = model
        self.traceable = bool(model.traceable)
        self._temperature = temperature
        self._flip = tta == FLIP

    def _views(self, pixels: Tensor) -> Tensor:
        """The pictures, and after them their mirror images: one batch, so that the network is in the graph once."""
        return torch.cat([pixels, pixels.flip(-1)]) if self._flip else pixels

    def _tempered(self, logits: Tensor) -> Tensor:
        if self._flip:
            views = logits.reshape(2, -1, logits.shape[-1]).log_softmax(dim=-1)
            logits = views.logsumexp(dim=0) - math.log(2)
        return logits if self._temperature == 1 else logits / self._temperature


class Logits(_Graph):
    """A network of single faces that gives its logits."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """B×classes."""
        return self._tempered(self.model(pixel_values=self._views(pixel_values)).logits)


class PairLogits(_Graph):
    """A network that compares two faces, from pictures of both to its logits."""

    def forward(self, pixel_values: Tensor, neutral_pixel_values: Tensor) -> Tensor:
        """B×classes."""
        embeddings, neutrals = (self.model.encoder(self._views(each)) for each in (pixel_values, neutral_pixel_values))
        return self._tempered(self.model(embeddings=embeddings, neutral_embeddings=neutrals).logits)


class Int8Classifier(Classifier):
    """A classifier of single faces with ``session``, a graph in 8-bit integers, in place of its network.

    The graph is that of ``fer export --quantize``: it averages two views and divides by the temperature itself.
    """

    def __init__(self, classifier: Classifier, session: "InferenceSession"):
        super().__init__(classifier.model, classifier.preprocessing, classifier.device, classifier.classes)
        self.tta = classifier.tta
        self._session = session

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """B×classes, as the graph gives them."""
        return torch.from_numpy(run_graph(self._session, inputs))


def with_runtime(classifier: Classifier, wanted: str, folders: Sequence[Path] = ()) -> tuple[Classifier, str]:
    """The classifier on the runtime ``wanted`` (one of ``Runtime``), and a line on which and why.

    ``auto`` is ONNX Runtime for convolutional networks on a CPU, else torch. The graph is written once into the user's
    cache, under a fingerprint of the network, and is used only if its probabilities are within 1e-4 of torch's. What
    cannot be exported stays with torch, and the line says so. ``int8`` is the graph in 8-bit integers in the first of
    the model's ``folders`` that has one; its probabilities differ. Raises :class:`~fer_cli.errors.UsageError` where one
    of the last two is asked for on another device than the CPU, :class:`~fer_cli.errors.ModelError` where there is no
    graph for ``int8``.
    """
    on_cpu = classifier.device.type == "cpu"
    if wanted in (ONNXRUNTIME, INT8) and not on_cpu:
        raise UsageError(
            f"--runtime {wanted} is for the CPU, and the device is {classifier.device}.",
            hint="Type --device cpu, or --runtime torch.",
        )
    if wanted == INT8:
        return _in_int8(classifier, folders)
    # A convolutional network ran at twice torch's rate on a CPU (MobileNetV3-Large at 224 pixels: 219 against 94
    # images/s); a ViT-B/16 at 0.8 of it.
    if wanted == TORCH or (wanted != ONNXRUNTIME and not (on_cpu and classifier.model.convolutional)):
        return classifier, TORCH
    network = classifier.model.encoder if classifier.paired else Logits(classifier.model)
    size = classifier.preprocessing.size
    key = f"{fingerprint(network)} {size} fer {fer_cli.__version__} torch {torch.__version__}"
    path = cache_folder() / "onnx" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.onnx"
    try:
        if path.is_file():
            try:
                return OnnxClassifier(classifier, open_session(path)), f"{ONNXRUNTIME} ({path})"
            except ModelError:
                # Cut short or of another version: written anew.
                path.unlink()
        return _written(classifier, network, path), f"{ONNXRUNTIME} (exported to {path})"
    except MissingLibraryError as error:
        return classifier, f"{TORCH}: no graph for {ONNXRUNTIME} ({error.message} {error.hint})"
    except (ModelError, DiskFullError, OSError) as error:
        return classifier, f"{TORCH}: no graph for {ONNXRUNTIME} ({getattr(error, 'message', error)})"


def _in_int8(classifier: Classifier, folders: Sequence[Path]) -> tuple[Classifier, str]:
    if classifier.paired:
        raise UsageError(
            f"--runtime {INT8} is for models of single faces, and this one compares two.", hint="Type --runtime auto."
        )
    path = next((path for folder in folders if (path := folder / INT8_GRAPH).is_file()), None)
    if path is None:
        places = " or ".join(map(str, folders)) or "a model's folder"
        raise ModelError(
            f"--runtime {INT8}: there is no {INT8_GRAPH} in {places}.",
            hint="Type fer export RUN --quantize once; --run faces, which comes with one; or another --runtime.",
        )
    session = open_session(path)
    stored = session.get_modelmeta().custom_metadata_map
    if stored.get("fingerprint") != fingerprint(classifier.model):
        raise ModelError(
            f"--runtime {INT8}: {path} was made of other weights than the model's.",
            hint="Type fer export RUN --quantize again, or another --runtime.",
        )
    return Int8Classifier(classifier, session), f"{INT8} ({path})"


def _written(classifier: Classifier, network: nn.Module, path: Path) -> OnnxClassifier:
    size = classifier.preprocessing.size
    output = "embeddings" if classifier.paired else "logits"
    part = path.with_name(f".{path.stem}.{os.getpid()}.onnx")
    try:
        write_graph(
            network, {"pixel_values": torch.randn(2, 3, size, size)}, output, part, trace=bool(network.traceable)
        )
        made = OnnxClassifier(classifier, open_session(part))
        # The name of a finished graph is given only to one that is right.
        check_equal(made, classifier)
        part.replace(path)
        return made
    finally:
        part.unlink(missing_ok=True)


def check_equal(one: Classifier, other: Classifier) -> float:
    """The largest difference between two classifiers' probabilities, on a few pictures of noise.

    Raises :class:`~fer_cli.errors.ModelError` if it is above 1e-4.
    """
    size = one.preprocessing.size
    noise = torch.randint(0, 256, (2, 5, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    crops, neutrals = noise
    found, expected = (each.probabilities(crops, neutrals if each.paired else None) for each in (one, other))
    apart = float(np.abs(found - expected).max())
    if not apart <= TOLERANCE:
        raise ModelError(f"its probabilities are {apart:.1g} off torch's")
    return apart
