"""How near prediction comes to what the processor could do, and to a plain loop over transformers' pipeline.

    python benchmarks/predict.py [--pictures 1000] [--faces FOLDER] [--models faces-quick,faces,faces-int8,mobilenet]

Decodes, detects, aligns and classifies JPEGs of 640×480 pixels with a face each: drawn once and kept in
./benchmarks-out, or cut from the pictures in FOLDER. The networks are the packaged ones, `faces` in 8-bit
integers too (`--runtime int8`), and MobileNetV3-Large at 224×224 with random weights. The largest face is taken
(`--faces largest`). The detector's file is taken from FER_YUNET. Prints, for each network,

- the processor time that each part takes for a picture, and the pictures a second that their sum allows on all cores;
- the pictures a second that `fer predict` comes to, its share of that limit, and its processor time a picture;
- the same for a loop over transformers.pipeline("image-classification") with the same network, and with the detector as
  it refines every face in two sizes and mirrored.

The parts are timed alone, and with every core doing the same. The second is what a processor whose cores share their
clock and caches can give, and what the limit is made of: three times, each right before and right after the whole that
it is compared with. Both are means: the shortest of several would be that of the parts, which take less time, in a
second in which nobody else was there. On a machine that others use too, those by processor time say more than those by
the clock.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from PIL import Image
from transformers import pipeline as transformers_pipeline
from transformers.utils import logging

from fer_cli.corpora.synthetic import Synthetic
from fer_cli.distributed import cores
from fer_cli.errors import ModelError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.crop import crop_face
from fer_cli.faces.decode import decode
from fer_cli.faces.detect import Detector
from fer_cli.faces.yunet import find_detector_model
from fer_cli.labels import EXPRESSIONS
from fer_cli.models import AUTO, INT8, Classifier, DifferenceConfig, DifferenceModel, Preprocessing
from fer_cli.models.onnx import with_runtime
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.parallel import ThreadedMap
from fer_cli.prediction.pipeline import BATCH, FaceExtractor
from fer_cli.prediction.run import run
from fer_cli.pretrained import NAME, QUICK, require_packaged

OUT = Path("benchmarks-out")
WIDTH, HEIGHT = 640, 480
SIZE = 224
#: Pictures that the parts are timed on.
SAMPLE = 96
#: Measurements of each part, of which the mean counts.
REPEATS = 3
#: Measurements of the whole, each between two of its parts: a machine's speed changes from minute to minute.
ROUNDS = 3


def pictures(count: int, folder: Path | None) -> list[Path]:
    """``count`` JPEGs of 640×480, made unless they are there."""
    target = OUT / ("predict-drawn" if folder is None else "predict-cut")
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / f"{number:05d}.jpg" for number in range(count)]
    if all(path.exists() for path in paths):
        return paths
    if folder is None:
        frames = 7
        corpus = Synthetic(subjects=-(-count // (7 * frames)), frames=frames)
        corpus.make(OUT / "predict-frames")
        sources = sorted((OUT / "predict-frames").rglob("*.png"))
    else:
        sources = sorted(folder.rglob("*.jpg"))
    for number, path in enumerate(paths):
        Image.fromarray(fitted(decode(sources[number % len(sources)]))).save(path, quality=90)
    return paths


def fitted(pixels: np.ndarray) -> np.ndarray:
    """The picture at 640×480: made smaller or larger to that height, and cut or filled up at the sides."""
    height, width = pixels.shape[:2]
    scale = HEIGHT / height
    resized = cv2.resize(pixels, (round(width * scale), HEIGHT), interpolation=cv2.INTER_AREA)
    room = max(0, WIDTH - resized.shape[1])
    filled = cv2.copyMakeBorder(resized, 0, 0, room // 2, room - room // 2, borderType=cv2.BORDER_REPLICATE)
    left = (filled.shape[1] - WIDTH) // 2
    return filled[:, left : left + WIDTH]


#: The networks measured, each with its name and inference backend.
MOBILENET = "mobilenet"
RUNTIMES = {QUICK: AUTO, NAME: AUTO, f"{NAME}-{INT8}": INT8, MOBILENET: AUTO}


def open_classifier(name: str) -> Classifier:
    """A packaged model, or the MobileNetV3-Large."""
    if name == MOBILENET:
        return mobilenet()
    return Classifier.load(packaged(name), "cpu")


def packaged(name: str) -> Path:
    """The folder of the packaged model called so."""
    return require_packaged(name.removesuffix(f"-{INT8}"))


def mobilenet() -> Classifier:
    """MobileNetV3-Large with random weights, on single faces."""
    torch.manual_seed(0)
    names = dict(enumerate(EXPRESSIONS))
    config = DifferenceConfig(features="target", id2label=names, label2id={name: n for n, name in names.items()})
    crop = {"size": SIZE, "margin": 0.15, "detector": "yunet"}
    return Classifier(DifferenceModel(config), Preprocessing(SIZE, face_crop=crop), torch.device("cpu"))


def processor_seconds(work: Callable[[int], object], places: range, threads: int) -> float:
    """Processor time that ``work`` takes for one of ``places``, as ``threads`` threads do it at once."""
    with ThreadedMap(threads) as pool:
        begun = time.process_time()
        for _ in pool.in_order(work, places):
            pass
        return (time.process_time() - begun) / len(places)


def parts(paths: list[Path], model: Classifier, detector_model: Path, threads: int) -> dict[str, float]:
    """Processor seconds for a picture, by part."""
    extract = FaceExtractor(model.preprocessing.face_crop, detector_model, faces="largest", quick=True)
    pixels = [decode(path) for path in paths]
    crops = [extract.crops(each)[0].pixels for each in pixels]
    batches = [
        torch.from_numpy(np.stack(crops[start : start + BATCH])).permute(0, 3, 1, 2).contiguous()
        for start in range(0, len(crops) - BATCH + 1, BATCH)
    ]
    every = range(len(paths))
    model.probabilities(batches[0])
    each = {
        "decode": (lambda place: decode(paths[place]), every, 1),
        "detect and align": (lambda place: extract.crops(pixels[place]), every, 1),
        "classify": (lambda place: model.probabilities(batches[place]), range(len(batches)), BATCH),
    }
    return {
        name: fmean(processor_seconds(work, places, threads) for _ in range(REPEATS)) / pictures_each
        for name, (work, places, pictures_each) in each.items()
    }


def fer_rate(paths: list[Path], model: Classifier, detector_model: Path) -> tuple[float, float]:
    """Pictures a second, checkpoint and table included, and processor seconds a picture."""
    with TemporaryDirectory(dir=OUT) as folder:
        out = Path(folder, "p.csv")
        options = PredictOptions(out=out, detector_model=detector_model, faces="largest")
        begun, used = time.monotonic(), time.process_time()
        summary = run([str(path) for path in paths], options, model)
        seconds, used = time.monotonic() - begun, time.process_time() - used
    if summary.faces != len(paths):
        print(f"note: {len(paths) - summary.faces} pictures without a face", file=sys.stderr)
    return len(paths) / seconds, used / len(paths)


def plain_rate(paths: list[Path], model: Classifier, detector_model: Path) -> tuple[float, float]:
    """As :func:`fer_rate`, of the loop that one would write: open, detect, crop, and ask transformers' pipeline."""
    logging.disable_progress_bar()
    with TemporaryDirectory(dir=OUT) as folder:
        model.preprocessing.save(Path(folder))
        model.model.save_pretrained(folder)
        ask = transformers_pipeline("image-classification", model=folder, image_processor=folder, device="cpu")
    face_crop = model.preprocessing.face_crop
    detector, template = Detector(detector_model), CropTemplate(face_crop["size"], face_crop["margin"])
    begun, used = time.monotonic(), time.process_time()
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        ask(Image.fromarray(crop_face(pixels, template, detector=detector).pixels))
    return len(paths) / (time.monotonic() - begun), (time.process_time() - used) / len(paths)


def measure(name: str, paths: list[Path], detector_model: Path) -> None:
    """Print the figures of one network."""
    model = open_classifier(name)
    # What the program itself would take: ONNX Runtime, where that is faster.
    folders = [] if name == MOBILENET else [packaged(name)]
    ours, runtime = with_runtime(model, RUNTIMES[name], folders)
    print(f"{name}: {len(paths)} pictures, {cores()} cores, load {os.getloadavg()[0]:.2f}, {runtime.split()[0]}")
    plain, plain_used = plain_rate(paths[: max(SAMPLE, len(paths) // 4)], model, detector_model)
    print(f"  processor time a picture, 1 thread: {told(parts(paths[:SAMPLE], ours, detector_model, 1))}")
    rates, shares, used_shares = [], [], []
    for _ in range(ROUNDS):
        before = parts(paths[:SAMPLE], ours, detector_model, cores())
        rate, used = fer_rate(paths, ours, detector_model)
        after = parts(paths[:SAMPLE], ours, detector_model, cores())
        taken = {part: fmean((before[part], after[part])) for part in before}
        whole = sum(taken.values())
        rates.append((rate, used))
        shares.append(rate * whole / cores())
        used_shares.append(whole / used)
        print(f"  {cores()} threads: {told(taken)}: at most {cores() / whole:.1f} pictures/s")
        print(f"    fer predict: {rate:.1f} pictures/s, {shares[-1]:.2f} of that")
        print(f"    processor time a picture {1000 * used:.1f} ms, the parts' sum is {used_shares[-1]:.2f} of it")
    rate, used = max(rates)
    print(f"  middle: {median(shares):.2f} of the limit (bar 0.9), by processor time {median(used_shares):.2f}")
    print(f"  plain loop: {plain:.1f} pictures/s; fer predict is {rate / plain:.2f} times as fast (bar 4)")
    print(f"    processor time a picture {1000 * plain_used:.1f} ms, {plain_used / used:.2f} times fer predict's")


def told(taken: dict[str, float]) -> str:
    """The seconds of each part, and their sum, in words."""
    each = ", ".join(f"{part} {1000 * seconds:.1f} ms" for part, seconds in taken.items())
    return f"{each}, sum {1000 * sum(taken.values()):.1f} ms"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--models", default=",".join(RUNTIMES))
    wanted = parser.parse_args()
    paths, detector_model = pictures(wanted.pictures, wanted.faces), find_detector_model()
    for name in wanted.models.split(","):
        try:
            measure(name, paths, detector_model)
        except ModelError as error:
            print(f"{name}: not measured. {error.message}")


if __name__ == "__main__":
    main()
