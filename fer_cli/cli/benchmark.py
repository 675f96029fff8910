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

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.benchmark.runner import Plan
    from fer_cli.benchmark.specification import Specification

#: Where benchmarks go by default, each in a folder named for its specification.
BENCHMARKS = Path("benchmarks")
_LEGEND = (
    "In %, in brackets the 95 % interval of a bootstrap over subjects. Neutral: what a face is compared with; a given "
    "neutral face is not what a single picture has. Over draws: mean ± deviation over seeds and draws of the folds."
)


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

    fer benchmark --init                 # write benchmark.toml from ./data and ./runs

    fer benchmark --plan                 # how many cells, and about how long

    fer benchmark                        # compute what is not there yet

    fer benchmark faces.toml --jobs 4 --against benchmarks/earlier/results.parquet

    A cell is a recipe trained and tested on datasets, with a seed and a draw of the folds. Each is computed once: what
    was interrupted goes on by the same line, and a cell that failed is a row with its reason. The results are a page,
    tables, and results.parquet.
    """
    from fer_cli.benchmark import runner
    from fer_cli.benchmark.engines import at_a_time
    from fer_cli.benchmark.results import against as compared_with
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
    earlier = None if against is None else read_results(against)
    with Bars() as bars:
        table = runner.run(
            chosen,
            folder,
            jobs=jobs,
            device=device,
            engine=engine,
            allow_shared=allow_shared,
            command=shlex.join(["fer", *sys.argv[1:]]),
            progress=bars,
        )
    _show(table, chosen)
    if earlier is not None:
        _show_changes(compared_with(table, earlier, chosen.metric), against, chosen.metric)
    _end(table, folder)


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
            known = ("done", "", "") if estimate is None else ("to do", f"{estimate.seconds:.0f}", _sure(estimate))
            give(cell.digest, cell.title, *known)
        return
    rows: dict[tuple[str, str, str], list[Any]] = {}
    for cell in plan.cells:
        where = cell.test if cell.train in ((), (cell.test,)) else f"{' + '.join(cell.train)} → {cell.test}"
        rows.setdefault((cell.evaluation, where, cell.recipe), []).append(cell)
    table = figures.plain("evaluation", "datasets", "recipe", "cells", "done", "time")
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


def _sure(estimate: Any) -> str:
    return "measured" if estimate.measured else "guess"


def _show(table: "pd.DataFrame", specification: "Specification") -> None:
    from fer_cli.benchmark.results import pooled
    from fer_cli.evaluation.metrics import METRICS

    metric = METRICS[specification.metric]
    done = pooled(table).query("status == 'done'")
    if done.empty:
        return
    out.print(Text(specification.title, style="bold"))
    several = done.groupby(_SAME, dropna=False, sort=False).size().max() > 1
    for evaluation, cells in done.groupby("evaluation", sort=False):
        out.print()
        shown = figures.plain(evaluation, "recipe", "neutral", metric.short, *(["over draws"] if several else []), "n")
        for (_, train, test, recipe, neutral, subjects), draws in cells.groupby(_SAME, dropna=False, sort=False):
            first = draws.iloc[0]
            where = test if train in ("", test) else f"{train} → {test}"
            where += "" if subjects != subjects else f", {subjects:.0f} subjects"
            values = [first[f"{metric.name}{end}"] for end in ("", "_low", "_high")]
            row = [where, recipe, neutral, figures.with_interval(*values, metric.percent)]
            if several:
                mean, deviation = draws[metric.name].mean(), draws[metric.name].std()
                spread = f" ± {figures.number(deviation, metric.percent)} ({len(draws)})"
                row.append(f"{figures.number(mean, metric.percent)}{spread}" if len(draws) > 1 else "")
            shown.add_row(*row, str(first["n"]))
        out.print(shown)
    out.print(Text(_LEGEND, style="italic"))


#: What the draws of one number have in common.
_SAME = ["evaluation", "train", "test", "recipe", "neutral", "train_subjects"]


def _show_changes(changes: "pd.DataFrame", earlier: Path, name: str) -> None:
    """What became of the cells of an earlier benchmark: how many of each kind, and those that differ."""
    from fer_cli.evaluation.metrics import METRICS

    metric = METRICS[name]
    counts = ", ".join(f"{count} {kind}" for kind, count in changes["change"].value_counts().items())
    out.print(Text(f"\nAgainst {earlier}: {counts}", style="bold"))
    differing = changes[changes["change"] == "changed"]
    if differing.empty:
        return
    shown = figures.plain("", "recipe", "neutral", "before", "now", "difference")
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
    from fer_cli.benchmark.results import MARKDOWN, RESULTS, pooled

    cells = pooled(table)
    bad = cells[cells["status"] == "failed"]
    for row in bad.itertuples():
        where = row.test if row.train in ("", row.test) else f"{row.train} → {row.test}"
        warn(f"failed: {row.recipe}, {row.evaluation}, {where}, neutral {row.neutral}: {row.reason}")
    say(f"results   {folder}: {RESULTS}, {MARKDOWN}", whole=True)
    say(f"page      {folder / PAGE}", whole=True)
    again = f"{figures.quantity(len(bad), 'cells')} of {len(cells)} failed"
    hint = "Type the same line again to try them again, with --jobs 1 if memory was short; the others are kept."
    if len(bad) == len(cells):
        raise FerError(f"{again}.", hint=hint)
    if len(bad):
        say(f"next      {again}. {hint}")
        raise typer.Exit(SOME_SKIPPED)
