"""Whether the memory of a prediction grows with the number of its inputs.

    python benchmarks/predict_memory.py [--inputs 20000]

Predicts on a list that names 200 drawn JPEGs of 640×480 over and over (kept in ./benchmarks-out), with detection and
MobileNetV3-Small at 64×64, into a CSV with its checkpoint. Every twentieth input is no picture, so that errors are
written too. Prints the resident memory after each twentieth part of the inputs, and its growth after the first. The
detector's file is taken from FER_YUNET. Linux.
"""

import argparse
import gc
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from predict import OUT, pictures

from fer_cli.faces.yunet import find_detector_model
from fer_cli.labels import EXPRESSIONS
from fer_cli.models import Classifier, DifferenceConfig, DifferenceModel, Preprocessing
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.run import run

PARTS = 20
MIB = 2**20


def resident() -> float:
    """This process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    count = parser.parse_args().inputs
    names = dict(enumerate(EXPRESSIONS))
    config = DifferenceConfig("mobilenet_v3_small", "target", id2label=names, label2id={n: i for i, n in names.items()})
    crop = {"size": 64, "margin": 0.15, "detector": "yunet"}
    model = Classifier(DifferenceModel(config), Preprocessing(64, face_crop=crop), torch.device("cpu"))
    drawn = pictures(200, None)
    measured: list[float] = []

    def progress(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if stage == "predicting" and done * PARTS >= (len(measured) + 1) * count:
            gc.collect()
            measured.append(resident())
            print(f"{done:6} inputs: {measured[-1]:.0f} MiB", flush=True)

    with TemporaryDirectory(dir=OUT) as folder:
        listed = Path(folder, "list.txt")
        lines = ["letter.jpg" if number % 20 == 0 else str(drawn[number % 200].resolve()) for number in range(count)]
        listed.write_text("\n".join(lines))
        Path(folder, "letter.jpg").write_text("dear picture")
        options = PredictOptions(out=Path(folder, "p.csv"), detector_model=find_detector_model(), faces="largest")
        print(f"before: {resident():.0f} MiB")
        run([str(listed)], options, model, progress=progress)
    growth = measured[-1] - measured[0]
    most = max(measured) - measured[0]
    print(f"after the first {count // PARTS} inputs memory changed by {growth:+.0f} MiB, at most by {most:+.0f}")


if __name__ == "__main__":
    main()
