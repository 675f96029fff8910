"""ONNX files of a run: exported, compared with torch, and quantized to 8-bit integers on request."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DatasetError, ModelError, RunError
from fer_cli.models import FLIP
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import fingerprint
from fer_cli.models.onnx import (
    TOLERANCE,
    Logits,
    PairLogits,
    open_session,
    require_exporter,
    run_graph,
    set_metadata,
    silence,
    write_graph,
)
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import Run, names, seen_behind, shared_subjects

BATCH = 32
#: How far int8's probabilities may be from the run's without a note, and the accuracy that it may cost.
INT8_TOLERANCE, INT8_COST = 0.1, 0.01
#: Faces of the test fold on which the file is compared with torch, and of the training which set int8's ranges.
COMPARED, CALIBRATED = 64, 128


@dataclass(frozen=True)
class Exported:
    """An exported file: its ``path``, and how far its probabilities are from torch's.

    ``on_noise`` and ``on_faces`` are the largest differences on random pictures (None for int8) and on ``faces`` crops
    of the test fold (None where the dataset is gone). ``accuracy`` is int8's and ``original`` the exact one on the
    ``tested`` test faces, and ``method`` says how it was made int8.
    """

    path: Path
    on_noise: float | None = None
    on_faces: float | None = None
    faces: int = 0
    accuracy: float | None = None
    original: float | None = None
    tested: int = 0
    method: str = ""

    @property
    def inexact(self) -> str:
        """What of an int8 file is beyond :data:`INT8_TOLERANCE` and :data:`INT8_COST`; empty where nothing is."""
        if self.accuracy is None or self.original is None or self.on_faces is None:
            return ""
        found = [f"its probabilities are up to {self.on_faces:.2f} off"] if self.on_faces > INT8_TOLERANCE else []
        if self.original - self.accuracy > INT8_COST:
            found.append(f"it costs {self.original - self.accuracy:.1%} of accuracy")
        return " and ".join(found)


def export(
    run: Run, out: Path, *, quantize: bool = False, data: Path | None = None, progress: Progress = silent
) -> Exported:
    """Write the model of ``run`` to ``out`` as ONNX, in float32 or with ``quantize`` in 8-bit integers.

    The graph takes ``pixel_values`` (and of a paired model ``neutral_pixel_values``), any number of faces prepared as
    its metadata say, and gives ``logits``; where the run averages a face and its mirror image, the graph does. The
    metadata hold labels, preprocessing, protocol, the fingerprint of the weights, and of an int8 file its accuracy and
    the original's. ``data`` is a prepared dataset that takes the place of the one that the run was trained on. The file
    is there only if it passed ``onnx.checker`` and gave torch's probabilities within 1e-4. Raises
    :class:`~fer_cli.errors.ModelError` if it cannot be exported or differs, :class:`~fer_cli.errors.DatasetError` where
    ``quantize`` finds no dataset to calibrate by or ``data`` does not fit, :class:`~fer_cli.errors.RunError` where the
    model has seen the test subjects of ``data``, :class:`~fer_cli.errors.MissingLibraryError` where torch's exporter
    needs the extra ``onnx`` for this network.
    """
    classifier = Classifier.load(run.path, "cpu")
    if not classifier.model.traceable:
        require_exporter()
    faces = _Faces.of(run, classifier, data)
    chosen = None if faces is None else faces.rows["test"].head(COMPARED)
    if faces is None and quantize:
        place = Path(run.card["dataset"]["path"])
        gone = (
            f"The dataset that {run.path} was trained on is no longer at {place}"
            if place.is_absolute()
            else f"{run.name} comes without the dataset that it was trained on"
        )
        raise DatasetError(
            f"{gone}: int8 takes its ranges from training faces, and its accuracy from test faces.",
            hint="Type --data DATASET with where it is now, or with another of the same classes, or no --quantize.",
        )
    metadata = _metadata(run, classifier)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=out.parent) as folder:
        exact = Path(folder, "float32.onnx")
        progress("exporting", 0, None)
        write_graph(*_network(classifier), "logits", exact, metadata=metadata, trace=classifier.model.traceable)
        on_noise = _apart(exact, classifier, _noise(classifier))
        on_faces = None if faces is None or chosen is None else _apart(exact, classifier, faces.inputs(chosen))
        for apart in (on_noise, on_faces or 0.0):
            if not apart <= TOLERANCE:
                raise ModelError(f"What was exported gives probabilities that are {apart:.1g} off torch's.")
        if not quantize or faces is None or chosen is None:
            exact.replace(out)
            return Exported(out, on_noise, on_faces, 0 if chosen is None else len(chosen))
        small, method = smallest_graph(
            exact,
            faces.batches(faces.sample("train", CALIBRATED)),
            lambda graph: faces.accuracy(graph, "val", progress),
        )
        accuracy, original = (faces.accuracy(graph, "test", progress) for graph in (small, exact))
        tested = len(faces.rows["test"])
        apart = _apart(small, classifier, faces.inputs(chosen))
        quantization = {"method": method, "accuracy": accuracy, "float32_accuracy": original, "faces": tested}
        set_metadata(small, {**metadata, "quantization": quantization})
        small.replace(out)
    return Exported(
        out, on_faces=apart, faces=len(chosen), accuracy=accuracy, original=original, tested=tested, method=method
    )


class _Faces:
    """The faces that a run was trained, chosen and tested on, as its graph takes them."""

    def __init__(self, dataset: PreparedDataset, rows: dict[str, pd.DataFrame], classifier: Classifier):
        self.rows, self._classifier = rows, classifier
        self._crops = Crops(dataset.path, kept_bytes=0)

    @classmethod
    def of(cls, run: Run, classifier: Classifier, data: Path | None) -> "_Faces | None":
        path = data or Path(run.card["dataset"]["path"])
        if data is None and not path.is_dir():
            return None
        dataset = PreparedDataset.open(path)
        paired = classifier.paired or bool(run.card["recipe"].get("pairs_only"))
        rows = dataset.split(run.fold, paired=paired)
        if data is not None:
            rows = {side: part[part["label"].isin(classifier.classes)] for side, part in rows.items()}
            _check_data(run, classifier, dataset, rows)
        return cls(dataset, rows, classifier)

    def sample(self, side: str, count: int) -> pd.DataFrame:
        rows = self.rows[side]
        return rows.sample(min(count, len(rows)), random_state=0)

    def inputs(self, rows: pd.DataFrame) -> dict[str, torch.Tensor]:
        columns = {"pixel_values": "file_name"}
        if self._classifier.paired:
            columns["neutral_pixel_values"] = "neutral_file_name"
        prepare = self._classifier.preprocessing
        return {
            name: prepare.normalise(torch.stack([prepare.resize(self._crops[file]) for file in rows[column]]))
            for name, column in columns.items()
        }

    def batches(self, rows: pd.DataFrame) -> list[dict[str, np.ndarray]]:
        """The rows one by one, as calibration reads them."""
        parts = (self.inputs(rows.iloc[place : place + 1]) for place in range(len(rows)))
        return [{name: value.contiguous().numpy() for name, value in part.items()} for part in parts]

    def accuracy(self, graph: Path, side: str, progress: Progress) -> float:
        session, rows, right = open_session(graph), self.rows[side], 0
        classes = np.array(self._classifier.classes)
        for start in range(0, len(rows), BATCH):
            part = rows.iloc[start : start + BATCH]
            predicted = classes[run_graph(session, self.inputs(part)).argmax(axis=1)]
            right += int((predicted == part["label"].to_numpy(dtype=str)).sum())
            progress(f"testing {graph.stem}", min(start + BATCH, len(rows)), len(rows))
        return right / len(rows)


def _check_data(run: Run, classifier: Classifier, dataset: PreparedDataset, rows: dict[str, pd.DataFrame]) -> None:
    """Refuse a dataset of other classes or crops than the model's, and one whose test subjects the model has seen."""
    if any(part.empty for part in rows.values()):
        raise DatasetError(
            f"{dataset.path} has no face of the model's classes to train, to validate or to test on. The model knows "
            f"{', '.join(classifier.classes)}; the dataset has {', '.join(dataset.protocol.classes)}.",
        )
    margin = classifier.preprocessing.face_crop.get("margin")
    if margin is not None and dataset.crop["margin"] != margin:
        raise DatasetError(
            f"The crops in {dataset.path} have a margin of {dataset.crop['margin']}, those that the model was trained "
            f"on {margin}.",
            hint=f"Prepare the dataset with --margin {margin}.",
        )
    seen = shared_subjects(seen_behind(run.path), dataset.card["corpus"], set(rows["test"]["subject"].dropna()))
    if seen:
        raise RunError(
            f"{run.path} was trained on {len(seen)} of the test subjects in {dataset.path} ({names(seen)}): int8's "
            "accuracy would be that of faces seen in training.",
            hint="Type --data DATASET with other people.",
        )


def _network(classifier: Classifier) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The network to export and examples of its inputs."""
    kind = PairLogits if classifier.paired else Logits
    network = kind(classifier.model, classifier.temperature, classifier.tta)
    return network, _noise(classifier, count=2)


def _noise(classifier: Classifier, count: int = 5) -> dict[str, torch.Tensor]:
    size, chance = classifier.preprocessing.size, torch.Generator().manual_seed(0)
    names = ("pixel_values", "neutral_pixel_values") if classifier.paired else ("pixel_values",)
    # Each a tensor of its own: the exporter takes one object for one input.
    return {name: torch.randn(count, 3, size, size, generator=chance) for name in names}


def _apart(graph: Path, classifier: Classifier, inputs: dict[str, torch.Tensor]) -> float:
    """The largest difference of a probability from torch's."""
    graphs = torch.softmax(torch.from_numpy(run_graph(open_session(graph), inputs)), dim=-1).numpy()
    return float(np.abs(graphs - classifier.classify(inputs)).max())


def _metadata(run: Run, classifier: Classifier) -> dict[str, Any]:
    preprocessing = classifier.preprocessing
    return {
        "labels": list(classifier.classes),
        "preprocessing": {
            "face_crop": dict(preprocessing.face_crop),
            "size": preprocessing.size,
            "channels": "RGB, grey in all three" if preprocessing.grey else "RGB",
            "scale": "0 to 1",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        },
        "output": "logits; softmax over the classes makes probabilities of them",
        "tta": f"{FLIP}, averaged in the graph" if classifier.tta == FLIP else "none",
        "protocol": run.protocol.to_dict(),
        "fold": str(run.fold),
        "run": run.name,
        "model": run.card["model"],
        "fingerprint": fingerprint(classifier.model),
        "dataset_fingerprint": run.card["dataset"]["fingerprint"],
        "fer_version": run.card["versions"]["fer"],
    }


#: A loss of accuracy on the validation fold above which the other method is tried.
HURTS = 0.01


def smallest_graph(
    graph: Path, calibration: list[dict[str, np.ndarray]], accuracy: Callable[[Path], float]
) -> tuple[Path, str]:
    """The int8 form of ``graph``, in a file of the same folder, and how it was made.

    Static quantization (weights and activations; the ranges of these from ``calibration``, a dict of inputs a batch) is
    the faster. Where it costs more than one point of ``accuracy``, measured on faces of neither training nor
    test, dynamic quantization of the linear layers' weights is tried too, and the more accurate kept.

    Weights use seven of their bits: a processor with AVX2 but without VNNI adds two products in 16 bits, which those of
    eight overflow, so that probabilities of `faces` were up to 0.96 off there.
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
            reduce_range=True,
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
            reduce_range=True,
        )
    if accuracy(dynamic) > found:
        return dynamic, "dynamic, linear layers only, for static quantization costs more accuracy"
    return static, f"static, ranges of {len(calibration)} training faces"


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    """Gives the calibrator one batch after another."""

    def __init__(self, batches: list[dict[str, np.ndarray]]):
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)
