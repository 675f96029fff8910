"""The help of commands: the lines to type first, then options in titled panels, two columns wide.

Typer's own layout gives types, short forms and negations a column each, which leaves what an option does a third of a
terminal of 80 columns.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from rich.console import Group as Rows
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperGroup

from fer_cli.cli.console import PlainConsole

#: The order of the panels; others follow in the order of their first option, and options of no panel come last.
ORDER = (
    *("Arguments", "Input", "Corpus", "Model", "Neutral face", "Data", "Faces", "Protocol", "Optimisation"),
    *("Augmentation", "Output", "Compute"),
)
#: What stands for an option's value, by its type.
PLACEHOLDERS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
#: The widest help, and the widest column of names, in characters.
WIDEST, WIDEST_NAME = 120, 25


# A mixin of commands and of groups; as a base that is Any it has to type checkers all that both have.
_Base: Any = object


class _Help(_Base):  # type: ignore[misc]
    """Formats the help of a command or group."""

    def get_usage(self, ctx: Any) -> str:
        """The line of the usage; Typer sets a required argument with a name of its own in braces."""
        return super().get_usage(ctx).replace("{", "").replace("}", "")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        console = PlainConsole()
        console.width = min(console.width, WIDEST)
        console.print(Text(self.get_usage(ctx), "bold"))
        console.print()
        for block in _description(self.help or "", console.width - 1):
            console.print(Padding(block, (0, 0, 1, 1)))
        panels: dict[str, list[tuple[Text, Text]]] = {}
        annotations = _annotations(self.callback)
        for param in self.get_params(ctx):
            if not getattr(param, "hidden", False):
                title = getattr(param, "rich_help_panel", None)
                title = title or ("Arguments" if isinstance(param, TyperArgument) else "Options")
                panels.setdefault(title, []).append(_row(param, ctx, annotations.get(param.name, bool)))
        if isinstance(self, TyperGroup):
            commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
            rows = [(Text(each.name, "bold cyan"), _summary(each)) for each in commands]
            console.print(_panel("Commands", rows, _width(rows)))
        titles = [title for title in ORDER if title in panels]
        titles += [title for title in panels if title not in (*ORDER, "Options")]
        width = _width([row for rows in panels.values() for row in rows])
        for title in [*titles, "Options"]:
            console.print(_panel(title, panels[title], width))
        if self.epilog:
            console.print(Padding(_markup(self.epilog), (0, 1)))


class Command(_Help, TyperCommand):
    """A command whose help fits a terminal of 80 columns."""


class Group(_Help, TyperGroup):
    """Commands whose help fits a terminal of 80 columns."""


F = TypeVar("F", bound=Callable[..., Any])


class Commands(typer.Typer):
    """A Typer application of :class:`Command` and :class:`Group`, in which ``-h`` is ``--help``."""

    def __init__(self, *, cls: type[TyperGroup] = Group, **settings: Any):
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(cls=cls, rich_markup_mode="rich", context_settings=names, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """As Typer's."""
        return super().command(name, cls=Command, **settings)


def _annotations(callback: Any) -> dict[str, Any]:
    if callback is None:
        return {}
    parameters = inspect.signature(callback, eval_str=True).parameters
    return {name: parameter.annotation for name, parameter in parameters.items()}


def _markup(text: str) -> Text:
    return Text.from_markup(" ".join(text.split()), emoji=False)


def _description(text: str, width: int) -> list[Text | Rows]:
    """Paragraphs; those of one line that are no sentence are lines to type, and stand together."""
    blocks: list[Text | Rows] = []
    lines: list[Text] = []
    for paragraph in filter(None, (each.strip() for each in text.split("\n\n"))):
        if paragraph.startswith("[dim]"):
            # A drawing, whose lines are its own.
            blocks.append(Text.from_markup(paragraph, emoji=False))
        elif "\n" in paragraph or paragraph.endswith((".", "]")):
            blocks.append(_markup(paragraph))
        else:
            typed, mark, comment = paragraph.partition("  #")
            lines.append(Text.assemble((_continued(typed, width), "cyan"), (mark + comment, "dim")))
    return [*blocks, Rows(*lines)] if lines else blocks


def _continued(line: str, width: int) -> str:
    """A line to type, before options continued in the next where ``width`` is too little: a shell takes it as shown."""
    first, *options = line.split(" --")
    shown = [first]
    for option in options:
        if len(f"{shown[-1]} --{option} \\") <= width:
            shown[-1] += f" --{option}"
        else:
            shown.append(f"    --{option}")
    return line if len(line) <= width else " \\\n".join(shown)


def _summary(command: TyperCommand) -> Text:
    text = command.short_help or (command.help or "").strip().split("\n\n")[0]
    return _markup(text)


def _row(param: Any, ctx: typer.Context, annotation: Any) -> tuple[Text, Text]:
    """The names of an option or argument, and what it does, with its choices and default."""
    value_type = _plain_type(annotation)
    choices = get_args(value_type) if get_origin(value_type) is Literal else ()
    placeholder = param.metavar or ("NAME" if choices else PLACEHOLDERS.get(value_type, ""))
    if isinstance(param, TyperArgument):
        names = Text((param.metavar or param.name) + ("..." if param.nargs == -1 else ""), "bold cyan")
    else:
        flags = sorted(param.opts, key=len)
        if param.secondary_opts:
            flags = [f"--[no-]{flags[-1].removeprefix('--')}"]
        names = Text.assemble((", ".join(flags), "bold cyan"), f" {placeholder}".rstrip())
    help_text = _markup(param.help or "")
    words = set(help_text.plain.replace(",", " ").replace(":", " ").replace(".", " ").split())
    facts = [] if words.issuperset(choices) else [", ".join(choices)]
    if value_type is not bool and (default := _default(param, ctx)):
        facts.append(f"default: {default}")
    if facts:
        help_text.append(f" [{'; '.join(facts)}]", "dim")
    return names, help_text


def _plain_type(annotation: Any) -> Any:
    """The type of one value: without what Annotated adds, None, and the list."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    inner = [each for each in get_args(annotation) if each is not NoneType]
    if get_origin(annotation) is list or NoneType in get_args(annotation):
        return _plain_type(inner[0])
    return annotation


def _default(param: Any, ctx: typer.Context) -> str:
    if param.required or not param.show_default:
        return ""
    if isinstance(param.show_default, str):
        return param.show_default
    value = param.get_default(ctx, call=False)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None or callable(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _width(rows: list[tuple[Text, Text]]) -> int:
    return min(WIDEST_NAME, max(len(names) for names, _ in rows))


def _panel(title: str, rows: list[tuple[Text, Text]], width: int) -> Panel:
    """``rows`` of names and what they mean, the names in a column of ``width`` characters."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=width)
    table.add_column(ratio=1)
    for row in rows:
        table.add_row(*row)
    return Panel(table, title=Text(title, "bold"), title_align="left", border_style="dim")
