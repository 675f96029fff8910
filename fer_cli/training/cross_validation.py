"""Training every fold in turn, each in a run of its own."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.distributed import is_main_process, main_process_first, own_device
from fer_cli.errors import DatasetError
from fer_cli.files import locked, read_json, write_json
from fer_cli.models.device import choose_device
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import COMPARISON, CROSS_VALIDATION, UNFINISHED, VERSION, CrossValidation, Run, open_any
from fer_cli.training.fit import already_trained, fit
from fer_cli.training.folder import identity_of, reserved
from fer_cli.training.recipes.base import Recipe
from fer_cli.training.samples import open_extra, seen_subjects


def cross_validate(
    recipe: Recipe,
    dataset: PreparedDataset,
    out: Path,
    *,
    device: str = "auto",
    allow_seen: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> CrossValidation:
    """Train ``recipe`` with every fold of ``dataset`` held out in turn, into ``out``/fold0, fold1 and so on.

    Everything that a fold's training needs is trained within it, so that nothing in it has seen its test subjects. An
    interrupted cross-validation is continued by the same call. Raises as :func:`~fer_cli.training.fit.fit` does, and
    :class:`~fer_cli.errors.DatasetError` if the dataset has no folds.
    """
    recipe, folds = recipe.resolved(), dataset.protocol.folds
    if not folds:
        raise DatasetError(
            f"{dataset.path} has no folds, for its corpus does not say who is shown.", hint="Leave --cv out."
        )
    recipes = [dataclasses.replace(recipe, fold=fold) for fold in range(folds)]
    chosen = own_device(choose_device(device))
    with reserved(out, identity_of(recipes[0], dataset, folds=True), chosen):
        # A run to start from that knows some fold's subjects is refused before hours have gone into the others.
        for each in recipes:
            sides = each.sides(dataset)
            extra = open_extra(each, dataset, each.classes(dataset, sides))
            seen_subjects(each, dataset, sides, {}, extra, allow_seen=allow_seen)
        for each in recipes:
            folder = out / f"fold{each.fold}"
            if not already_trained(folder):
                fit(
                    each,
                    dataset,
                    folder,
                    device=device,
                    allow_seen=allow_seen,
                    command=command,
                    progress=_named(f"fold {each.fold + 1}/{folds}", progress),
                )
    if is_main_process():
        write_json(
            out / CROSS_VALIDATION,
            {
                "version": VERSION,
                "model": recipe.name,
                "command": command,
                "recipe": recipes[0].to_dict(),
                "dataset": {"path": str(dataset.path.resolve()), "fingerprint": dataset.fingerprint},
                "protocol": dataset.protocol.to_dict(),
                "folds": [f"fold{each.fold}" for each in recipes],
            },
        )
        (out / UNFINISHED).unlink(missing_ok=True)
    main_process_first(lambda: None, chosen)
    return CrossValidation.open(out)


def _named(name: str, progress: Progress) -> Progress:
    def passed_on(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        progress(f"{name} {stage}", done, total, **facts)

    return passed_on


def train(
    recipe: Recipe,
    dataset: PreparedDataset,
    out: Path,
    *,
    cross_validation: bool = False,
    device: str = "auto",
    allow_seen: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> dict[str, Run | CrossValidation]:
    """Train every variant of ``recipe``, on its fold or on all, and give what came of each by its name.

    A recipe of one variant, whose name is empty, goes to ``out`` itself; of several, each goes to a folder inside, on
    the same folds. Raises as :func:`~fer_cli.training.fit.fit` does, and :class:`~fer_cli.errors.FerError` if another
    process is training into ``out``.
    """
    work = cross_validate if cross_validation else fit
    recipe = recipe.resolved()

    def one(variant: Recipe, folder: Path) -> Run | CrossValidation:
        return work(variant, dataset, folder, device=device, allow_seen=allow_seen, command=command, progress=progress)

    with locked(out, "training into"):
        return _train(recipe, dataset, out, one, cross_validation=cross_validation, device=device, command=command)


def _train(
    recipe: Recipe,
    dataset: PreparedDataset,
    out: Path,
    one: Callable[[Recipe, Path], Run | CrossValidation],
    *,
    cross_validation: bool,
    device: str,
    command: str,
) -> dict[str, Run | CrossValidation]:
    variants = recipe.variants()
    if len(variants) == 1:
        return {"": one(recipe, out)}
    trained = {}
    chosen = own_device(choose_device(device))
    with reserved(out, identity_of(recipe, dataset, folds=cross_validation), chosen):
        for name, variant in variants.items():
            folder = out / name
            trained[name] = open_any(folder) if already_trained(folder) else one(variant, folder)
    if is_main_process():
        write_json(
            out / COMPARISON,
            {
                "version": VERSION,
                "model": recipe.name,
                "command": command,
                "recipe": recipe.to_dict(),
                "dataset": {"path": str(dataset.path.resolve()), "fingerprint": dataset.fingerprint},
                "cross_validation": cross_validation,
                "variants": list(variants),
            },
        )
        (out / UNFINISHED).unlink(missing_ok=True)
    main_process_first(lambda: None, chosen)
    return trained


def open_trained(out: Path) -> dict[str, Run | CrossValidation]:
    """The runs or cross-validations that :func:`train` finished in ``out``, by name."""
    already_trained(out)
    if not (out / COMPARISON).is_file():
        return {"": open_any(out)}
    return {name: open_any(out / name) for name in read_json(out / COMPARISON)["variants"]}
