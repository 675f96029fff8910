"""A training as a person asks for it: one fold or all, one recipe or several to compare."""

from collections.abc import Callable
from pathlib import Path

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.distributed import is_main_process, main_process_first, own_device
from fer_cli.files import locked, read_json, write_json
from fer_cli.models.device import choose_device
from fer_cli.progress import Progress, silent
from fer_cli.runs.cross_validation import CrossValidation, open_any
from fer_cli.runs.run import COMPARISON, UNFINISHED, VERSION, Run
from fer_cli.training.claim import claimed, identity_of
from fer_cli.training.cross_validation import cross_validate
from fer_cli.training.fit import already_trained, fit
from fer_cli.training.recipe import Recipe


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
    with claimed(out, identity_of(recipe, dataset, folds=cross_validation), chosen):
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
    """What :func:`train` finished in ``out``, as it gave it."""
    already_trained(out)
    if not (out / COMPARISON).is_file():
        return {"": open_any(out)}
    return {name: open_any(out / name) for name in read_json(out / COMPARISON)["variants"]}
