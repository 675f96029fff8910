"""Name the expressions in pictures, from Python.

    python examples/predict.py RUN PICTURE…

RUN is a run trained with ``--features target``; for one that compares with a neutral face, give ``predict`` a source of
neutral faces, such as ``given_neutral(Path("neutral.jpg"), looker)``.
"""

import sys

from fer_cli.faces.detector_model import find_detector_model
from fer_cli.faces.video import Every
from fer_cli.models import Classifier
from fer_cli.prediction.inputs import inputs
from fer_cli.prediction.look import Looker
from fer_cli.prediction.outcomes import Missed
from fer_cli.prediction.pipeline import predict
from fer_cli.prediction.shots import shots


def main(run: str, *sources: str) -> None:
    """One line a face."""
    classifier = Classifier.load(run)
    face_crop = classifier.preprocessing.face_crop
    # A run on pictures that were cropped already needs no detector.
    looker = Looker(face_crop, None if face_crop["detector"] == "none" else find_detector_model())
    for outcome in predict(shots(enumerate(inputs(sources)), Every()), looker, classifier):
        for each in outcome:
            if isinstance(each, Missed):
                print(f"{each.path}: {each.reason}", file=sys.stderr)
            else:
                print(f"{each.path} face {each.number}: {each.label} ({each.confidence:.0%})")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
