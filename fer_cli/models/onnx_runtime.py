"""A classifier whose network is run by ONNX Runtime, where that is faster than torch."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import fer_cli
from fer_cli.errors import DiskFullError, ModelError, UsageError
from fer_cli.models.choices import ONNXRUNTIME, TORCH
from fer_cli.models.classifier import MODEL_TYPES, Classifier, finite_probabilities
from fer_cli.models.encoder import Encoder
from fer_cli.models.fingerprint import fingerprint
from fer_cli.models.onnx_graph import open_session, run_graph, write_graph
from fer_cli.models.vggface2 import VGGFace2Encoder
from fer_cli.models.weights import cache_folder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Networks of convolutions, which ONNX Runtime ran at twice torch's rate on a CPU (MobileNetV3-Large at 224 pixels:
#: 219 against 94 images/s); a ViT-B/16 it ran at 0.8 of it.
CONVOLUTIONAL = frozenset(
    ("fer-difference", "fer-disentangled", "convnext", "convnextv2", "efficientnet", "mobilenet_v1", "mobilenet_v2",
     "regnet", "resnet")
)  # fmt: skip
#: How far a probability may be from torch's.
TOLERANCE = 1e-4


class OnnxClassifier(Classifier):
    """A classifier with ``session`` in place of its network, or of the encoder of a network that compares two faces.

    Any number of threads may use it at once.
    """

    def __init__(self, classifier: Classifier, session: "InferenceSession"):
        super().__init__(classifier.model, classifier.preprocessing, classifier.device, classifier.classes)
        self._session = session

    def embed(self, crops: Tensor) -> Tensor:
        """B×width embeddings, as torch gives them."""
        if not self.paired:
            return super().embed(crops)
        return torch.from_numpy(run_graph(self._session, {"pixel_values": self.preprocessing(crops)}))

    def classify(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """B×classes probabilities, as torch gives them."""
        if self.paired:
            # Of embeddings: a head of a few layers is nothing to gain by.
            return super().classify(inputs)
        return finite_probabilities(torch.from_numpy(run_graph(self._session, inputs)))


class Logits(nn.Module):
    """A network of single faces that gives its logits as they are, for a graph."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """B×classes."""
        return self.model(pixel_values=pixel_values).logits


class PairLogits(nn.Module):
    """A network that compares two faces, from pictures of both to its logits, for a graph."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor, neutral_pixel_values: Tensor) -> Tensor:
        """B×classes."""
        embeddings, neutrals = self.model.encoder(pixel_values), self.model.encoder(neutral_pixel_values)
        return self.model(embeddings=embeddings, neutral_embeddings=neutrals).logits


def with_runtime(classifier: Classifier, wanted: str) -> tuple[Classifier, str]:
    """The classifier on the runtime ``wanted`` (``auto``, ``torch``, ``onnxruntime``), and a line on which and why.

    ``auto`` is ONNX Runtime for convolutional networks on a CPU, else torch. The graph is written once into the user's
    cache, under a fingerprint of the network, and is used only if its probabilities are within 1e-4 of torch's. What
    cannot be exported stays with torch, and the line says so. Raises :class:`~fer_cli.errors.UsageError` where ONNX
    Runtime is asked for on another device than the CPU.
    """
    on_cpu = classifier.device.type == "cpu"
    if wanted == ONNXRUNTIME and not on_cpu:
        raise UsageError(
            f"--runtime {ONNXRUNTIME} is for the CPU, and the device is {classifier.device}.",
            mend="Type --device cpu, or --runtime torch.",
        )
    convolutional = classifier.model.config.model_type in CONVOLUTIONAL
    if wanted == TORCH or (wanted != ONNXRUNTIME and not (on_cpu and convolutional)):
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
    except (ModelError, DiskFullError, OSError) as error:
        return classifier, f"{TORCH}: no graph for {ONNXRUNTIME} ({getattr(error, 'message', error)})"


def _written(classifier: Classifier, network: nn.Module, path: Path) -> OnnxClassifier:
    size = classifier.preprocessing.size
    output = "embeddings" if classifier.paired else "logits"
    beside = path.with_name(f".{path.stem}.{os.getpid()}.onnx")
    try:
        write_graph(network, {"pixel_values": torch.randn(2, 3, size, size)}, output, beside, trace=traceable(network))
        made = OnnxClassifier(classifier, open_session(beside))
        # The name of a finished graph is given only to one that is right.
        check_equal(made, classifier)
        beside.replace(path)
        return made
    finally:
        beside.unlink(missing_ok=True)


def traceable(network: nn.Module) -> bool:
    """Whether torch's older exporter is known to read it: our networks, but for that which resizes its pictures."""
    model = getattr(network, "model", network)
    ours = isinstance(model, Encoder) or model.config.model_type in MODEL_TYPES
    return ours and not any(isinstance(module, VGGFace2Encoder) for module in model.modules())


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
