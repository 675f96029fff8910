"""The packaged model on real faces that it has not seen.

    python benchmarks/pretrained.py london FOLDER [--model RUN]       portraits of 102 people, neutral and smiling
    fer evaluate RUN --data data/ferplus-test --tta none|flip         FER+'s test pictures by their majority
    fer evaluate RUN --data data/wild --split test                    the fifth of the people of press photographs

London (DeBruine & Jones 2017, doi 10.6084/m9.figshare.5047666): `neutral/NNN.jpg` and `smiling/NNN.jpg` by subject. A
picture's score is the logarithm of the odds of happiness against neutral. The intervals are a bootstrap over subjects.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from fer_cli import Predictor

SMALLEST = 1e-9


def london(folder: Path, model: str | None, detector: str) -> None:
    """Print how well smiling and neutral portraits are told apart, alone and next to the same person's other one."""
    predictor = Predictor(model, detector=detector, faces="largest")
    paths = sorted([*folder.glob("neutral/*.jpg"), *folder.glob("smiling/*.jpg")])
    begun = time.perf_counter()
    faces = predictor(paths)
    seconds = time.perf_counter() - begun
    found = [path for path, found in zip(paths, faces, strict=True) if found]
    odds = {path: _odds(each[0].probabilities) for path, each in zip(paths, faces, strict=True) if each}
    labels = {path: each[0].label for path, each in zip(paths, faces, strict=True) if each}
    print(
        f"{len(found)} of {len(paths)} faces found ({detector}); {len(paths) / seconds:.1f} pictures/s with detection"
    )
    _report("AUC of smiling against neutral", odds, _auc)
    _report("smiling above neutral, of the same person", odds, _pairs)
    right = {
        path: float(labels[path] == ("happiness" if path.parent.name == "smiling" else "neutral")) for path in found
    }
    _report("accuracy among all classes", right, _mean)
    two = {path: float((odds[path] > 0) == (path.parent.name == "smiling")) for path in found}
    _report("accuracy of happiness against neutral", two, _mean)
    for side in ("neutral", "smiling"):
        names, counts = np.unique([labels[path] for path in found if path.parent.name == side], return_counts=True)
        print(f"  {side}: " + ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True)))


def _odds(probabilities: dict[str, float]) -> float:
    happiness, neutral = (max(probabilities[name], SMALLEST) for name in ("happiness", "neutral"))
    return float(np.log(happiness / neutral))


def _auc(values: dict[Path, float]) -> float:
    return float(roc_auc_score([path.parent.name == "smiling" for path in values], list(values.values())))


def _mean(values: dict[Path, float]) -> float:
    return float(np.mean(list(values.values())))


def _pairs(values: dict[Path, float]) -> float:
    wins = [
        values[path] > values[other]
        for path in values
        if path.parent.name == "smiling" and (other := path.parent.parent / "neutral" / path.name) in values
    ]
    return float(np.mean(wins))


def _report(what: str, values: dict[Path, float], metric: Callable[[dict[Path, float]], float]) -> None:
    """The metric, and its 95 % interval over 1,000 draws of the subjects."""
    subjects = sorted({path.name for path in values})
    by_subject = {name: {path: value for path, value in values.items() if path.name == name} for name in subjects}
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(1000):
        drawn: dict[Path, float] = {}
        for number, name in enumerate(generator.choice(subjects, len(subjects))):
            # A subject that is drawn twice counts twice: its pictures get names of their own.
            drawn |= {path.parent / f"{number}-{path.name}": value for path, value in by_subject[name].items()}
        draws.append(metric(drawn))
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{what}: {metric(values):.3f} [{low:.3f}, {high:.3f}]")


def main() -> None:
    """Run the benchmark named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["london"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="a run; default: the packaged model")
    parser.add_argument("--detector", default="auto")
    chosen = parser.parse_args()
    london(chosen.folder, chosen.model, chosen.detector)


if __name__ == "__main__":
    main()
