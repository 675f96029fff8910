"""Consoles: messages and progress on standard error, data on standard output, nothing that could steer a terminal."""

import os
import sys
import textwrap
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from types import TracebackType
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from fer_cli.errors import FerError
from fer_cli.files import plain

#: The exit code of a command that skipped inputs because something is wrong with them.
SOME_SKIPPED = 3
#: The exit code of a command that Ctrl-C stopped.
INTERRUPTED = 130

#: Of several processes, only the first prints.
_SILENT = os.environ.get("RANK", "0") != "0"


class PlainConsole(Console):
    """A console on which no text from outside can style itself or steer the terminal, whoever prints it.

    Strings have no markup; a style needs a :class:`rich.text.Text`.
    """

    def __init__(self, **settings: Any):
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """As rich does, but escaped before it is laid out."""
        return super().render_str(plain(text), **settings)

    def on_broken_pipe(self) -> None:
        """Whoever read has read enough: the rest goes nowhere, and the command ends as it would have."""
        self.quiet = True
        discard(self.file)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, every segment escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


out = PlainConsole(quiet=_SILENT)
err = PlainConsole(stderr=True, quiet=_SILENT)


def discard(stream: IO[str]) -> None:
    """Let what is still written to ``stream``, whose reader has gone, go nowhere, as what Python writes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def use_utf8() -> None:
    """Write UTF-8 into pipes whatever the locale, and escape letters that a terminal does not have."""
    for stream in (sys.stdout, sys.stderr):
        # A program of its own may have put something else in its place, and one without a console has nothing.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def say(text: str, *, whole: bool = False) -> None:
    """Print a message: a terminal's lines break between words, a pipe's and what is to be typed (``whole``) nowhere."""
    err.print(text if whole else _broken(text), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning."""
    err.print(Text.assemble(("note", "yellow"), _broken(f"note {plain(text)}").removeprefix("note")), soft_wrap=True)


def _broken(text: str) -> str:
    """The text in lines of the terminal's width; paths stay whole. Rich would cut them where it breaks lines."""
    if not err.is_terminal:
        return text
    fill = partial(textwrap.fill, width=err.width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(fill, text.split("\n")))


def print_error(error: FerError) -> None:
    """Print what went wrong, and what to do about it."""
    err.print(Text.assemble(("error", "bold red"), " ", plain(error.message)), soft_wrap=True)
    if error.hint:
        err.print(error.hint, soft_wrap=True)


def give(*cells: object) -> None:
    """Print a line of data on standard output: escaped on a terminal, byte for byte into a pipe."""
    line = "\t".join(map(str, cells))
    if out.is_terminal:
        out.print(line, soft_wrap=True)
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{line}\n".encode(sys.stdout.encoding, "surrogateescape"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard(sys.stdout)


class _Rate(ProgressColumn):
    """Steps a second, or a minute where they are few."""

    def render(self, task: Task) -> Text:
        speed = 0.0 if task.fields["timed"] else task.speed or 0.0
        few = f"{60 * speed:.1f}/min" if speed else ""
        return Text(f"{speed:.1f}/s" if speed >= 0.1 else few, style="dim")


class _Remaining(TimeRemainingColumn):
    """Time that is left, unless the stage itself says it."""

    def render(self, task: Task) -> Text:
        return Text() if task.fields["timed"] else super().render(task)


class Bars:
    """Progress bars, one for each stage, on a terminal; nothing where standard error is piped.

    An instance is what the library takes as its ``progress``.
    """

    #: Seconds before a stage that counts its steps gets a bar.
    PATIENCE = 0.5

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            _Remaining(compact=True),
            TextColumn("{task.fields[facts]}", style="dim", markup=False),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        """Move the stage's bar; a ``note`` is printed, also where there are no bars.

        A ``title`` takes the place of the stage's name; of no steps there is no bar. A stage that says what time is
        ``left`` has no estimate of the bar's.
        """
        title, room = str(facts.pop("title", stage)), err.width * 2 // 5
        title = title if len(title) <= room else f"{title[: room - 1]}…"
        if (note := facts.pop("note", None)) is not None:
            say(f"note      {note}")
        if total == 0:
            if stage in self._tasks:
                self._progress.remove_task(self._tasks.pop(stage))
            return
        brief = time.monotonic() - self._begun.setdefault(stage, time.monotonic()) < self.PATIENCE
        if brief and total is not None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(title, total=total, facts="", timed=False)
        task, timed = self._tasks[stage], "left" in facts
        self._progress.update(
            task, completed=done, total=total, description=title, facts=_formatted(facts), timed=timed
        )


def _formatted(facts: dict[str, float | str]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.3f}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in facts.items()
        if value
    )
