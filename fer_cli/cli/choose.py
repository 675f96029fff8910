"""Defaults of a short line: the latest dataset, the latest run, a name for a new one."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fer_cli.cli.console import say
from fer_cli.errors import DatasetError, RunError

if TYPE_CHECKING:
    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.runs.run import CrossValidation, Run
    from fer_cli.training.recipes.base import Recipe

T = TypeVar("T", "Run", "Run | CrossValidation")
DATA, RUNS = Path("data"), Path("runs")


def dataset(given: Path | None) -> "PreparedDataset":
    """The dataset at ``given``, or the one prepared last in ``./data``; says which."""
    from fer_cli.dataset.prepared import PreparedDataset, latest_dataset

    path = given or latest_dataset(DATA)
    if path is None:
        raise DatasetError(
            f"There is no prepared dataset in ./{DATA}.",
            hint="Make one with fer prepare (for example: fer prepare synthetic), or type --data FOLDER.",
        )
    opened = PreparedDataset.open(path)
    say(f"dataset   {path}{'' if given else f' (the latest in ./{DATA})'}: {opened.protocol.name}")
    return opened


def run(given: Path | None) -> "Run | CrossValidation":
    """The run or cross-validation at ``given``, or the one finished last in ``./runs``; says which."""
    from fer_cli.runs.run import open_any

    return _opened(given, open_any, folds=True)


def run_to_use(given: Path | None) -> "Run":
    """The run at ``given``, or the one finished last in ``./runs``; says which."""
    from fer_cli.runs.run import Run

    return _opened(given, Run.open)


def model_to_use(given: Path | None) -> Path:
    """The run to predict with: at ``given``, or finished last in ``./runs``, or else the packaged model; says which."""
    from fer_cli.pretrained import QUICK, packaged_model
    from fer_cli.runs.run import runs_in

    if given is None and not runs_in(RUNS) and packaged_model(QUICK) is not None:
        given = Path(QUICK)
    opened = run_to_use(given)
    return given or opened.path


def _opened(given: Path | None, opener: Callable[[Path], T], *, folds: bool = False) -> T:
    from fer_cli.pretrained import is_packaged, require_packaged
    from fer_cli.runs.run import runs_in

    if is_packaged(given):
        packaged: Any = opener(require_packaged(given))
        say(f"model     {packaged.about}; trained on {packaged.protocol.name}")
        return packaged
    path = given or next(iter(runs_in(RUNS, folds=folds)), None)
    if path is None:
        raise RunError(
            f"There is no finished run in ./{RUNS}.",
            hint="Make one with fer train (for example: fer train difference), or name a run's folder.",
        )
    with naming_runs():
        opened = opener(path)
    say(f"run       {path}{'' if given else f' (the latest in ./{RUNS})'}: {opened.protocol.name}")
    return opened


@contextmanager
def naming_runs() -> Iterator[None]:
    """Give an error about a run that is not there the names of those in ``./runs``."""
    from fer_cli.runs.run import runs_in

    try:
        yield
    except RunError as error:
        if error.hint:
            raise
        there = [str(path) for path in runs_in(RUNS, folds=True)]
        more = f" and {len(there) - 5} more" if len(there) > 5 else ""
        found = f"The runs in ./{RUNS} are {', '.join(there[:5])}{more}." if there else ""
        raise RunError(
            error.message, hint=found or f"There is no finished run in ./{RUNS} either: fer train makes one."
        ) from error


def require_folders(paths: Iterable[Path]) -> None:
    """Raises :class:`~fer_cli.errors.RunError` where one of the paths is not there."""
    for path in paths:
        if not path.exists():
            raise RunError(f"There is no folder {path}.")


def output_of_packaged(given: Path | None, *names: str) -> Path | None:
    """Where what is made from a packaged model goes if nobody says: into ``./runs/faces``, say; None for other runs."""
    from fer_cli.pretrained import is_packaged

    return RUNS.joinpath(str(given), *names) if is_packaged(given) else None


def new_run(given: Path | None, recipe: "Recipe", data: "PreparedDataset", *, folds: bool = False) -> tuple[Path, bool]:
    """The folder for a new run: ``given``, or one in ``./runs`` named for what is trained; says which.

    A name that is taken gets a number, unless it is taken by this very training, interrupted. And whether that is
    trained already, so that only its evaluation is to be finished.
    """
    from fer_cli.training.folder import finished, identity_of, is_free, will_resume

    identity = identity_of(recipe, data, folds=folds)
    path = given or RUNS / f"{recipe.title}-{data.name}-{'cv' if folds else f'fold{recipe.fold}'}"
    number = 1
    base = path.name
    while given is None and not is_free(path) and not will_resume(identity, path):
        number += 1
        path = path.with_name(f"{base}-{number}")
    resumed = will_resume(identity, path)
    say(f"run       {path}{' (going on where it was interrupted)' if resumed else ''}")
    return path, resumed and finished(path)


def unfinished_run(given: Path | None, model: str) -> Path:
    """The interrupted training of ``model`` at ``given``, or the latest in ``./runs``."""
    from fer_cli.training.folder import interrupted

    folders = [given] if given else sorted(RUNS.glob("*/"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders:
        if (interrupted(folder) or {}).get("model") == model:
            return folder
    raise RunError(
        f"There is no unfinished training of {model} in {given or f'./{RUNS}'}.",
        hint="Leave --resume out to begin one, or type --out FOLDER with where it is.",
    )


def resolved(recipe: "Recipe", data: "PreparedDataset") -> "Recipe":
    """The recipe with ``auto`` replaced by what it comes to here; says what that is, and why.

    And where the run that it starts from saw crops with another margin than those of ``data``.
    """
    found = recipe.resolved()
    for name in ("encoder", "identity"):
        value = getattr(found, name, None)
        if value != getattr(recipe, name, None):
            say(f"{name:<9} {value}{_WHY.get((name, value), '')} (auto)")
    from fer_cli.models.preprocessing import FILE, Preprocessing
    from fer_cli.pretrained import NAMES, packaged_model

    packaged = {packaged_model(name): name for name in NAMES}
    for source in found.ancestors({}):
        seen = Preprocessing.load(source).face_crop.get("margin") if (source / FILE).is_file() else None
        if seen not in (None, data.crop["margin"]):
            weights = packaged.get(source, source)
            say(
                f"margin    {data.crop['margin']}; {weights} was trained on crops with {seen}: "
                f"fer prepare … --margin {seen} makes them alike"
            )
    return found


_WHY: dict[tuple[str, Any], str] = {
    ("encoder", "faces"): ": the packaged model's",
    ("encoder", "imagenet"): ": the weights published with the network",
    ("identity", "subjects"): ": trained on the people at hand, for VGGFace2's weights are not imported",
    ("identity", "vggface2"): ": the imported weights",
}


def stage_1(recipe: "Recipe", data: "PreparedDataset", *, folds: bool) -> "Recipe":
    """The recipe with the run of stage 1 that it needs and does not name: the latest in ``./runs`` on these data."""
    # ImageNet is where the note's stage 1 begins, whose settings may be asked for.
    if getattr(recipe, "stage", None) != 2 or getattr(recipe, "encoder", None) not in (None, "auto", "imagenet"):
        return recipe
    from fer_cli.runs.run import CARD, CROSS_VALIDATION, CrossValidation, Run

    cards = sorted(RUNS.glob(f"*/{CROSS_VALIDATION if folds else CARD}"), key=lambda card: -card.stat().st_mtime)
    for path in cards:
        try:
            card = (CrossValidation if folds else Run).open(path.parent).card
        except RunError:
            continue
        same = card["dataset"]["fingerprint"] == data.fingerprint and (folds or card["fold"] == recipe.fold)
        if card["model"] == recipe.name and card["recipe"].get("stage") == 1 and same:
            say(f"stage 1   {path.parent} (the latest in ./{RUNS})")
            found: dict[str, Any] = {"encoder": str(path.parent)}
            return dataclasses.replace(recipe, **found)
    where = "every fold" if folds else f"fold {recipe.fold}"
    raise RunError(
        f"There is no run of stage 1 in ./{RUNS} on {data.path}, {where}.",
        hint="Type fer train disentangled --stage 1 first, or --encoder RUN, or leave --stage out for both.",
    )
