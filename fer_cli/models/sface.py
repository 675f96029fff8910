"""The face-identity network SFace of the OpenCV Zoo, run by ONNX Runtime.

Y. Zhong et al., *SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition*, IEEE Transactions on Image
Processing 2021, arXiv 2205.12010: a MobileFaceNet, published as ``face_recognition_sface_2021dec.onnx``. What it is
given is what OpenCV's ``FaceRecognizerSF`` gives it: a face aligned by five landmarks
(:func:`~fer_cli.faces.align.align_five`), RGB from 0 to 255.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fer_cli.errors import ModelError
from fer_cli.faces.align import FIVE_SIDE
from fer_cli.files import locked, open_regular, written_whole
from fer_cli.models import SFACE, SFACE_SHA256
from fer_cli.models.loading import first_line, require_readable
from fer_cli.models.onnx import open_session
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.models.weights import SFaceWeights, find

if TYPE_CHECKING:
    import onnx

#: The published file has 39 million bytes; more than this is not read.
MAX_BYTES = 200_000_000
#: Colours of 0 to 255: nothing is subtracted, and nothing divided by.
PREPROCESSING = Preprocessing(FIVE_SIDE, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)
#: The cosine distance below which OpenCV takes two faces for one person's: a similarity of 0.363.
THRESHOLD = 1 - 0.363


class SFace(nn.Module):
    """The network in the file ``path``, on the CPU: B×3×112×112 in, RGB from 0 to 255, and B×128 out.

    Any number of threads may call it at once. ``published`` says whether the file is the one that was published, by its
    SHA-256. Raises :class:`~fer_cli.errors.ModelError` if it is no such network.
    """

    width = 128
    #: It is a graph already.
    traceable = False

    def __init__(self, path: Path):
        super().__init__()
        self._path = path
        content = _content(path)
        digest = hashlib.sha256(content)
        # A part of the module's state, so that the fingerprint tells one file from another.
        self.register_buffer("sha256", torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8))
        self.published = digest.hexdigest() == SFACE_SHA256
        if not self.published:
            _require_self_contained(content, path)
        self._session = open_session(path)
        self._input, self._one_by_one = self._checked(path)

    @property
    def about(self) -> str:
        """What is to be known of the file."""
        return "" if self.published else "not the file that was published: its checksum is another"

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The identity embeddings of a batch of aligned faces."""
        pixels = pixel_values.cpu().contiguous().numpy()
        # The published graph takes one face at a time.
        parts = np.split(pixels, len(pixels)) if self._one_by_one and len(pixels) > 1 else [pixels]
        return torch.from_numpy(np.concatenate([self._session.run(None, {self._input: part})[0] for part in parts]))

    def __reduce__(self) -> tuple[Any, ...]:
        # The session cannot be sent to another process, and the file need not be there.
        return _sent, (_content(self._path),)

    def _checked(self, path: Path) -> tuple[str, bool]:
        """The input's name, and whether it takes one face at a time."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        ends = [(each.type, list(each.shape)[1:]) for each in (*inputs, *outputs)]
        wanted = [("tensor(float)", shape) for shape in ([3, FIVE_SIDE, FIVE_SIDE], [self.width])]
        if len(inputs) != 1 or ends != wanted:
            found = f"inputs {_shapes(inputs)}, outputs {_shapes(outputs)}"
            raise ModelError(
                f"{path} is not SFace: it has the {found}.",
                hint=f"It takes 1×3×{FIVE_SIDE}×{FIVE_SIDE} and gives 1×{self.width}: fer weights fetch sface.",
            )
        name, batch = inputs[0].name, inputs[0].shape[0]
        try:
            made = self._session.run(None, {name: np.zeros((1, 3, FIVE_SIDE, FIVE_SIDE), np.float32)})[0]
        except Exception as error:  # ONNX Runtime's errors have no common ancestor but this
            raise ModelError(f"{path} cannot be run by ONNX Runtime: {first_line(error)[:200]}.") from error
        if made.shape != (1, self.width) or not np.isfinite(made).all():
            raise ModelError(f"{path} does not give {self.width} finite numbers for a face: it is damaged.")
        return name, isinstance(batch, int)


def import_sface(source: Path) -> Path:
    """Copy the ONNX file ``source`` into the user's cache; gives the new file.

    Raises as :class:`SFace` does, and writes nothing then.
    """
    target = cast(SFaceWeights, find(SFACE)).target()
    SFace(source)
    with locked(target, "importing to"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as part:
            part.write_bytes(_content(source))
    return target


def _sent(content: bytes) -> SFace:
    with TemporaryDirectory(prefix="fer-") as folder:
        path = Path(folder) / "sface.onnx"
        path.write_bytes(content)
        return SFace(path).eval()


def _content(path: Path) -> bytes:
    if require_readable(path) > MAX_BYTES:
        raise ModelError(f"{path} is not SFace: it is larger than {MAX_BYTES / 1e6:.0f} MB.")
    with open_regular(path) as file:
        return file.read(MAX_BYTES + 1)


def _require_self_contained(content: bytes, path: Path) -> None:
    """Raise :class:`~fer_cli.errors.ModelError` if the graph would read other files, or is none."""
    import onnx

    try:
        graph = onnx.load_from_string(content)
    except Exception as error:  # protobuf's error, which is not exported
        raise ModelError(f"{path} is no ONNX file, or not whole.") from error
    tensors = [*_tensors(graph.graph), *(t for f in graph.functions for node in f.node for t in _of_node(node))]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        raise ModelError(f"{path} names other files that hold its weights, which are not read.")


def _tensors(graph: "onnx.GraphProto") -> "Iterator[onnx.TensorProto]":
    """Every stored tensor of a graph and of the graphs in it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: "onnx.NodeProto") -> "Iterator[onnx.TensorProto]":
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _shapes(values: list[Any]) -> str:
    return ", ".join("×".join(map(str, value.shape)) for value in values[:3]) or "none"
