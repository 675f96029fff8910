"""Flags made from the fields of a settings dataclass, and the files of settings that stand below them.

A setting is declared once, in the library, with its type, its default, a :class:`annotated_doc.Doc`, its bounds and its
:class:`~fer_cli.options.Panel`; here it becomes an option with that text as its help, in that panel.
"""

import dataclasses
import inspect
import tomllib
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, get_args, get_origin, get_type_hints

import typer
from annotated_doc import Doc

from fer_cli.documents import check_document, read_document
from fer_cli.errors import FerError, RunError, UsageError
from fer_cli.files import read_bytes
from fer_cli.options import Panel, bounds, check_bounds, flag
from fer_cli.training.recipes.base import Recipe


def with_settings(**types: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace each named parameter of a command by the fields of its settings dataclass, as options.

    ``with_settings(recipe=DifferenceRecipe)`` gives ``command(recipe, …)`` the options ``--epochs`` and so on, and
    calls it with the recipe that they come to.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name in types:
                parameters += _options(types[parameter.name])
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @wraps(command)
        def run(**values: Any) -> Any:
            made = {name: _instance(kind, values) for name, kind in types.items()}
            return command(**values, **made)

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__
        return run

    return decorate


@cache
def _options(kind: type) -> list[inspect.Parameter]:
    hints, limits = get_type_hints(kind, include_extras=True), bounds(kind)
    # A model's or corpus's own options come before those that more have, and last come those that all have.
    order = [name for base in kind.__mro__ for name in inspect.get_annotations(base)]
    fields = sorted(dataclasses.fields(kind), key=lambda field: order.index(field.name))
    return [_option(field, hints[field.name], limits.get(field.name, [])) for field in fields if field.init]


def _option(field: dataclasses.Field[Any], hint: Any, limits: list[Any]) -> inspect.Parameter:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"the setting {field.name} has no Doc")
    value_type, *extras = get_args(hint)
    default: Any = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    # What is on unless told otherwise needs a way to be told.
    negation = f"/--no-{flag(field.name)[2:]}" if default is True else ""
    if get_origin(value_type) is tuple:
        value_type, default = list.__class_getitem__(get_args(value_type)[0]), list(default)
    # A bound is refused by check_bounds, which names the value; what Typer says of its own min and max does not.
    option = typer.Option(
        flag(field.name) + negation,
        help=next(extra.documentation for extra in extras if isinstance(extra, Doc)),
        show_default=default not in (None, []),
        metavar=_range(limits) if isinstance(default, float) else None,
        rich_help_panel=next((extra.title for extra in extras if isinstance(extra, Panel)), None),
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[value_type, option]
    )


def _range(limits: list[Any]) -> str | None:
    """``0..1``, if the bounds have two ends."""
    ends = sorted(end for each in limits for end in dataclasses.astuple(each))
    return f"{ends[0]:g}..{ends[1]:g}" if len(ends) == 2 else None


def _instance(kind: type, values: dict[str, Any]) -> Any:
    chosen = {field.name: values.pop(field.name) for field in dataclasses.fields(kind) if field.init}
    made = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})
    check_bounds(made)
    return made


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
    earlier = {name: value for name, value in kind.earlier.items() if name not in card["recipe"]}
    return {**earlier, **settings, "data": card["dataset"]["path"], "cv": "folds" in card}


def defaults_from_unfinished(context: typer.Context, kind: type[Recipe], folder: Path) -> None:
    """Take over the settings of the unfinished training in ``folder``, so that they need not be typed again."""
    from fer_cli.training.folder import interrupted

    identity = interrupted(folder)
    if identity is None:
        return
    settings = {name: value for name, value in identity["recipe"].items() if value is not None}
    types = _types(kind)
    settings = {name: value for name, value in settings.items() if name in types}
    _check(settings, types, RunError, f"{folder} is not what fer wrote")
    context.default_map = {
        **settings,
        "data": identity["path"],
        "cv": identity["cross_validation"],
    }


Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, mps or xpu.", rich_help_panel="Compute")]
AllowSeen = Annotated[
    bool,
    typer.Option(
        "--allow-seen-subjects",
        help="Test even on subjects that the model was trained on.",
        rich_help_panel="Data",
    ),
]
