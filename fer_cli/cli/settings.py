"""Flags made from the fields of a settings dataclass.

A setting is declared once, in the library, with its type, its default and a :class:`annotated_doc.Doc`; here it becomes
an option with that text as its help.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from annotated_doc import Doc


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
    hints = get_type_hints(kind, include_extras=True)
    # A model's or corpus's own options come before those that all have.
    own = [field for field in dataclasses.fields(kind) if field.name in inspect.get_annotations(kind)]
    inherited = [field for field in dataclasses.fields(kind) if field not in own]
    return [_option(field, hints[field.name]) for field in [*own, *inherited] if field.init]


def _option(field: dataclasses.Field, hint: Any) -> inspect.Parameter:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"the setting {field.name} has no Doc")
    value_type, *extras = get_args(hint)
    help_text = next(extra.documentation for extra in extras if isinstance(extra, Doc))
    flag = "--" + field.name.replace("_", "-")
    default = inspect.Parameter.empty
    if field.default is not dataclasses.MISSING:
        default = field.default
    if default is True:
        # What is on unless told otherwise needs a way to be told.
        flag = f"{flag}/--no{flag[1:]}"
    if get_origin(value_type) is tuple:
        value_type, default = list[get_args(value_type)[0]], list(default)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[value_type, typer.Option(flag, help=help_text, show_default=default not in (None, []))],
    )


def _instance(kind: type, values: dict[str, Any]) -> Any:
    chosen = {field.name: values.pop(field.name) for field in dataclasses.fields(kind) if field.init}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})
