"""What a short line means: the latest dataset, the latest run, a name for a new one."""

from pathlib import Path
from typing import TYPE_CHECKING

from fer_cli.cli.console import say
from fer_cli.errors import DatasetError, RunError

if TYPE_CHECKING:
    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.runs.run import Run
    from fer_cli.training.recipe import Recipe

DATA, RUNS = Path("data"), Path("runs")


def dataset(given: Path | None) -> "PreparedDataset":
    """The dataset at ``given``, or the one prepared last in ``./data``; says which."""
    from fer_cli.dataset.prepared import PreparedDataset, latest_dataset

    path = given or latest_dataset(DATA)
    if path is None:
        raise DatasetError(
            f"There is no prepared dataset in ./{DATA}.",
            mend="Make one with fer prepare (for example: fer prepare synthetic), or type --data FOLDER.",
        )
    opened = PreparedDataset.open(path)
    say(f"dataset   {path}{'' if given else f' (the latest in ./{DATA})'}: {opened.protocol.name}")
    return opened


def run(given: Path | None) -> "Run":
    """The run at ``given``, or the one finished last in ``./runs``; says which."""
    from fer_cli.runs.run import Run, latest_run

    path = given or latest_run(RUNS)
    if path is None:
        raise RunError(
            f"There is no finished run in ./{RUNS}.",
            mend="Make one with fer train (for example: fer train difference), or name a run's folder.",
        )
    opened = Run.open(path)
    say(f"run       {path}{'' if given else f' (the latest in ./{RUNS})'}: {opened.protocol.name}")
    return opened


def new_run(given: Path | None, recipe: "Recipe", data: "PreparedDataset") -> Path:
    """The folder for a new run: ``given``, or one in ``./runs`` named for what is trained; says which.

    A name that is taken gets a number, unless it is taken by this very training, interrupted.
    """
    from fer_cli.training.fit import will_resume

    path = given or RUNS / f"{recipe.name}-{data.name}-fold{recipe.fold}"
    number = 1
    base = path.name
    while given is None and path.exists() and not will_resume(recipe, data, path):
        number += 1
        path = path.with_name(f"{base}-{number}")
    resumed = " (going on where it was interrupted)" if will_resume(recipe, data, path) else ""
    say(f"run       {path}{resumed}")
    return path
