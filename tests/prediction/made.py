"""Pictures, and a classifier of them, made in a moment."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fer_cli.models import Classifier, Preprocessing
from fer_cli.prediction.pipeline import FaceExtractor
from tests.made import made_model, run_card

FACE_CROP = {"size": 48, "margin": 0.15, "detector": "none"}


def made_classifier(features: str = "target") -> Classifier:
    return Classifier(made_model(features=features), Preprocessing(32, face_crop=FACE_CROP), torch.device("cpu"))


def made_extract(**settings) -> FaceExtractor:
    return FaceExtractor(FACE_CROP, None, **settings)


def made_pictures(folder: Path, count: int) -> list[Path]:
    """Pictures of noise, no two of them alike."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        # Of one hue each, for noise alone all looks alike to a network.
        Image.fromarray(noise // 2 + np.array([number * 37 % 128, number * 61 % 128, 40], np.uint8)).save(path)
    return paths


def made_run(folder: Path, features: str = "target") -> Path:
    """A finished run of a small model, which nobody had to train."""
    classifier = made_classifier(features)
    classifier.model.save_pretrained(folder)
    classifier.preprocessing.save(folder)
    (folder / "run.json").write_text(json.dumps(run_card(classifier.classes)))
    return folder
