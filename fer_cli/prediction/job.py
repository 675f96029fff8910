"""A whole prediction: from inputs to files, begun anew or gone on with, by one process or several."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from fer_cli.errors import FerError, UsageError
from fer_cli.prediction import processes
from fer_cli.prediction.inputs import Input
from fer_cli.prediction.outcomes import Outcome
from fer_cli.prediction.smooth import smoothed
from fer_cli.prediction.summary import Summary
from fer_cli.prediction.table import ERROR_COLUMNS, columns, error_row, row
from fer_cli.prediction.timeline import Timeline
from fer_cli.prediction.unfinished import Unfinished
from fer_cli.prediction.writers import TEXT_WRITERS, Format, Writer, said, table_file
from fer_cli.progress import Progress, silent

#: From numbered inputs, and a function that gives all inputs from the first, to outcomes.
Predict = Callable[[Iterable[tuple[int, Input]], Callable[[], Iterator[Input]]], Iterator[Outcome]]


class Sink(Protocol):
    """Takes outcomes, in order."""

    def write(self, outcome: Outcome) -> None:
        """Take one."""


@dataclass(frozen=True)
class Outputs:
    """Where results go.

    ``table`` is a file, or a stream that is written as results come, or None. ``errors`` is the table of what was
    missed, ``timeline`` the plot of a video; both are made only where there is something to put in. ``beside`` are
    sinks that are given each outcome with its crops as it comes; ``shown`` those that take them with the rows.
    """

    table: Path | TextIO | None
    format: Format
    classes: Sequence[str]
    errors: Path | None = None
    timeline: Path | None = None
    beside: Sequence[Sink] = field(default=())
    shown: Sequence[Sink] = field(default=())


def check_free(paths: Iterable[Path | None], *, option: str = "--overwrite") -> None:
    """Refuse to overwrite.

    Raises :class:`~fer_cli.errors.UsageError` if there is a file at one of ``paths``, or something in a folder there.
    """
    for path in paths:
        if path is not None and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
            raise UsageError(f"{path} is there already.", hint=f"Type {option} to replace it, or another name.")


def predict_stream(outcomes: Iterable[Outcome], outputs: Outputs, *, smooth: float | None = None) -> Summary:
    """Give every outcome to all outputs as it comes."""
    summary = Summary()
    if smooth is not None:
        outcomes = smoothed(outcomes, smooth)
    with ExitStack() as stack:
        finals = _finals(outputs, summary, stack)
        for outcome in outcomes:
            for sink in (*outputs.beside, *finals):
                sink.write(outcome)
    return summary


def predict_file(
    found: Iterable[Input],
    predict: Predict,
    outputs: Outputs,
    settings: Mapping[str, Any],
    *,
    smooth: float | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Predict on all of ``found`` by way of an :class:`~fer_cli.prediction.unfinished.Unfinished`.

    ``settings`` is all that decides what comes out; with ``resume``, what was begun with the same is gone on with.
    Under torchrun each process takes its share of the inputs and the first makes the output of all parts. Raises
    :class:`~fer_cli.errors.UsageError` if other settings were begun with.
    """
    unfinished = Unfinished(outputs.table)
    first, share = processes.rank() == 0, processes.count()
    if first:
        unfinished.begin({**settings, "processes": share}, resume=resume)
        unfinished.list_inputs(found, progress)
    processes.meet()
    total = unfinished.list_inputs(())
    try:
        outcomes = predict(unfinished.inputs(processes.rank(), share), unfinished.all_inputs)
        if smooth is not None:
            outcomes = smoothed(outcomes, smooth)
        for outcome in unfinished.keep(outcomes, processes.rank()):
            for sink in outputs.beside:
                sink.write(outcome)
            frame = {} if outcome.shot.frame is None else {"frame": str(outcome.shot.frame)}
            progress("predicting", outcome.shot.index + outcome.shot.closes, total, **frame)
    except FerError:
        if first and unfinished.empty:
            # Nothing is lost, and the line, corrected, should not find itself in its own way.
            unfinished.remove()
        raise
    processes.meet()
    processes.leave()
    summary = Summary()
    if first:
        with ExitStack() as stack:
            finals = _finals(outputs, summary, stack)
            for outcome in unfinished.outcomes():
                for sink in finals:
                    sink.write(outcome)
        unfinished.remove()
    return summary


def _finals(outputs: Outputs, summary: Summary, stack: ExitStack) -> list[Sink]:
    """What takes all outcomes of all processes."""
    finals: list[Sink] = [summary]
    if isinstance(outputs.table, Path):
        finals.append(_Rows(stack.enter_context(table_file(outputs.table, outputs.format, columns(outputs.classes)))))
    elif outputs.table is not None:
        stack.enter_context(said("standard output"))
        finals.append(_Rows(TEXT_WRITERS[outputs.format](outputs.table, columns(outputs.classes))))
    if outputs.errors is not None:
        finals.append(_Errors(outputs.errors, stack))
    if outputs.timeline is not None:
        finals.append(Timeline(outputs.timeline))
    return [*finals, *outputs.shown]


class _Rows:
    def __init__(self, writer: Writer):
        self._writer = writer

    def write(self, outcome: Outcome) -> None:
        for prediction in outcome.predictions:
            self._writer.write(row(prediction))


class _Errors:
    """A table that is there only if it has rows."""

    def __init__(self, path: Path, stack: ExitStack):
        self._path, self._stack = path, stack
        self._writer: Writer | None = None

    def write(self, outcome: Outcome) -> None:
        for missed in outcome.missed:
            if self._writer is None:
                self._writer = self._stack.enter_context(table_file(self._path, "csv", ERROR_COLUMNS))
            self._writer.write(error_row(missed))
