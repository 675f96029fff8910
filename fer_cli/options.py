"""Options declared as fields of a dataclass (their panel in the help, their bounds), and the options of every call.

A field's type is ``Annotated[int, Ge(0), Doc("…"), Panel("Data")]``. The command line reads all of it;
:func:`check_bounds` checks the values.
"""

import dataclasses
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

from fer_cli.errors import UsageError
from fer_cli.progress import Progress, silent


@dataclass(frozen=True)
class Panel:
    """The titled panel in which ``--help`` shows an option."""

    title: str


#: Each kind of bound: the comparison that holds, and its words.
_BOUNDS: dict[type, tuple[Callable[[Any, Any], bool], str]] = {
    Ge: (operator.ge, "at least"),
    Gt: (operator.gt, "more than"),
    Le: (operator.le, "at most"),
    Lt: (operator.lt, "less than"),
}


def flag(name: str) -> str:
    """The option of the command line for the field ``name``."""
    return f"--{name.replace('_', '-')}"


def bounds(kind: type) -> dict[str, list[Ge | Gt | Le | Lt]]:
    """The bounds of each field of the dataclass ``kind`` that has any."""
    found: dict[str, list[Ge | Gt | Le | Lt]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        flat: list[Any] = [each for extra in extras for each in (extra if isinstance(extra, Interval) else [extra])]
        if limits := [each for each in flat if type(each) in _BOUNDS]:
            found[name] = limits
    return found


def check_bounds(options: Any) -> None:
    """Check the fields of a dataclass against their bounds; None is within any, NaN within none.

    Raises :class:`~fer_cli.errors.UsageError` naming the option, its value and the bound.
    """
    limits = bounds(type(options))
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        for bound in limits.get(field.name, []) if value is not None else []:
            holds, words = _BOUNDS[type(bound)]
            [limit] = dataclasses.astuple(bound)
            if not holds(value, limit):
                raise UsageError(f"{flag(field.name)} {value}: a number of {words} {limit} is needed.")


@dataclass(frozen=True)
class Session:
    """Where a call computes, what it allows, how it was typed, and whom it tells how far it is.

    ``device`` is as :func:`~fer_cli.models.device.choose_device` takes it. ``allow_seen`` allows an evaluation on
    subjects that the model was trained on, which every result then says. ``command`` is the line that was typed, for
    the record; empty where none was. ``tta`` replaces the test-time augmentation that is stored with a run: ``none`` or
    ``flip``.
    """

    device: str = "auto"
    allow_seen: bool = False
    command: str = ""
    progress: Progress = silent
    tta: str | None = None


#: Any device, nothing allowed, nobody told.
DEFAULT_SESSION = Session()
