"""The packaged models and `fer` from PyPI (Justin Shenk's) on the same pictures: accuracy, and pictures a second.

    python -m venv ENV && ENV/bin/pip install fer "setuptools<81" "opencv-contrib-python<5"
    python benchmarks/peers.py ENV/bin/python --ferplus ferplus.zip --crops data/ferplus-test --london london

`--ferplus` is Microsoft's zip with the pictures of 48×48 pixels (`FER2013Test/fer0032220.png`), `--crops` the same test
pictures as `fer prepare fer2013` aligns them, with their labels by majority. `--london` is the Face Research Lab London
Set: `neutral/*.jpg` and `smiling/*.jpg`.

Each program runs in a process of its own, on the same single core with one thread a library, and reads the files
itself: a picture's time is that of decoding, detection where there is any, and classification, in seconds of processor
time, which other programs on the machine disturb less than a clock; loading and three pictures to warm up are not
counted. The weights are those that the packages contain.

On FER+'s pictures the other program is told that the whole picture is the face, with the padding of 10 pixels that it
adds to a face by default and without; ours is given the aligned crops, and the pictures as they are, in which it has to
find the face. On portraits each finds the face itself, and the largest counts; where it finds none, it is wrong. The
other program has no contempt: all its answers to such pictures are wrong, and accuracy is printed without them too.
Its model was trained on FER2013, from which FER+'s pictures come, with FER2013's labels; its package does not say
whether on those that are tested here. Ours was trained on FER+'s training pictures with FER+'s labels.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np

#: What the other program calls the expressions.
NAMES = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
#: Our lines: pictures, and the arguments of Predictor.
OURS = {
    f"{model}: {about}": (pictures, {"model": model, **settings})
    for model in ("faces", "faces-quick")
    for about, pictures, settings in (
        ("crops", "crops", {"detector": "none"}),
        ("pictures as they are", "ferplus", {"faces": "largest"}),
        ("portraits", "london", {"faces": "largest"}),
    )
}
#: The other program's: pictures, the arguments of FER, and whether the whole picture is the face.
PEERS = {
    "fer: whole pictures": ("ferplus", {"offsets": (0, 0)}, True),
    "fer: whole pictures, padded": ("ferplus", {}, True),
    "fer: crops": ("crops", {"offsets": (0, 0)}, True),
    "fer: portraits": ("london", {}, False),
    "fer: portraits, Keras": ("london", {"use_tflite": False}, False),
    "fer: portraits, MTCNN": ("london", {"mtcnn": True}, False),
}
WARM_UP = 3
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

Found = dict[str, dict]


def ours(pictures: dict[str, list[str]]) -> Found:
    """The packaged models' labels and seconds of processor time, by line; an empty label where it found no face."""
    from fer_cli import Predictor

    found = {}
    for line, (name, settings) in OURS.items():
        if name in pictures:
            predictor = Predictor(**settings)
            predictor(pictures[name][:WARM_UP])
            begun = time.process_time()
            faces = predictor(pictures[name])
            seconds = time.process_time() - begun
            found[line] = {"labels": [each[0].label if each else "" for each in faces], "seconds": seconds}
    return found


def peer(pictures: dict[str, list[str]]) -> Found:
    """The same of the other program, in its own environment."""
    with suppress(ImportError):
        # It brings torch for MTCNN, and the two may crash if TensorFlow is loaded first.
        import facenet_pytorch  # noqa: F401
    import cv2
    from fer.fer import FER

    cv2.setNumThreads(1)
    found = {}
    for line, (name, settings, whole) in PEERS.items():
        if name not in pictures:
            continue
        try:
            program = FER(**settings)
        except Exception as error:  # it raises plain exceptions where an optional package is missing
            print(f"{line}: {error}", file=sys.stderr)
            continue

        def label(path: str, program: FER = program, whole: bool = whole) -> str:
            pixels = cv2.imread(path)
            boxes = [(0, 0, pixels.shape[1], pixels.shape[0])] if whole else None
            faces = program.detect_emotions(pixels, face_rectangles=boxes)
            largest = max(faces, key=lambda face: face["box"][2] * face["box"][3], default=None)
            return "" if largest is None else max(largest["emotions"], key=largest["emotions"].get)

        found[line] = timed(label, pictures[name])
    return found


def timed(label: Callable[[str], str], paths: list[str]) -> dict:
    """The labels of pictures and the seconds of processor time that they took."""
    for path in paths[:WARM_UP]:
        label(path)
    begun = time.process_time()
    labels = [label(path) for path in paths]
    return {"labels": labels, "seconds": time.process_time() - begun}


def on_one_core(python: str, side: str, plan: Path, out: Path) -> Found:
    """What ``side`` finds, run by ``python`` on one core."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([python, __file__, side, str(plan), str(out)], env=environment, check=True)
    return json.loads(out.read_text())


def ferplus(archive: Path, dataset: Path, out: Path) -> tuple[list[str], list[str], list[str]]:
    """FER+'s test pictures unpacked into ``out``, their aligned crops, and their labels."""
    with (dataset / "metadata.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["label"]]
    with ZipFile(archive) as packed:
        members = {Path(name).stem: name for name in packed.namelist() if "FER2013Test/" in name}
        raw = [packed.extract(members[row["frame"]], out) for row in rows]
    return raw, [str(dataset / row["file_name"]) for row in rows], [row["label"] for row in rows]


def report(line: str, labels: list[str], found: dict) -> np.ndarray:
    """A line of the table; which of the pictures are right."""
    truth = np.array(labels)
    answers = np.array([NAMES.get(name, name) for name in found["labels"]])
    right = answers == truth
    known = truth != "contempt"
    parts = [f"{len(right)} pictures: {interval(right)}"]
    if not known.all():
        parts.append(f"{known.sum()} without contempt: {interval(right[known])}")
    if missed := int((answers == "").sum()):
        parts.append(f"{missed} without a face")
    print(f"{line:<30} {'; '.join(parts)}; {len(right) / found['seconds']:.1f} pictures/s")
    return right


def interval(values: np.ndarray) -> str:
    """The mean, and its 95 % interval over 2,000 draws of the pictures."""
    generator = np.random.default_rng(0)
    draws = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(2000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def compare(python: str, labels: dict[str, list[str]], pictures: dict[str, list[str]], folder: Path) -> None:
    """Print the table: both programs, then the difference of their best lines on the same pictures."""
    (folder / "plan.json").write_text(json.dumps(pictures))
    plan, lines = folder / "plan.json", {**OURS, **PEERS}
    found = on_one_core(sys.executable, "ours", plan, folder / "ours.json")
    found |= on_one_core(python, "peer", plan, folder / "peer.json")
    for names in (("ferplus", "crops"), ("london",)):
        right = {
            line: report(line, labels[lines[line][0]], each) for line, each in found.items() if lines[line][0] in names
        }
        if right:
            mine, theirs = (best(right, prefix) for prefix in ("faces:", "fer:"))
            apart = right[mine].astype(float) - right[theirs]
            print(f"{'difference':<30} {interval(apart)}: {mine} less {theirs}")


def best(right: dict[str, np.ndarray], prefix: str) -> str:
    """The line of a program with the most pictures right."""
    return max((line for line in right if line.startswith(prefix)), key=lambda line: right[line].sum())


def main(arguments: Iterable[str]) -> None:
    """Compare the two, or be one of them."""
    arguments = list(arguments)
    if arguments[:1] in (["ours"], ["peer"]):
        side, plan, out = arguments
        found = {"ours": ours, "peer": peer}[side](json.loads(Path(plan).read_text()))
        Path(out).write_text(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="the Python of the environment in which fer from PyPI is installed")
    parser.add_argument("--ferplus", type=Path, metavar="ZIP")
    parser.add_argument("--crops", type=Path, metavar="DATASET")
    parser.add_argument("--london", type=Path, metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    if (chosen.ferplus is None) != (chosen.crops is None):
        parser.error("--ferplus and --crops need each other: the pictures, and their labels")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with TemporaryDirectory() as folder:
        labels, pictures = {}, {}
        if chosen.ferplus:
            pictures["ferplus"], pictures["crops"], named = ferplus(chosen.ferplus, chosen.crops, Path(folder))
            labels |= {"ferplus": named, "crops": named}
        if chosen.london:
            paths = sorted([*chosen.london.glob("neutral/*.jpg"), *chosen.london.glob("smiling/*.jpg")])
            pictures["london"] = [str(path) for path in paths]
            labels["london"] = ["happiness" if path.parent.name == "smiling" else "neutral" for path in paths]
        compare(chosen.python, labels, pictures, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
