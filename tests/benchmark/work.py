"""Made work for a benchmark's workers: each cell's recipe says what becomes of it, and a folder notes that it began."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from random import Random

from fer_cli.benchmark.cells import VERSION, Cell, CellResult
from fer_cli.errors import DiskFullError, TrainingError
from fer_cli.files import write_json, write_text
from fer_cli.options import Session


def cell(recipe: str, **changes) -> Cell:
    """A cell of the dataset ``acted``."""
    return Cell(recipe, **{"evaluation": "within", "train": ("acted",), "test": "acted", **changes})


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


def compute(folder: Path, cell: Cell, session: Session) -> CellResult:
    """Note in ``folder`` that ``cell`` was begun, and do what its recipe is called."""
    with (folder / "begun").open("a") as begun:
        begun.write(f"{cell.recipe} {cell.neutral} {os.getpid()}\n")
    if cell.recipe == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.recipe == "exits":
        os._exit(7)
    if cell.recipe == "diverges":
        raise TrainingError("The loss is not a finite number.", hint="Type a smaller --lr.")
    if cell.recipe == "fault":
        raise ValueError("a fault\nof the program")
    if cell.recipe == "memory":
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
    if cell.recipe == "disk":
        raise DiskFullError.at("/somewhere")
    if cell.recipe == "reports":
        session.progress("fold 1", 3, 10)
    facts = {"device": session.device, "threads": os.environ.get("OMP_NUM_THREADS"), "process": os.getpid()}
    return CellResult(cell, "done", ({"status": "done", **facts},), seconds=1.0)


def evaluate(specification, out: Path, cell: Cell, session: Session) -> CellResult:
    """Store random predictions as the result of ``cell``; a file ``fail-RECIPE`` in the benchmark's folder fails it.

    Where there is a file ``kill``, the fourth cell kills the process that runs the benchmark.
    """
    compute(out, replace(cell, recipe=f"{cell.recipe}-{cell.digest}"), session)
    if (out / f"fail-{cell.recipe}").exists():
        raise TrainingError("made to fail")
    if (out / "kill").exists() and len(begun(out)) == 4:
        os.kill(os.getppid(), signal.SIGKILL)
    random = Random(cell.digest)
    classes = ("anger", "happiness", "surprise")
    lines, right = ["file_name,subject,fold,label,predicted"], 0
    for place in range(12):
        for label in classes:
            predicted = random.choice(classes)
            right += predicted == label
            lines.append(f"P{place:02d}-{label},P{place:02d},{place % 3},{label},{predicted}")
    values = {}
    for name in ("accuracy", "unweighted_average_recall", "macro_f1"):
        values |= {name: right / 36, f"{name}_low": right / 36 - 0.1, f"{name}_high": right / 36 + 0.1}
    row = {"status": "done", "n": 36, "subjects": 12, "chance": 1 / 3, "classes": ",".join(classes), **values}
    folder = out / "cells" / cell.digest
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "predictions.csv", "\n".join(lines) + "\n")
    # As fer_cli.benchmark.evaluations stores it, which takes seconds to import.
    card = {"version": VERSION, "digest": cell.digest, "status": "done", "rows": [row], "reason": "", "seconds": 2.0}
    write_json(folder / "cell.json", card)
    return CellResult(cell, "done", (row,), folder / "predictions.csv", seconds=2.0)


def begun(folder: Path) -> list[str]:
    """The recipes that were begun, in order."""
    return [line.split()[0] for line in (folder / "begun").read_text().splitlines()]
