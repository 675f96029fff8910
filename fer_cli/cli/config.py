"""``--recipe`` and ``--config``: settings that stand below the flags that a person types."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import typer

from fer_cli.errors import UsageError
from fer_cli.training.recipe import Recipe

#: Settings of a configuration file that are not the recipe's own.
BESIDE = ("data", "device", "cv")


def defaults_from_recipe(context: typer.Context, kind: type[Recipe], name: str | None) -> None:
    """Put the published settings called ``name`` under what the file of ``--config`` and the flags say."""
    if name is None:
        return
    if name not in kind.published:
        mend = f"Type {' or '.join(kind.published)}, or leave --recipe out for our own."
        raise UsageError(f"--recipe {name}: {kind.name} has no such recipe.", mend=mend)
    published = {field.name: field.default for field in dataclasses.fields(kind.published[name])}
    context.default_map = {**published, **(context.default_map or {})}


def defaults_from_file(context: typer.Context, kind: type[Recipe], path: Path | None) -> None:
    """Put the settings of a TOML file, or of what a training wrote of itself, under the flags.

    Raises :class:`~fer_cli.errors.UsageError` if it cannot be read or has settings that this model has not.
    """
    if path is None:
        return
    told = _from_run(path, kind) if path.suffix == ".json" else _from_toml(path)
    told = {name.replace("-", "_"): value for name, value in told.items()}
    defaults_from_recipe(context, kind, told.pop("recipe", None))
    known = {field.name for field in dataclasses.fields(kind)}.union(BESIDE)
    strange = sorted(set(told).difference(known))
    if strange:
        raise UsageError(
            f"{path} sets {', '.join(strange)}, which fer train {kind.name} does not have.",
            mend=f"Its settings are the flags of fer train {kind.name} --help, recipe, data and device.",
        )
    context.default_map = {**(context.default_map or {}), **told}


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(
            f"--config {path} is not TOML: {error}.", mend="A line is, for example: epochs = 20"
        ) from error


def _from_run(path: Path, kind: type[Recipe]) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        model, recipe, data = card["model"], dict(card["recipe"]), card["dataset"]["path"]
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--config {path} is not what fer train wrote: {error!r}.") from error
    if model != kind.name:
        raise UsageError(f"{path} is of {model}.", mend=f"Type fer train {model} --config {path}.")
    told = {name: value for name, value in recipe.items() if value is not None}
    # Only the record of a cross-validation lists folds.
    return {**told, "data": data, "cv": "folds" in card}


def defaults_from_unfinished(context: typer.Context, kind: type[Recipe], folder: Path) -> None:
    """Take over the settings of the unfinished training in ``folder``, so that they need not be typed again."""
    from fer_cli.training.claim import interrupted

    identity = interrupted(folder)
    settings = {name: value for name, value in identity["recipe"].items() if value is not None}
    known = {field.name for field in dataclasses.fields(kind)}
    context.default_map = {
        **{name: value for name, value in settings.items() if name in known},
        "data": identity["path"],
        "cv": identity["cross_validation"],
    }
