"""Runs made in a moment: a small network that answers, and the card that training writes."""

import json
from pathlib import Path
from typing import Any

import torch

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.models import Preprocessing
from fer_cli.runs.run import CARD, Run
from tests.made import CLASSES, made_model, run_card


def write_run(
    folder: Path, *, features: str, classes: tuple[str, ...] = CLASSES, mean: bool = True, **card: Any
) -> Run:
    """A finished run of difference; ``mean`` gives it an average neutral face (of zeros), ``card`` replaces entries."""
    made_model(features=features, classes=classes).save_pretrained(folder)
    Preprocessing(32, face_crop={"size": 40, "margin": 0.15, "detector": "none"}).save(folder)
    if mean and features != "target":
        NeutralMean(torch.zeros(576), 3, 0.25).save(folder)
    dataset = {"path": str(folder / "gone"), "corpus": "made", "fingerprint": "0"}
    written = run_card(classes, **{"recipe": {"features": features}, "dataset": dataset, **card})
    (folder / CARD).write_text(json.dumps(written), encoding="utf-8")
    return Run.open(folder)
