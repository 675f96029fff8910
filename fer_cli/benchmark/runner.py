"""Runner of a benchmark: what is to do and about how long it takes, done side by side, each failure a row."""

import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from fer_cli.benchmark.cells import Cell, CellResult
from fer_cli.benchmark.engines import Engine, EngineName, death, failed, opened
from fer_cli.errors import FerError, UsageError
from fer_cli.files import locked, read_bytes, write_bytes, write_text, written_whole
from fer_cli.models import SCRATCH
from fer_cli.options import Session
from fer_cli.progress import Progress, silent
from fer_cli.training.recipes import RECIPES
from fer_cli.training.recipes.base import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.benchmark.specification import Specification

#: In a benchmark's folder: the copy of the specification, the table of comparisons, and the folder of the cells.
SPECIFICATION, COMPARISONS, CELLS = "specification.toml", "comparisons.parquet", "cells"
#: What an error that nobody foresaw leaves in a cell's folder.
TRACEBACK = "error.txt"

#: Seconds of one slow core for a picture of 64 pixels: to train a small network with it once, to embed it, to extract
#: its HOG features and let a linear SVM learn from them. A rule of thumb.
TRAINING, EMBEDDING, FEATURES = 0.015, 0.006, 0.01
#: Seconds that a cell takes at least: it is evaluated, and its table of predictions written.
LEAST = 2.0


@dataclass(frozen=True)
class Findings:
    """What a benchmark came to.

    ``table`` is that of results, ``comparisons`` that of all pairs of recipes, ``ranks`` what these leave of ranks;
    ``sentences`` name the recipes that do not beat the baseline; ``changes`` is what became of an earlier table.
    """

    table: "pd.DataFrame"
    comparisons: "pd.DataFrame"
    ranks: "pd.DataFrame"
    sentences: tuple[str, ...] = ()
    changes: "pd.DataFrame | None" = None


def run(
    specification: "Specification",
    out: Path,
    *,
    jobs: int | None = None,
    device: str = "auto",
    engine: EngineName = "local",
    allow_shared: bool = False,
    earlier: "pd.DataFrame | None" = None,
    command: str = "",
    progress: Progress = silent,
) -> Findings:
    """The findings of ``specification``, whose cells that are not in the folder ``out`` yet are computed.

    ``jobs`` cells at a time: on a CPU by default one a core, in a process of one thread each; else one a GPU of the
    kind that ``device`` names. An interrupted benchmark is continued by the same call; a cell of which something that
    its numbers depend on is different is another cell. One that failed is a row with its ``reason``, and is tried
    again by the next call. ``earlier`` is a table of results to compare with, ``command`` the line that was typed.

    Raises :class:`~fer_cli.errors.UsageError` if ``out`` holds something else or two datasets share pictures or people
    (unless ``allow_shared``: then the rows concerned say so), and :class:`~fer_cli.errors.FerError` if another process
    is at it.
    """
    refuse_other(out)
    with locked(out, "benchmarking into"):
        shared = _shared(specification, allow=allow_shared or specification.allow_shared, progress=progress)
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(out / SPECIFICATION, read_bytes(specification.path))
        plan, results = plan_of(specification, out)
        if plan.estimates:
            with opened(engine, jobs, device, partial(compute_cell, specification, out), command) as workers:
                for result in compute_cells(plan, workers, progress):
                    results[result.cell.digest] = result
        stamped = [_stamped(results[cell.digest], shared) for cell in plan.cells]
        progress("comparing", 0, None)
        return _finish(specification, stamped, out, earlier, command)


def plan_of(specification: "Specification", out: Path) -> tuple["Plan", dict[str, CellResult]]:
    """The plan of a benchmark in the folder ``out``, and the results that are there, by their cells' digests."""
    from fer_cli.benchmark.evaluations import load
    from fer_cli.benchmark.specification import expand

    cells = expand(specification)
    found = ((cell.digest, load(cell, out / CELLS / cell.digest)) for cell in cells)
    results = {digest: result for digest, result in found if result is not None and result.status == "done"}
    return make_plan(cells, results, _sizes(specification)), results


def refuse_other(out: Path) -> None:
    """Raises :class:`~fer_cli.errors.UsageError` if ``out`` is there and is no benchmark's folder."""
    if out.exists() and not (out / SPECIFICATION).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} holds something else than a benchmark.", hint="Type --out FOLDER with a new name.")


class Size(NamedTuple):
    """How many ``pictures`` a dataset has, and how many ``folds`` a cross-validation on it."""

    pictures: int
    folds: int


@dataclass(frozen=True)
class Estimate:
    """About how many ``seconds`` a cell takes: as others like it took, or by rule of thumb (``measured`` is false)."""

    seconds: float
    measured: bool


@dataclass(frozen=True)
class Plan:
    """All ``cells`` of a benchmark, those that are ``done``, and the estimates of the others, by digest."""

    cells: tuple[Cell, ...]
    done: frozenset[str]
    estimates: Mapping[str, Estimate]

    @property
    def to_do(self) -> list[Cell]:
        """The cells that are not done, those of the longest group that shares a training first."""
        groups = shared_trainings([cell for cell in self.cells if cell.digest not in self.done])
        return [cell for group in sorted(groups, key=lambda group: -self.seconds(group)) for cell in group]

    def seconds(self, cells: Collection[Cell]) -> float:
        """The sum of the estimates of ``cells``."""
        return sum(self.estimates[cell.digest].seconds for cell in cells)

    def remaining(self, workers: int) -> float:
        """Seconds that all takes on so many ``workers``: no less than the longest group, which is one worker's."""
        groups = [self.seconds(group) for group in shared_trainings(self.to_do)]
        return max([sum(groups) / workers, *groups])

    @property
    def measured(self) -> bool:
        """Whether all estimates are of cells like them."""
        return all(estimate.measured for estimate in self.estimates.values())


def make_plan(cells: Sequence[Cell], results: Mapping[str, CellResult], sizes: Mapping[str, Size]) -> Plan:
    """The plan for ``cells`` of which ``results`` (by digest) are there, on datasets of ``sizes``, by name."""
    done = frozenset(digest for digest, result in results.items() if result.status == "done")
    first = {group[0].digest for group in shared_trainings(cells)}
    took: dict[tuple, list[float]] = {}
    for result in results.values():
        for alike in _alike(result.cell, result.cell.digest in first):
            took.setdefault(alike, []).append(result.seconds)
    estimates = {}
    for cell in cells:
        if cell.digest not in done:
            times = next((took[alike] for alike in _alike(cell, cell.digest in first) if alike in took), None)
            guess = _guess(cell, cell.digest in first, sizes)
            estimates[cell.digest] = Estimate(median(times), True) if times else Estimate(guess, False)
    return Plan(tuple(cells), done, estimates)


def shared_trainings(cells: Iterable[Cell]) -> list[list[Cell]]:
    """``cells`` in groups that have all their trainings in common."""
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((_training(cell), cell.evaluation), []).append(cell)
    return list(groups.values())


def _training(cell: Cell) -> tuple:
    """What tells trainings apart; a cross-validation and a test on another corpus can have one in common."""
    trained = cell.recipe, cell.train, cell.repeat, cell.seed, cell.train_subjects
    return trained if cell.train else (*trained, cell.test, cell.neutral)


def _alike(cell: Cell, first: bool) -> list[tuple]:
    """Keys of cells that take about as long, from the most alike; the ``first`` of a group pays for its training."""
    work = cell.recipe, cell.evaluation, cell.train, cell.train_subjects, first
    return [(*work, cell.test, cell.neutral), (*work, cell.test), work]


def _guess(cell: Cell, first: bool, sizes: Mapping[str, Size]) -> float:
    tested = LEAST + EMBEDDING * sizes[cell.test].pictures
    kind = {recipe.name: recipe for recipe in RECIPES}.get(cell.settings.get("train", ""))
    if kind is None or not first:
        return tested
    folds = sizes[cell.test].folds if cell.evaluation == "within" else 1
    return tested + folds * sum(sizes[name].pictures for name in cell.train) * _per_picture(kind, cell.settings)


def _per_picture(kind: type[Recipe], settings: Mapping[str, object]) -> float:
    """Seconds that the training of a fold takes for each picture of the dataset."""

    def setting(name: str, otherwise: object = None) -> object:
        return settings.get(name, getattr(kind, name, otherwise))

    epochs = setting("epochs")
    if epochs is None:
        return FEATURES
    # Embeddings are computed once for all folds; what a head of them takes is little.
    frozen = setting("tune_encoder", None) is False and setting("encoder") != SCRATCH
    return EMBEDDING if frozen else TRAINING * int(epochs)


def compute_cells(plan: Plan, engine: Engine, progress: Progress = silent) -> Iterator[CellResult]:
    """The result of each cell that ``plan`` has to do, as soon as it is there.

    A cell is not begun while one that may be at the same training is, for it would wait for that with its memory full.
    Raises :class:`~fer_cli.errors.DiskFullError` where nothing more can be written: every other cell would fail too.
    """
    waiting, running = plan.to_do, dict[int, Cell]()
    trained = {(_training(cell), cell.evaluation) for cell in plan.cells if cell.digest in plan.done}
    report = _Report(plan, progress)
    while True:
        for worker in engine.idle:
            busy = {_training(cell) for cell in running.values()}
            free = (
                cell for cell in waiting if _training(cell) not in busy or (_training(cell), cell.evaluation) in trained
            )
            if (cell := next(free, None)) is not None:
                waiting.remove(cell)
                running[worker] = cell
                report.begin(worker, cell)
                engine.submit(worker, cell)
        if not running:
            return
        for message in engine.wait():
            if message.kind == "progress":
                report.advance(message.worker, message.value)
                continue
            cell = running.pop(message.worker)
            if message.kind == "died":
                result = failed(cell, death(message.value))
            elif message.value.disk_full is not None:
                raise message.value.disk_full
            else:
                result = message.value.result
            if result.status == "done":
                trained.add((_training(cell), cell.evaluation))
            report.end(message.worker, result)
            yield result


def compute_cell(specification: "Specification", out: Path, cell: Cell, session: Session) -> CellResult:
    """The result of ``cell``, computed in the benchmark's folder ``out`` unless it is there.

    What :func:`~fer_cli.benchmark.evaluations.compute` raises is raised; an error that nobody foresaw leaves its
    traceback in the cell's folder.
    """
    from fer_cli.benchmark.evaluations import compute

    try:
        return compute(cell, specification, out / CELLS / cell.digest, session)
    except FerError:
        raise
    except Exception:
        folder = out / CELLS / cell.digest
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / TRACEBACK, traceback.format_exc())
        raise


def _sizes(specification: "Specification") -> dict[str, Size]:
    return {
        name: Size(len(dataset.metadata), specification.folds or max(1, dataset.protocol.folds))
        for name, dataset in specification.opened.items()
    }


def _shared(specification: "Specification", *, allow: bool, progress: Progress) -> dict[str, list[set[str]]]:
    """What each two datasets share, in words, with the names of the one and of the other in the specification."""
    from fer_cli.dataset.duplicates import describe, shared_pictures

    opened = specification.opened
    found = shared_pictures(list(opened.values()), progress=progress) if len(opened) > 1 else []
    if found and not allow:
        raise UsageError(
            describe(found), hint="Leave one of them out, or type --allow-shared: the rows of both say so then."
        )
    return {
        describe([each]): [
            {name for name, dataset in opened.items() if dataset.name == side} for side in (each.first, each.second)
        ]
        for each in found
    }


def _stamped(result: CellResult, shared: Mapping[str, Sequence[set[str]]]) -> CellResult:
    """The ``result``, whose rows say what the datasets that it was trained and tested on share."""
    names = {*result.cell.train, result.cell.test}
    notes = [note for note, sides in shared.items() if all(names & side for side in sides)]
    rows = tuple({**row, "notes": " ".join([*filter(None, [row.get("notes")]), *notes])} for row in result.rows)
    return replace(result, rows=rows) if notes else result


def _finish(
    specification: "Specification",
    results: Sequence[CellResult],
    out: Path,
    earlier: "pd.DataFrame | None",
    command: str,
) -> Findings:
    """Compare the ``results`` and write tables and page."""
    from fer_cli.benchmark.comparisons import compare_cells
    from fer_cli.benchmark.page import write_page
    from fer_cli.benchmark.ranking import not_beating, ranks
    from fer_cli.benchmark.recipes import BASELINE
    from fer_cli.benchmark.results import RESULTS, against, results_table, write_results
    from fer_cli.benchmark.tables import write_tables

    metric, title = specification.metric, specification.title
    table = results_table(results)
    write_results(table, out / RESULTS)
    predictions = {result.cell.digest: result.predictions for result in results if result.predictions is not None}
    comparisons = compare_cells(table, predictions, metric)
    with written_whole(out / COMPARISONS) as part:
        comparisons.to_parquet(part, index=False)
    baselines = {entry.name for entry in specification.recipes if entry.train == BASELINE}
    found = Findings(
        table,
        comparisons,
        ranks(table, comparisons),
        tuple(not_beating(comparisons, baselines)),
        None if earlier is None else against(table, earlier, metric),
    )
    write_tables(table, found.ranks, out, title=title, metric=metric)
    write_page(
        title,
        table,
        comparisons,
        found.ranks,
        out,
        sentences=found.sentences,
        against=found.changes,
        command=command,
        metric=metric,
    )
    return found


class _Report:
    """Progress of all cells, and of the one that each worker is at."""

    def __init__(self, plan: Plan, progress: Progress):
        self._plan, self._progress = plan, progress
        self._left = {digest: estimate.seconds for digest, estimate in plan.estimates.items()}
        self._begun, self._estimated, self._failed = monotonic(), 0.0, 0
        self._running: dict[int, Cell] = {}

    def begin(self, worker: int, cell: Cell) -> None:
        self._running[worker] = cell
        self.advance(worker, ("", 0, None))

    def advance(self, worker: int, value: tuple[str, int, int | None]) -> None:
        stage, done, total = value
        title = f"{self._running[worker].title}{f': {stage}' if stage else ''}"
        self._progress(f"process {worker + 1}", done, total, title=title)
        self._all()

    def end(self, worker: int, result: CellResult) -> None:
        cell = self._running.pop(worker)
        self._failed += result.status == "failed"
        self._estimated += self._left.pop(cell.digest)
        self._progress(f"process {worker + 1}", 0, 0)
        self._all()

    def _all(self) -> None:
        # What is left takes as much longer than was estimated as what is done did.
        slower = (monotonic() - self._begun) / self._estimated if self._estimated else 0.0
        self._progress(
            "cells",
            len(self._plan.cells) - len(self._left),
            len(self._plan.cells),
            running=str(len(self._running)),
            failed=str(self._failed) if self._failed else "",
            left=duration(slower * sum(self._left.values())) if slower and self._left else "",
        )


def duration(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3 h 10 min``: a time as exact as an estimate can be.

    >>> duration(41), duration(700), duration(11_400)
    ('40 s', '12 min', '3 h 10 min')
    """
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
