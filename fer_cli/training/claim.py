"""Holding a folder for a training, so that an interrupted one is continued and nothing else is written into."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import FerError, RunError
from fer_cli.files import write_json
from fer_cli.runs.run import CARD, COMPARISON, CROSS_VALIDATION, UNFINISHED
from fer_cli.training.processes import first_then_others, is_first
from fer_cli.training.recipe import Recipe


def identity_of(recipe: Recipe, dataset: PreparedDataset, *, folds: bool = False) -> dict[str, Any]:
    """All that decides what the trained weights are; ``folds`` where every fold is trained."""
    return {
        "model": recipe.name,
        "recipe": recipe.to_dict(),
        "dataset": dataset.fingerprint,
        "path": str(dataset.path.resolve()),
        "cross_validation": folds,
    }


def will_resume(identity: dict[str, Any], out: Path) -> bool:
    """Whether ``out`` holds an unfinished training of this ``identity``, which would be continued."""
    return _same(unfinished(out), identity)


def finished(out: Path) -> bool:
    """Whether ``out`` holds a finished training of any kind."""
    return any((out / card).is_file() for card in (CARD, CROSS_VALIDATION, COMPARISON))


def unfinished(out: Path) -> dict[str, Any] | None:
    """The identity of the unfinished training in ``out``, if there is one."""
    if finished(out):
        return None
    try:
        return json.loads((out / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Keep every other process of this machine from training into ``out`` meanwhile; the first of several holds it.

    The system lets go of it with the process, however that ends. Raises :class:`~fer_cli.errors.RunError` if another
    has it.
    """
    name = hashlib.sha256(str(out.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    lock = FileLock(Path(tempfile.gettempdir()) / f"fer-{os.environ.get('USER', '')}-{name}.lock", timeout=0)
    try:
        with lock if is_first() else nullcontext():
            yield
    except Timeout:
        raise RunError(
            f"Another process is training into {out}.", mend="Wait for it, or type --out FOLDER with another folder."
        ) from None


@contextmanager
def claimed(out: Path, identity: dict[str, Any], device: torch.device) -> Iterator[None]:
    """Hold the folder ``out`` for a training; a block that a person must mend first leaves no new folder behind."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    first_then_others(lambda: claim(out, identity) if is_first() else None, device)
    try:
        yield
    except FerError:
        if out in new and is_first():
            (out / UNFINISHED).unlink(missing_ok=True)
            for folder in new:
                with suppress(OSError):
                    folder.rmdir()
            if out.exists():
                # A part is trained already, which is not lost.
                write_json(out / UNFINISHED, identity)
        raise


def claim(out: Path, identity: dict[str, Any]) -> None:
    """Make sure that ``out`` is new, empty, or an unfinished training with the same ``identity``."""
    if finished(out):
        raise RunError(f"{out} holds a finished run.", mend="Type --out FOLDER with the name of a new folder.")
    if will_resume(identity, out):
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "an unfinished training with other settings" if (out / UNFINISHED).is_file() else "something else"
        raise RunError(
            f"{out} is in the way: it holds {what}.", mend="Type --out FOLDER with the name of a new folder."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / UNFINISHED, identity)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", mend="Type --out FOLDER.") from error


def _same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    # Where the dataset is has no part in what is trained.
    return one is not None and {**one, "path": ""} == {**other, "path": ""}
