"""A packaged model by torch, by ONNX Runtime and in 8-bit integers, from paths, Pillow images and arrays.

    fer export faces && fer export faces --quantize --data data/ferplus
    python benchmarks/runtimes.py runs/faces/model.onnx runs/faces/model-int8.onnx --crops data/ferplus-test \
--london london [--model faces-quick]

Each line compares probabilities with torch's, of a path: the largest and the mean difference, the pictures whose label
changes, and accuracy. The crops are those of a prepared dataset, with its labels; of the London Set
(`neutral/*.jpg`, `smiling/*.jpg`) the largest face in each picture. The rates are by processor time on one thread, of
crops in memory.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fer_cli import Predictor
from fer_cli.faces.decode import decode
from fer_cli.models.inference import Classifier, finite_probabilities
from fer_cli.models.onnx import open_session, run_graph, with_runtime
from fer_cli.prediction.pipeline import FaceExtractor
from fer_cli.pretrained import NAME, NAMES, require_packaged

BATCH = 8


def shares(compute: Callable[[torch.Tensor], np.ndarray], crops: torch.Tensor) -> tuple[np.ndarray, float]:
    """The probabilities of crops, batch by batch, and how many of them a second of processor time allows."""
    compute(crops[:BATCH])
    begun = time.process_time()
    found = np.concatenate([compute(batch) for batch in crops.split(BATCH)])
    return found, len(crops) / (time.process_time() - begun)


def report(line: str, found: np.ndarray, expected: np.ndarray, truth: np.ndarray, rate: float | None) -> None:
    """A line of the table."""
    apart, changed = np.abs(found - expected), int((found.argmax(1) != expected.argmax(1)).sum())
    accuracy = (found.argmax(1) == truth).mean()
    speed = "" if rate is None else f"; {rate:.0f} crops/s"
    print(
        f"  {line:<34} differ by {apart.max():.1e}, mean {apart.mean():.1e}; {changed} of {len(found)} labels change; "
        f"accuracy {accuracy:.4f}{speed}"
    )


def runtimes(name: str, model: str, crops: list[np.ndarray], labels: list[str], files: list[Path]) -> None:
    """Print how far the runtimes are from torch on the same crops."""
    classifier = Classifier.load(require_packaged(model), "cpu")
    truth = np.array([classifier.classes.index(label) for label in labels])
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    expected, rate = shares(classifier.probabilities, pixels)
    print(f"{name}: {len(crops)} faces")
    report("torch", expected, expected, truth, rate)
    graph, _ = with_runtime(classifier, "onnxruntime")
    found, rate = shares(graph.probabilities, pixels)
    report("ONNX Runtime, --runtime onnxruntime", found, expected, truth, rate)
    for file in files:
        session, prepare = open_session(file), classifier.preprocessing

        def compute(batch: torch.Tensor, session=session, prepare=prepare) -> np.ndarray:
            return finite_probabilities(torch.from_numpy(run_graph(session, {"pixel_values": prepare(batch)})))

        found, rate = shares(compute, pixels)
        report(file.name, found, expected, truth, rate)


def inputs(paths: list[Path], labels: list[str], settings: dict[str, str]) -> None:
    """Print how far the probabilities of Pillow images and arrays are from those of their paths."""
    predictor = Predictor(**settings)
    truth = np.array([predictor.classes.index(label) for label in labels])

    def answers(pictures: list) -> np.ndarray:
        faces = (each[0].probabilities if each else {} for each in predictor(pictures))
        return np.array([[face.get(name, 0.0) for name in predictor.classes] for face in faces])

    expected = answers(paths)
    for kind, load in (("path", str), ("Pillow image", Image.open), ("array", decode)):
        report(f"Predictor, {kind}", answers([load(path) for path in paths]), expected, truth, None)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="exported files")
    parser.add_argument("--crops", type=Path, metavar="DATASET")
    parser.add_argument("--london", type=Path, metavar="FOLDER")
    parser.add_argument("--model", choices=NAMES, default=NAME)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.crops:
        with (chosen.crops / "metadata.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["label"] and row["split"] in ("test", "")]
        paths, labels = [chosen.crops / row["file_name"] for row in rows], [row["label"] for row in rows]
        runtimes(chosen.crops.name, chosen.model, [decode(path) for path in paths], labels, chosen.files)
        inputs(paths, labels, {"model": chosen.model, "detector": "none"})
    if chosen.london:
        paths = sorted([*chosen.london.glob("neutral/*.jpg"), *chosen.london.glob("smiling/*.jpg")])
        labels = ["happiness" if path.parent.name == "smiling" else "neutral" for path in paths]
        face_crop = Classifier.load(require_packaged(chosen.model), "cpu").preprocessing.face_crop
        extract = FaceExtractor.of(face_crop, "auto", None, faces="largest")
        runtimes(chosen.london.name, chosen.model, [extract.largest(path) for path in paths], labels, chosen.files)
        inputs(paths, labels, {"model": chosen.model, "faces": "largest"})


if __name__ == "__main__":
    main()
