"""What a model of single faces loses by finding faces quickly: faces, points, labels; and what it gains: time.

    python benchmarks/quick_faces.py --london FOLDER [--wild FOLDER --unseen DATA]

Compares the faces of ``fer predict`` with those of ``fer prepare``, on the London Set's portraits (FOLDER with its
``eyes.csv``), on press photographs (FOLDER with its ``labels.csv``) of the people in the prepared dataset ``--unseen``,
whom the packaged model was not trained on, and on such photographs laid on a background, one to six of them in sizes
between 14 and 900 pixels. Prints for each, and for all faces and the largest alone,

- how many faces are lost, or found where there were none, by whether either box's middle lies in the other;
- the shift of the farther eye, in per cent of the distance between the eyes: the median, and of nine in ten;
- labels of the packaged model that are other ones, its accuracy before and after, and processor time.

Then the error of the eyes that are marked by hand on the portraits; and of portraits and photographs turned by 90, 180
and 270 degrees, the score that comes nearest to passing for an upright face's. The detector's file is taken from
FER_YUNET.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.faces.align import OVERSAMPLING, CropTemplate
from fer_cli.faces.decode import decode
from fer_cli.faces.detect import QUICK_UPRIGHT, Detector, Face
from fer_cli.faces.yunet import find_detector_model
from fer_cli.prediction.pipeline import BATCH, to_tensor
from fer_cli.prediction.predictor import open_model

#: A picture, and its label where it has one.
Pictures = Iterator[tuple[np.ndarray, str | None]]
#: Press photographs of people whom the model has not seen, and those that are turned.
PRESS, TURNED = 750, 1500
CROP = CropTemplate(64, margin=0.05)


class Laid(NamedTuple):
    """``count`` pictures of height×width with up to ``most`` photographs on each, ``low`` to ``high`` pixels long."""

    count: int
    height: int
    width: int
    low: int
    high: int
    most: int


LAID = (Laid(250, 480, 640, 20, 400, 5), Laid(250, 480, 640, 14, 90, 6), Laid(24, 2000, 3000, 60, 900, 6))


def portraits(folder: Path) -> Pictures:
    """The London Set's portraits."""
    for kind, label in (("neutral", "neutral"), ("smiling", "happiness")):
        for path in sorted((folder / kind).glob("*.jpg")):
            yield decode(path), label


def photographs(rows: list[dict[str, str]], folder: Path, count: int, seed: int) -> Pictures:
    """``count`` press photographs, drawn."""
    for place in np.random.default_rng(seed).choice(len(rows), min(count, len(rows)), replace=False):
        yield decode(folder / rows[place]["file"]), rows[place]["label"]


def laid(rows: list[dict[str, str]], folder: Path, seed: int, sizes: Laid) -> Pictures:
    """Photographs laid side by side on an enlarged corner of one."""
    rng = np.random.default_rng(seed)

    def drawn() -> np.ndarray:
        return decode(folder / rows[rng.integers(len(rows))]["file"])

    count, height, width, low, high, most = sizes
    for _ in range(count):
        corner = drawn()
        part = corner[: max(8, corner.shape[0] // 6), : max(8, corner.shape[1] // 3)]
        noise = rng.normal(0, 6, (height, width, 1))
        enlarged = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
        taken: list[tuple[int, int, int, int]] = []
        for _ in range(rng.integers(1, most + 1)):
            pixels = drawn()
            scale = np.exp(rng.uniform(np.log(low), np.log(high))) / max(pixels.shape[:2])
            size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
            x, y = (int(rng.integers(0, room - side)) for room, side in zip((width, height), size, strict=True))
            box = (x, y, x + size[0], y + size[1])
            if any(box[0] <= b[2] and b[0] <= box[2] and box[1] <= b[3] and b[1] <= box[3] for b in taken):
                continue
            taken.append(box)
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            picture[box[1] : box[3], box[0] : box[2]] = cv2.resize(pixels, size, interpolation=method)
        yield picture, None


def compare(name: str, pictures: Pictures, model: Path, labels: Callable[[list[np.ndarray]], np.ndarray]) -> None:
    """Print what differs between all faces and those found quickly, and the largest."""
    before, quick = Detector(model), Detector(model, quick=True)
    seconds = dict.fromkeys(("before", "all", "largest"), 0.0)
    found: dict[str, list[tuple[np.ndarray, Face, Face, str | None]]] = {"all": [], "largest": []}
    count, lost, gained = 0, {"all": 0, "largest": 0}, {"all": 0, "largest": 0}

    def timed(key: str, work: Callable[[], list[Face]]) -> list[Face]:
        begun = time.thread_time()
        faces = work()
        seconds[key] += time.thread_time() - begun
        return faces

    for pixels, label in pictures:
        count += 1
        expected = timed("before", partial(before.detect, pixels))
        for key, faces, wanted in (
            ("all", timed("all", partial(quick.detect, pixels)), expected),
            ("largest", timed("largest", lambda: [face for face in [quick.largest(pixels)] if face]), expected[:1]),  # noqa: B023
        ):
            left = list(faces)
            for face in wanted:
                same = next((each for each in left if each.overlaps(face)), None)
                if same is None:
                    lost[key] += 1
                else:
                    left.remove(same)
                    found[key].append((pixels, face, same, label))
            gained[key] += len(left)
    print(f"{name}: {count} pictures")
    for key, pairs in found.items():
        shift = [np.linalg.norm(a.landmarks - b.landmarks, axis=1)[:2].max() / apart(a) for _, a, b, _ in pairs]
        first = labels([CROP.align(pixels, a.landmarks) for pixels, a, _, _ in pairs])
        second = labels([CROP.align(pixels, b.landmarks, quick=OVERSAMPLING) for pixels, _, b, _ in pairs])
        truth = np.array([label for *_, label in pairs])
        scores = f", accuracy {(first == truth).mean():.3f} → {(second == truth).mean():.3f}"
        right = "" if pairs[0][3] is None else scores
        median, most = np.quantile(shift, [0.5, 0.9])
        print(
            f"  {key}: {len(pairs)} faces, {lost[key]} lost, {gained[key]} gained, shift {median:.1%}, {most:.1%}, "
            f"{(first != second).sum()} labels changed{right}, "
            f"{1000 * seconds['before'] / count:.0f} → {1000 * seconds[key] / count:.1f} ms"
        )


def apart(face: Face) -> float:
    """The distance between the eyes in pixels."""
    return max(1.0, float(np.linalg.norm(face.landmarks[0] - face.landmarks[1])))


def eyes(folder: Path, model: Path) -> None:
    """Print how far from the eyes marked by hand those found are."""
    with (folder / "eyes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    quick = Detector(model, quick=True)
    ways = {"fer prepare": lambda pixels: Detector(model).detect(pixels)[0]}
    ways |= {"all": lambda pixels: quick.detect(pixels)[0], "largest": quick.largest}
    for name, find in ways.items():
        away = []
        for row in rows:
            marked = np.array([[float(row[f"{side}_{axis}"]) for axis in "xy"] for side in ("left", "right")])
            points = find(decode(folder / row["file_name"])).landmarks[:2]
            away.append(np.linalg.norm(points - marked, axis=1).max() / np.linalg.norm(marked[0] - marked[1]))
        median, most = np.quantile(away, [0.5, 0.9])
        print(f"  eyes, {name}: median {median:.1%}, nine in ten {most:.1%}, worst {max(away):.1%}")


def turned(pictures: Pictures, model: Path) -> None:
    """Print how sure the quick detector is of faces that are not upright."""
    scores = []

    class Asked(Detector):
        def _points(self, *args: np.ndarray, **settings: bool) -> tuple[np.ndarray, float] | None:  # type: ignore[override]
            self.seen = super()._points(*args, **settings)  # type: ignore[arg-type]
            return self.seen

    quick = Asked(model, quick=True)
    for pixels, _ in pictures:
        for quarters in (1, 2, 3):
            seen = np.ascontiguousarray(np.rot90(pixels, quarters))
            face = quick._plainly_largest(seen)
            if face is not None:
                quick.seen = None
                quick._quickly_refined(seen, face)
                scores.append(0.0 if quick.seen is None else (face.score + quick.seen[1]) / 2)
    high = ", ".join(f"{score:.3f}" for score in sorted(scores)[-3:])
    print(f"turned faces: {len(scores)}, the highest scores {high}; upright from {QUICK_UPRIGHT}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--london", type=Path, required=True)
    parser.add_argument("--wild", type=Path)
    parser.add_argument("--unseen", type=Path)
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    model, classifier = find_detector_model(), open_model("faces", device="cpu").classifier

    def labels(crops: list[np.ndarray]) -> np.ndarray:
        batches = [to_tensor(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        shares = np.concatenate([classifier.probabilities(batch) for batch in batches])
        return np.array(classifier.classes)[shares.argmax(axis=1)]

    compare("portraits", portraits(wanted.london), model, labels)
    eyes(wanted.london, model)
    everything = portraits(wanted.london)
    if wanted.wild:
        with (wanted.wild / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        folder = wanted.wild if (wanted.wild / rows[0]["file"]).is_file() else wanted.wild / "images"
        if wanted.unseen:
            people = set(PreparedDataset.open(wanted.unseen).metadata["subject"])
            unseen = [row for row in rows if row["subject"] in people]
            compare("press photographs", photographs(unseen, folder, PRESS, 3), model, labels)
        for seed, sizes in enumerate(LAID, 101):
            name = f"photographs of {sizes.low} to {sizes.high} pixels"
            compare(name, laid(rows, folder, seed, sizes), model, labels)
        everything = chain(everything, photographs(rows, folder, TURNED, 21))
    turned(everything, model)


if __name__ == "__main__":
    main()
