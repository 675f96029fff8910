"""``--recipe`` and ``--config``: settings that stand below the flags that a person types."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, NotRequired, TypedDict, get_type_hints

import typer

from fer_cli.documents import check_document, read_document
from fer_cli.errors import FerError, RunError, UsageError
from fer_cli.files import read_bytes
from fer_cli.training.recipes.base import Recipe

#: Settings of a configuration file that are not the recipe's own, with their types.
SHARED = {"data": str, "device": str, "cv": bool}


class _Named(TypedDict):
    path: str


class StoredTraining(TypedDict):
    """What is read of the ``run.json`` or ``cross-validation.json`` of a training that is repeated."""

    model: str
    recipe: dict[str, Any]
    dataset: _Named
    # Only the record of a cross-validation lists folds.
    folds: NotRequired[list[str]]


def defaults_from_recipe(context: typer.Context, kind: type[Recipe], name: str | None) -> None:
    """Put the published settings called ``name`` under what the file of ``--config`` and the flags say."""
    if name is None:
        return
    if name not in kind.published:
        hint = f"Type {' or '.join(kind.published)}, or leave --recipe out for our own."
        raise UsageError(f"--recipe {name}: {kind.name} has no such recipe.", hint=hint)
    published = {field.name: field.default for field in dataclasses.fields(kind.published[name])}
    context.default_map = {**published, **(context.default_map or {})}


def defaults_from_file(context: typer.Context, kind: type[Recipe], path: Path | None) -> None:
    """Put the settings of a TOML file, or of a training's record, under the flags.

    Raises :class:`~fer_cli.errors.UsageError` if it cannot be read or has settings that this model has not.
    """
    if path is None:
        return
    settings = _from_run(path, kind) if path.suffix == ".json" else _from_toml(path)
    settings = {name.replace("-", "_"): value for name, value in settings.items()}
    types = _types(kind)
    strange = sorted(set(settings).difference(types, {"recipe"}))
    if strange:
        raise UsageError(
            f"{path} sets {', '.join(strange)}, which fer train {kind.name} does not have.",
            hint=f"Its settings are the flags of fer train {kind.name} --help, recipe, data and device.",
        )
    _check(settings, {**types, "recipe": str}, UsageError, f"--config {path}")
    defaults_from_recipe(context, kind, settings.pop("recipe", None))
    context.default_map = {**(context.default_map or {}), **settings}


def _types(kind: type[Recipe]) -> dict[str, Any]:
    """The types of all settings of ``fer train`` for a model, by name."""
    hints = get_type_hints(kind)
    return {**{field.name: hints[field.name] for field in dataclasses.fields(kind)}, **SHARED}


def _check(settings: dict[str, Any], types: dict[str, Any], error: type[FerError], where: str) -> None:
    for name, value in settings.items():
        try:
            check_document(value, types[name])
        except ValueError as cause:
            raise error(f"{where}: --{name.replace('_', '-')}: {cause}.") from cause


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"--config {path} is not TOML: {error}.", hint="A line is, for example: epochs = 20"
        ) from error


def _from_run(path: Path, kind: type[Recipe]) -> dict[str, Any]:
    card = read_document(path, StoredTraining, UsageError)
    if card["model"] != kind.name:
        raise UsageError(f"{path} is of {card['model']}.", hint=f"Type fer train {card['model']} --config {path}.")
    settings = {name: value for name, value in card["recipe"].items() if value is not None}
    return {**settings, "data": card["dataset"]["path"], "cv": "folds" in card}


def defaults_from_unfinished(context: typer.Context, kind: type[Recipe], folder: Path) -> None:
    """Take over the settings of the unfinished training in ``folder``, so that they need not be typed again."""
    from fer_cli.training.folder import interrupted

    identity = interrupted(folder)
    settings = {name: value for name, value in identity["recipe"].items() if value is not None}
    types = _types(kind)
    settings = {name: value for name, value in settings.items() if name in types}
    _check(settings, types, RunError, f"{folder} is not what fer wrote")
    context.default_map = {
        **settings,
        "data": identity["path"],
        "cv": identity["cross_validation"],
    }
