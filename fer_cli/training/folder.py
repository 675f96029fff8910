"""A training's folder: reserved for it, so that an interrupted one is resumed and nothing else is overwritten."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.distributed import is_main_process, main_process_first
from fer_cli.documents import check_document, read_document
from fer_cli.errors import FerError, RunError
from fer_cli.files import read_json, remove_abandoned, write_json
from fer_cli.runs.run import CARD, COMPARISON, CROSS_VALIDATION, EVALUATION, REPORT, UNFINISHED
from fer_cli.training.recipes.base import Recipe

#: Raised when checkpoints written before can no longer be continued: 2 divides the parameters into groups by decay.
FORMAT = 2


class StoredTraining(TypedDict):
    """The fields of ``unfinished.json`` that are read."""

    version: NotRequired[int]
    model: str
    recipe: dict[str, Any]
    dataset: str
    path: str
    cross_validation: bool
    extra_data: NotRequired[list[str]]


def identity_of(recipe: Recipe, dataset: PreparedDataset, *, folds: bool = False) -> dict[str, Any]:
    """All that decides what the trained weights are; ``folds`` where every fold is trained."""
    if folds:
        recipe = dataclasses.replace(recipe, fold=0)
    extra = [PreparedDataset.open(Path(path)).fingerprint for path in recipe.extra_data]
    return {
        **({"extra_data": extra} if extra else {}),
        "version": FORMAT,
        "model": recipe.name,
        "recipe": recipe.to_dict(),
        "dataset": dataset.fingerprint,
        "path": str(dataset.path.resolve()),
        "cross_validation": folds,
    }


def will_resume(identity: dict[str, Any], out: Path) -> bool:
    """Whether ``out`` holds an interrupted training of this ``identity``, which would be resumed."""
    return _same(interrupted(out), identity)


def finished(out: Path) -> bool:
    """Whether ``out`` holds a finished training of any kind."""
    return any((out / card).is_file() for card in (CARD, CROSS_VALIDATION, COMPARISON))


def interrupted(out: Path) -> dict[str, Any] | None:
    """The identity of the training in ``out``, if it is unfinished or its closing evaluation is."""
    if finished(out):
        return None if _evaluated(out) else _identity_in(out)
    try:
        return read_document(out / UNFINISHED, StoredTraining, RunError)
    except RunError:
        return None


def is_free(out: Path) -> bool:
    """Whether ``out`` is not there or an empty folder, once what killed processes left in it is removed."""
    if not out.exists():
        return True
    remove_abandoned(out)
    return out.is_dir() and not any(out.iterdir())


def _identity_in(out: Path) -> dict[str, Any] | None:
    for name in (COMPARISON, CROSS_VALIDATION, CARD):
        try:
            card = read_json(out / name)
            extra = [each["fingerprint"] for each in card.get("extra_data", [])]
            identity = {
                **({"extra_data": extra} if extra else {}),
                "version": FORMAT,
                "model": card["model"],
                "recipe": card["recipe"],
                "dataset": card["dataset"]["fingerprint"],
                "path": card["dataset"]["path"],
                "cross_validation": card.get("cross_validation", name == CROSS_VALIDATION),
            }
            check_document(identity, StoredTraining)
            return identity
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def _evaluated(out: Path) -> bool:
    if not (out / COMPARISON).is_file():
        return (out / EVALUATION / REPORT).is_file()
    try:
        return all((out / name / EVALUATION / REPORT).is_file() for name in read_json(out / COMPARISON)["variants"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def reserved(out: Path, identity: dict[str, Any], device: torch.device) -> Iterator[None]:
    """Reserve the folder ``out`` for a training; an error that a person must correct leaves no new folder behind."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    main_process_first(lambda: reserve(out, identity) if is_main_process() else None, device)
    try:
        yield
    except FerError:
        if out in new and is_main_process():
            (out / UNFINISHED).unlink(missing_ok=True)
            for folder in new:
                with suppress(OSError):
                    folder.rmdir()
            if out.exists():
                # A part is trained already, which is not lost.
                write_json(out / UNFINISHED, identity)
        raise


def reserve(out: Path, identity: dict[str, Any]) -> None:
    """Make sure that ``out`` is new, empty, or an unfinished training with the same ``identity``."""
    if finished(out):
        raise RunError(f"{out} holds a finished run.", hint="Type --out FOLDER with the name of a new folder.")
    free = is_free(out)
    if will_resume(identity, out):
        return
    if not free:
        what = "an unfinished training with other settings" if (out / UNFINISHED).is_file() else "something else"
        raise RunError(
            f"{out} is in the way: it holds {what}.", hint="Type --out FOLDER with the name of a new folder."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / UNFINISHED, identity)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error


def _same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    return one is not None and _decisive(one) == _decisive(other)


def _decisive(identity: dict[str, Any]) -> dict[str, Any]:
    """The part of an ``identity`` that decides what is trained.

    Where the dataset is and who loads it do not; of the batch only the product that a step sees does, so that a
    training for which a GPU had no memory goes on in smaller batches.
    """
    recipe = {name: value for name, value in identity.get("recipe", {}).items() if name != "workers"}
    with suppress(KeyError, TypeError):
        recipe["batch_size"] *= recipe.pop("accumulate")
    return {**identity, "path": "", "recipe": recipe}
