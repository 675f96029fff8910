"""``fer benchmark``."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from fer_cli.cli import figures
from fer_cli.cli.console import SOME_SKIPPED, Bars, give, out, say, warn
from fer_cli.cli.settings import Device
from fer_cli.errors import FerError, UsageError
from fer_cli.extras import require

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.benchmark.runner import Findings, Plan
    from fer_cli.benchmark.specification import Specification

#: Where benchmarks go by default, each in a folder named for its specification.
BENCHMARKS = Path("benchmarks")
_LEGEND = (
    "In %, in brackets the 95 % interval of a bootstrap over subjects; of several draws their means, and the deviation "
    "over seeds and draws of the folds. Neutral: what a face is compared with. Ranks are among equal neutral access, "
    "as far as tests and noise floor support them."
)
#: So many sentences on what does not beat the baseline are on the terminal.
_SENTENCES = 10
#: And so many reasons of cells that failed.
_REASONS = 10


def benchmark(
    specification: Annotated[
        Path, typer.Argument(metavar="SPEC", help="A TOML file: datasets, recipes, evaluations.")
    ] = Path("benchmark.toml"),
    output: Annotated[
        Path | None,
        typer.Option("--out", help="The benchmark's folder. Default: ./benchmarks/ and the name of SPEC."),
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Write SPEC from the datasets and runs below this folder, and stop.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the cells, those that are done, and about how long the rest takes.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The results.parquet of an earlier benchmark to compare with."),
    ] = None,
    allow_shared: Annotated[
        bool,
        typer.Option(
            "--allow-shared",
            help="Go on although two datasets share pictures or people; their rows say so.",
            rich_help_panel="Data",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at a time. Default: one a core, or one a GPU.", rich_help_panel="Compute"),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: this machine. ray: the cluster at RAY_ADDRESS.", rich_help_panel="Compute"),
    ] = "local",
    device: Device = "auto",
) -> None:
    """Compare recipes on datasets: within each, across them, with fewer subjects; with intervals and tests.

    fer benchmark --init      # write benchmark.toml from ./data and ./runs

    fer benchmark --plan      # which cells, and about how long they take

    fer benchmark             # compute what is not there yet

    fer benchmark faces.toml --jobs 4 --against benchmarks/earlier/results.parquet

    A cell is a recipe trained and tested on datasets, with a seed and a draw of the folds. Each is computed once: what
    was interrupted goes on by the same line, and a cell that failed is a row with its reason. The results are a page,
    tables, and results.parquet.
    """
    from fer_cli.benchmark import runner
    from fer_cli.benchmark.engines import at_a_time
    from fer_cli.benchmark.results import read_results
    from fer_cli.benchmark.specification import Specification

    if init:
        _init(specification)
        return
    folder = output or BENCHMARKS / specification.stem
    chosen = Specification.open(specification)
    if plan:
        runner.refuse_other(folder)
        _show_plan(runner.plan_of(chosen, folder)[0], at_a_time(engine, jobs, device))
        return
    if engine == "ray":
        # Else it is missed only after datasets have been searched for shared pictures.
        require("ray", "--engine ray", UsageError)
    earlier = None if against is None else read_results(against)
    with Bars() as bars:
        found = runner.run(
            chosen,
            folder,
            jobs=jobs,
            device=device,
            engine=engine,
            allow_shared=allow_shared,
            earlier=earlier,
            command=shlex.join(["fer", *sys.argv[1:]]),
            progress=bars,
        )
    _show(found, chosen)
    if found.changes is not None:
        _show_changes(found.changes, against, chosen.metric)
    _end(found.table, folder)


def _init(specification: Path) -> None:
    from fer_cli.benchmark.specification import initial
    from fer_cli.files import write_text

    if specification.exists():
        raise UsageError(
            f"{specification} is there already.", hint=f"Type fer benchmark {specification}, or another name."
        )
    write_text(specification, initial(specification.absolute().parent))
    say(f"written   {specification}: look through it, then")
    say(f"next      {shlex.join(['fer', 'benchmark', str(specification), '--plan'])}", whole=True)


def _show_plan(plan: "Plan", workers: int) -> None:
    from fer_cli.benchmark.runner import duration

    if not out.is_terminal:
        for cell in plan.cells:
            estimate = plan.estimates.get(cell.digest)
            state = ("done", "", "") if estimate is None else ("to do", f"{estimate.seconds:.0f}", _sure(estimate))
            give(cell.digest, cell.title, *state)
        return
    rows: dict[tuple[str, str, str], list[Any]] = {}
    for cell in plan.cells:
        where = cell.test if cell.train in ((), (cell.test,)) else f"{' + '.join(cell.train)} → {cell.test}"
        rows.setdefault((cell.evaluation, where, cell.recipe), []).append(cell)
    table = _table(("evaluation", "datasets", "recipe"), "cells", "done", "time")
    for names, cells in rows.items():
        left = [cell for cell in cells if cell.digest not in plan.done]
        guessed = any(not plan.estimates[cell.digest].measured for cell in left)
        time = f"{'~' if guessed else ''}{duration(plan.seconds(left))}" if left else ""
        table.add_row(*names, str(len(cells)), str(len(cells) - len(left)), time)
    out.print(table)
    say(f"cells     {len(plan.cells)}, {len(plan.done)} of them done")
    if plan.estimates:
        how = "as cells like them took" if plan.measured else "~ is a guess by rows and epochs on a slow core"
        time = duration(plan.remaining(workers))
        say(f"time      about {time} with {figures.quantity(workers, 'cells')} at a time: {how}")


def _table(left: tuple[str, ...], *right: str) -> Any:
    """A table whose first columns stand to the left."""
    table = figures.plain(*left, *right)
    for column in table.columns[: len(left)]:
        column.justify, column.no_wrap = "left", False
    return table


def _sure(estimate: Any) -> str:
    return "measured" if estimate.measured else "guess"


def _show(found: "Findings", specification: "Specification") -> None:
    """A table an evaluation: each recipe on each dataset, with its interval, and the rank that the tests support."""
    from fer_cli.benchmark.tables import figure, sheets
    from fer_cli.evaluation.metrics import METRICS

    metric = METRICS[specification.metric]
    out.print(Text(specification.title, style="bold"))
    for sheet in sheets(found.table, found.ranks, metric.name):
        out.print()
        several = any(entry.draws > 1 for *_, entries in sheet.rows for entry in entries if entry)
        subjects = ["people"] if sheet.with_subjects else []
        spread = ["over draws"] if several else []
        shown = _table(("tested on", "recipe", "neutral"), *subjects, metric.short, *spread, "rank")
        shown.title, shown.title_justify, shown.title_style = Text(sheet.title), "left", "bold"
        for place, test in enumerate(sheet.tests):
            for recipe, neutral, people, entries in sheet.rows:
                if (entry := entries[place]) is None or not entry.draws:
                    continue
                cells = [test, recipe, neutral, *([str(people or "")] if subjects else [])]
                cells.append(figures.with_interval(entry.value, entry.low, entry.high, metric.percent))
                if several:
                    cells.append(f"± {figure(entry.spread, metric)} ({entry.draws})" if entry.draws > 1 else "")
                ranks = "" if entry.ranks is None else "–".join(map(str, dict.fromkeys(entry.ranks)))
                shown.add_row(*cells, ranks)
        out.print(shown)
    out.print(Text(_LEGEND, style="italic"))
    for sentence in found.sentences[:_SENTENCES]:
        warn(sentence)
    if len(found.sentences) > _SENTENCES:
        warn(f"… and {len(found.sentences) - _SENTENCES} more on the page.")


def _show_changes(changes: "pd.DataFrame", earlier: Path, name: str) -> None:
    """What became of the cells of an earlier benchmark: how many of each kind, and those that differ."""
    from fer_cli.evaluation.metrics import METRICS

    metric = METRICS[name]
    counts = ", ".join(f"{count} {kind}" for kind, count in changes["change"].value_counts().items())
    out.print(Text(f"\nAgainst {earlier}: {counts}", style="bold"))
    differing = changes[changes["change"] == "changed"]
    if differing.empty:
        return
    shown = _table(("", "recipe", "neutral"), "before", "now", "difference")
    for row in differing.itertuples():
        where = row.test if row.train in ("", row.test) else f"{row.train} → {row.test}"
        shown.add_row(
            f"{row.evaluation}: {where}",
            *(row.recipe, row.neutral),
            figures.number(row.before, metric.percent),
            figures.number(row.now, metric.percent),
            figures.number(row.difference, metric.percent, signed=True),
        )
    out.print(shown)


def _end(table: "pd.DataFrame", folder: Path) -> None:
    """Name what failed and where the results are; raises where something failed."""
    from fer_cli.benchmark.page import PAGE
    from fer_cli.benchmark.results import RESULTS, pooled
    from fer_cli.benchmark.tables import MARKDOWN

    cells = pooled(table)
    bad = cells[cells["status"] == "failed"]
    reasons = bad.groupby("reason", sort=False)
    for reason, rows in list(reasons)[:_REASONS]:
        row = rows.iloc[0]
        where = row.test if row.train in ("", row.test) else f"{row.train} → {row.test}"
        more = f" (and {figures.quantity(len(rows) - 1, 'cells')} more)" if len(rows) > 1 else ""
        warn(f"failed: {row.recipe}, {row.evaluation}, {where}, neutral {row.neutral}{more}: {reason}")
    if len(reasons) > _REASONS:
        warn(f"… and {figures.quantity(len(reasons) - _REASONS, 'reasons')} more on the page.")
    say(f"results   {folder}: {RESULTS}, {MARKDOWN}", whole=True)
    say(f"page      {folder / PAGE}", whole=True)
    again = f"{figures.quantity(len(bad), 'cells')} of {len(cells)} failed"
    hint = "Type the same line again to try them again, with --jobs 1 if memory was short; the others are kept."
    if len(bad) == len(cells):
        raise FerError(f"{again}.", hint=hint)
    if len(bad):
        say(f"next      {again}. {hint}")
        raise typer.Exit(SOME_SKIPPED)
