"""Words and pictures of progress on standard error, data on standard output."""

import os
import sys
import time
from io import TextIOWrapper
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from fer_cli.errors import FerError

#: The exit code of what was done with some inputs left out because something is wrong with them.
SOME_LEFT_OUT = 3
#: The exit code of what Ctrl-C stopped.
INTERRUPTED = 130

#: Of several processes that train together, the first speaks.
_SILENT = os.environ.get("RANK", "0") != "0"

out = Console(highlight=False, quiet=_SILENT)
err = Console(stderr=True, highlight=False, quiet=_SILENT)


def use_utf8() -> None:
    """Have what is piped be UTF-8 whatever the locale, and let no letter that a terminal has not stop the program."""
    for stream in (sys.stdout, sys.stderr):
        # A program of its own may have put something else in its place, and one without a console has nothing.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def say(text: str) -> None:
    """A line for a person."""
    err.print(text, soft_wrap=True, markup=False)


def warn(text: str) -> None:
    """A line that a person should not miss."""
    err.print(f"[yellow]note[/] {escape(text)}", soft_wrap=True)


def complain(error: FerError) -> None:
    """What went wrong, and what to do about it."""
    err.print(f"[bold red]error[/] {escape(error.message)}", soft_wrap=True)
    if error.mend:
        err.print(escape(error.mend), soft_wrap=True)


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")


class Bars:
    """A progress bar a stage, on a terminal; nothing where standard error is piped.

    An instance is what the library takes as its ``progress``.
    """

    #: A stage that counts its steps needs no bar before this many seconds.
    PATIENCE = 0.5

    def __init__(self):
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[facts]}"),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, int] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        """Move the stage's bar."""
        brief = time.monotonic() - self._begun.setdefault(stage, time.monotonic()) < self.PATIENCE
        if brief and total is not None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, facts="")
        self._progress.update(self._tasks[stage], completed=done, total=total, facts=_shown(facts))


def _shown(facts: dict[str, float | str]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.3f}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in facts.items()
        if value
    )
