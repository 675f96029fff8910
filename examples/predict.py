"""Name the expressions in pictures, from Python.

    python examples/predict.py RUN PICTURE…

RUN is a run trained with ``--features target``; for one that compares with a neutral face, give its picture to
``predict`` as the second argument.
"""

import sys
from pathlib import Path

from fer_cli.models import Classifier
from fer_cli.prediction.predict import Missed, Predictor
from fer_cli.prediction.sources import pictures


def main(run: str, *sources: str) -> None:
    """One line a face."""
    classifier = Classifier.load(run)
    # A run on pictures that were cropped already needs no detector.
    cropped = classifier.preprocessing.face_crop["detector"] == "none"
    predictor = Predictor(classifier, detect=not cropped)
    for outcome in predictor.predict(list(pictures(map(Path, sources)))):
        if isinstance(outcome, Missed):
            print(f"{outcome.path}: {outcome.reason}", file=sys.stderr)
        else:
            print(f"{outcome.path} face {outcome.number}: {outcome.label} ({outcome.confidence:.0%})")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
