"""Made work for a benchmark's workers: each cell's recipe says what becomes of it, and a folder notes that it began."""

import os
import signal
from pathlib import Path

from fer_cli.benchmark.cells import Cell, CellResult
from fer_cli.errors import DiskFullError, TrainingError
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


def begun(folder: Path) -> list[str]:
    """The recipes that were begun, in order."""
    return [line.split()[0] for line in (folder / "begun").read_text().splitlines()]
