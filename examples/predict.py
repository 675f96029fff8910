"""Name the expressions in a folder of pictures, from Python.

    python examples/predict.py RUN FOLDER

A run that compares with a neutral face finds each person's among the pictures.
"""

import sys
from pathlib import Path

from fer_cli import Predictor

PICTURES = {".jpg", ".jpeg", ".png"}


def main(run: str, folder: str) -> None:
    """One line a face."""
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in PICTURES)
    for path, faces in zip(paths, Predictor(run)(paths), strict=True):
        for number, face in enumerate(faces):
            print(f"{path} face {number}: {face.label} ({face.confidence:.0%})")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
