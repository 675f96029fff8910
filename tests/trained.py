"""A cross-validation on the dataset of squares, whose models' answers vary: what evaluation is tested on."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from fer_cli.evaluation.inference import run_inference
from fer_cli.options import Session
from fer_cli.runs.run import Run
from fer_cli.training.cross_validation import cross_validate
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_dataset, made_model


def trained(home: Path) -> Path:
    """``home`` with the dataset ``data/made`` and the cross-validation ``runs/cv``, each fold's model another one."""
    recipe = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", epochs=1, batch_size=9)
    found = cross_validate(recipe, made_dataset(home / "data" / "made"), home / "runs" / "cv", device="cpu")
    for run in found.runs:
        _vary(run)
    return home


def moved(home: Path, to: Path) -> Path:
    """A copy of such a folder, whose runs know where their dataset is now."""
    shutil.copytree(home, to)
    for path in [to / "runs" / "cv" / "cross-validation.json", *to.glob("runs/cv/*/run.json")]:
        card = json.loads(path.read_text())
        card["dataset"]["path"] = str(to / "data" / "made")
        path.write_text(json.dumps(card))
    return to


def _vary(run: Run) -> None:
    """Put a model in the run that answers now this, now that, which one that was trained for a moment does not."""
    model = made_model()
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    torch.manual_seed(run.fold)
    torch.nn.init.normal_(last.weight, std=10)
    torch.nn.init.zeros_(last.bias)
    model.save_pretrained(run.path)
    shares = run_inference(run, split="all", session=Session("cpu", allow_seen=True)).probabilities
    last.bias.data = -torch.tensor(np.log(shares).mean(axis=0), dtype=torch.float32)
    model.save_pretrained(run.path)
