"""Flags made from the fields of a settings dataclass.

A setting is declared once, in the library, with its type, its default, a :class:`annotated_doc.Doc`, its bounds and its
:class:`~fer_cli.options.Panel`; here it becomes an option with that text as its help, in that panel.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from annotated_doc import Doc

from fer_cli.options import Panel, bounds, check_bounds, flag


def with_settings(**types: type) -> Callable[[Callable], Callable]:
    """Replace each named parameter of a command by the fields of its settings dataclass, as options.

    ``with_settings(recipe=DifferenceRecipe)`` gives ``command(recipe, …)`` the options ``--epochs`` and so on, and
    calls it with the recipe that they come to.
    """

    def decorate(command: Callable) -> Callable:
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

        run.__signature__ = signature.replace(parameters=parameters)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__
        return run

    return decorate


def _options(kind: type) -> list[inspect.Parameter]:
    hints, limits = get_type_hints(kind, include_extras=True), bounds(kind)
    # A model's or corpus's own options come before those that all have.
    own = [field for field in dataclasses.fields(kind) if field.name in inspect.get_annotations(kind)]
    inherited = [field for field in dataclasses.fields(kind) if field not in own]
    return [_option(field, hints[field.name], limits.get(field.name, [])) for field in [*own, *inherited] if field.init]


def _option(field: dataclasses.Field, hint: Any, limits: list[Any]) -> inspect.Parameter:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"the setting {field.name} has no Doc")
    value_type, *extras = get_args(hint)
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    # What is on unless told otherwise needs a way to be told.
    negation = f"/--no-{flag(field.name)[2:]}" if default is True else ""
    if get_origin(value_type) is tuple:
        value_type, default = list[get_args(value_type)[0]], list(default)
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
