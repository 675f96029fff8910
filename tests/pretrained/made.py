"""A packaged model made in a moment."""

import json
from pathlib import Path

from fer_cli.export.package import package
from tests.made import CLASSES
from tests.prediction.runs import write_run

WITH_NEUTRAL = ("neutral", *CLASSES)
SUBJECTS = {"train": ["P02", "P03"], "val": ["P01"], "test": ["P04"]}


def metrics(**changes) -> dict:
    """What ``fer evaluate`` writes, as far as a package reads it."""
    value = {"value": 0.8, "low": 0.7, "high": 0.9}
    recall = {"recall": 0.8, "recall_low": 0.6, "recall_high": None, "support": 10.0}
    return {
        "corpus": "made",
        "about": "Made 4 classes, test fold 0",
        "n": 40,
        "measures": {"accuracy": value, "unweighted_average_recall": value, "macro_f1": value, "ece": value},
        "per_class": dict.fromkeys(WITH_NEUTRAL, recall),
        "calibration": {"temperature": 1.5, "fitted_on": 30, "ece": value, "ece_after": value},
        **changes,
    }


def made_evaluation(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics(**changes)))
    return folder


def evaluated_run(folder: Path, **card):
    """A finished run of single faces, with neutral among its classes, evaluated."""
    command = "fer train difference --data /home/anna/data/made --out=/home/anna/runs/one --epochs 3"
    recipe = {"features": "target", "encoder": "/home/anna/runs/before", "epochs": 3}
    given = {"subjects": SUBJECTS, "seen": {"made": ["P01", "P02", "P03"]}, "command": command, "recipe": recipe}
    run = write_run(folder, features="target", classes=WITH_NEUTRAL, **{**given, "device": "Anna's GPU", **card})
    made_evaluation(folder / "evaluation")
    return run


def packaged_stand_in(folder: Path) -> Path:
    return package(evaluated_run(folder.with_name("run")), folder).path
