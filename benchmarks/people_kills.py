"""Whether a prediction with a people store that is killed at a random moment ends, typed again, as if it had not been.

    python -m benchmarks.people_kills [--kills 20] [--seed 0] [--pictures 120] [MODEL …]

An album is stored first. A second one, of which half shows the same people, is predicted once undisturbed, then again
and again from that state: killed (SIGKILL) at a moment drawn evenly over the undisturbed duration, and the line typed
again with --resume. After the kill the store is opened, and has to hold all that had been reported; after the end its
every row, the table of predictions and the album's page are compared with the undisturbed ones. Pictures are noise, and
the models small ones that nobody trained. Prints a line a kill and a table; exits with 1 if anything differs. Works on
systems that have fork.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", COLUMNS="160")

import argparse
import importlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.kills import start, wait
from fer_cli.prediction.people.store import PeopleStore
from fer_cli.prediction.pipeline import FaceExtractor, to_tensor
from fer_cli.prediction.predictor import open_model
from tests.prediction.made import made_pictures
from tests.prediction.runs import write_run

# What a prediction imports on its way is imported once, here, and not by every process that is killed.
for module in ("checkpoint", "neutral", "people", "predictor", "run"):
    importlib.import_module(f"fer_cli.prediction.{module}")

CLASSES = ("neutral", "anger", "happiness", "surprise")
MODELS = ("single", "paired")
#: The distance within which the models' encoders take noise for some thirty people, with several pictures each.
NEAR = "0.005"
#: The line of the album's people, told when they are stored.
REPORTED = re.compile(r"people +people: \d+ people in (\d+) faces")


def line(model: str, album: str, *words: str) -> list[str]:
    """A prediction on an album, as it is typed."""
    options = ["--detector", "none", "--device", "cpu", "--runtime", "torch", "--identity-threshold", NEAR]
    return ["predict", album, "--run", f"runs/{model}", "--people", "people", *options, *words]


def balance(run: Path, pictures: list[Path]) -> None:
    """Give the model in ``run`` a bias with which each class is as probable as the others, so that all are named."""
    classifier = open_model(run, device="cpu", runtime="torch").classifier
    extract = FaceExtractor.of(classifier.preprocessing.face_crop, "none", None)
    crops = to_tensor([extract.largest(path) for path in pictures])
    neutral = {"neutral_embeddings": classifier.embed(crops) * 0} if classifier.paired else {}
    tensors = load_file(run / "model.safetensors")
    last = max(name for name in tensors if name.startswith("head.") and name.endswith(".bias"))
    tensors[last] -= torch.from_numpy(np.log(classifier.probabilities(crops, **neutral).mean(axis=0)))
    save_file(tensors, run / "model.safetensors", {"format": "pt"})


def outcome() -> dict[str, object]:
    """The tables of predictions, the page, and every row of the store."""
    files = {name: Path(name).read_bytes() for name in ("second.csv", "second.html") if Path(name).is_file()}
    left = sorted(path.name for path in Path().glob(".second*"))
    return {**files, "left over": left, **store()}


def store() -> dict[str, list[tuple]]:
    """The rows of each table of the store, which is opened as fer does."""
    with PeopleStore.open(Path("people")) as opened:
        tables = ("meta", "people", "faces", "albums", "pictures")
        return {name: sorted(opened.rows(f"SELECT * FROM {name}"), key=repr) for name in tables}


def fresh(state: Path) -> None:
    """Make this folder what it was after the first album."""
    for path in Path().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(state, ".", dirs_exist_ok=True)


def reached() -> str:
    """How far the prediction in this folder has come."""
    if Path("second.csv").is_file():
        return "after the rows"
    parts = [path for path in Path().glob(".second.csv.unfinished/part-*") if path.stat().st_size]
    if parts:
        return "predicting"
    return "finding people" if Path(".second.csv.unfinished/inputs.jsonl").is_file() else "start"


def check_reported(before: dict[str, list[tuple]]) -> list[str]:
    """What the store lacks of the first album, or of what the killed process had reported."""
    found, lacking = store(), []
    for name in ("people", "faces"):
        keys = {row[0] for row in found[name]}
        lacking += [name] if {row[0] for row in before[name]} - keys else []
    told = REPORTED.search(Path("said.txt").read_text())
    if told and len(found["faces"]) < len(before["faces"]) + int(told[1]) // 2:
        lacking.append("reported faces")
    return lacking


def main() -> None:
    """Kill and compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"Of {', '.join(MODELS)}; both if none is named.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=120)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    home = Path(tempfile.mkdtemp(prefix="fer-kills-"))
    table, begun = [], time.monotonic()
    for model in asked.models or MODELS:
        state, here = home / f"{model}-state", home / f"{model}-here"
        state.mkdir()
        os.chdir(state)
        write_run(Path("runs/single"), features="target", classes=CLASSES)
        write_run(Path("runs/paired"), features="both")
        pictures = made_pictures(Path("second"), asked.pictures)
        for each in MODELS:
            # The single model finds the neutral pictures for the paired one.
            balance(Path("runs", each), pictures)
        Path("first").mkdir()
        for path in pictures[: asked.pictures // 2]:
            shutil.copyfile(path, Path("first", path.name))
        assert wait(start(line(model, "first", "--out", "first.csv"))) == 0, Path("said.txt").read_text()
        Path("said.txt").unlink()
        before = store()
        here.mkdir()
        os.chdir(here)
        words = line(model, "second", "--out", "second.csv", "--report", "second.html", "--resume")
        fresh(state)
        now = time.monotonic()
        assert wait(start(words)) == 0, Path("said.txt").read_text()
        duration, whole = time.monotonic() - now, outcome()
        at, same = Counter(), Counter()
        while at.total() < asked.kills:
            fresh(state)
            moment = chance.uniform(0, duration)
            child = start(words)
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
            if wait(child) != -signal.SIGKILL:
                continue
            at[place := reached()] += 1
            lacking = check_reported(before)
            finished = Path("second.csv").is_file() and not Path(".second.csv.unfinished").is_dir()
            code = 0 if finished else wait(start(words))
            after = outcome()
            different = sorted(name for name in whole.keys() | after.keys() if whole.get(name) != after.get(name))
            when = f"{moment:6.2f} of {duration:.2f} s"
            found = f"lacks {lacking or 'nothing'}  exit {code}  {different or 'equal'}"
            print(f"{model:<8}{when}  {place:<16}{found}", flush=True)
            same["nothing reported lost"] += not lacking
            same["rows"] += "second.csv" not in different and not code
            same["all"] += not different and not code
        people = len(whole["people"])
        facts = f"{people} people, {len(whole['faces'])} faces, {len(whole['pictures'])} pictures"
        table.append((model, asked.kills, facts, dict(same), dict(at)))
    print(f"\nmodel, kills, the store, equal after the same line, killed in; {time.monotonic() - begun:.0f} s")
    for row in table:
        print(*row, sep="  ")
    os.chdir("/")
    shutil.rmtree(home)
    sys.exit(any(same["all"] != kills for _, kills, _, same, _ in table))


if __name__ == "__main__":
    main()
