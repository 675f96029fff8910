"""``fer compare``."""

from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli import figures
from fer_cli.cli.choose import naming_runs, require_folders
from fer_cli.cli.console import out, say, warn
from fer_cli.files import locked

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.evaluation.compare import Comparison

_LEGEND = (
    "In %. In brackets the 95 % interval of a bootstrap over subjects. p: predictions exchanged between the runs for "
    "whole subjects at a time. McNemar's test takes frames for independent, and reports differences too often where a "
    "person has several."
)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of evaluated runs or cross-validations."),
    ],
    output: Annotated[
        Path | None, typer.Option("--out", help="A folder for comparison.csv, comparison.json and comparison.png.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the comparison in --out.")] = False,
) -> None:
    """Test whether runs differ, on the test samples that all of them have: differences, intervals, p, by class.

    fer compare runs/difference-ckplus-cv runs/vit-se-ckplus-cv

    fer compare runs/* --out comparison
    """
    # Before torch is loaded, which takes seconds.
    with naming_runs():
        require_folders(runs)
    from fer_cli.evaluation.compare import compare, refuse_overwriting, write_comparison

    if output is None:
        with naming_runs():
            comparison = compare(runs)
        _show(comparison)
        return
    with locked(output, "comparing into"):
        refuse_overwriting(output, overwrite=overwrite)
        with naming_runs():
            comparison = compare(runs)
        _show(comparison)
        write_comparison(comparison, output)
        say(f"results   {output}: comparison.csv, comparison.json, comparison.png")


def _show(comparison: "Comparison") -> None:
    letters = {name: _letter(place) for place, name in enumerate(comparison.runs)}
    same = len(set(comparison.abouts)) == 1
    for name, about in zip(comparison.runs, comparison.abouts, strict=True):
        out.print(Text.assemble((f"{letters[name]}  {name}", "bold"), "" if same else f"  {about}"))
    if same:
        out.print(Text(comparison.abouts[0]))
    people = figures.quantity(comparison.subjects, "subjects") if comparison.subjects else "people not known"
    out.print(f"{comparison.samples} samples of {people}, tested by all")
    several = len(comparison.runs) > 2
    for (first, second), rows in comparison.table.groupby(["first", "second"], sort=False):
        out.print()
        out.print(_pair(rows, letters[str(first)], letters[str(second)], several=several))
    out.print(Text(_LEGEND, style="italic"))
    out.print()
    differing = set(comparison.differing())
    for pair in comparison.table[["first", "second"]].drop_duplicates().itertuples(index=False, name=None):
        one, other = (letters[name] for name in pair)
        verdict = "their accuracies differ" if pair in differing else "no difference in accuracy is shown"
        out.print(Text(f"{one} and {other}: {verdict} at the 5 % level.", style="bold" if pair in differing else ""))
    for note in comparison.notes:
        warn(note)


def _pair(rows: "pd.DataFrame", first: str, second: str, *, several: bool) -> Table:
    from fer_cli.evaluation.metrics import METRICS

    table = figures.plain(f"{second} − {first}", first, second, "difference", "p", *(["p, Holm"] if several else []))
    row: Any
    for row in rows.itertuples():
        metric = METRICS.get(row.measure)
        percent = metric is None or metric.percent
        table.add_row(
            metric.short if metric else row.measure.replace(" of ", " "),
            figures.number(row.first_value, percent),
            figures.number(row.second_value, percent),
            figures.with_interval(row.difference, row.low, row.high, percent, signed=True),
            _p(row.p),
            *([_p(row.p_holm)] if several else []),
        )
    decided = rows.dropna(subset="mcnemar_p").iloc[0]
    counts = f"right only in {first} {decided['only_first']}, {second} {decided['only_second']}"
    holm = [_p(decided["mcnemar_p_holm"])] if several else []
    table.add_row("McNemar's test", "", "", counts, _p(decided["mcnemar_p"]), *holm)
    return table


def _p(value: float) -> str:
    if value != value:
        return ""
    return "<.001" if value < 0.001 else figures.number(value, False)


def _letter(place: int) -> str:
    return ascii_uppercase[place] if place < len(ascii_uppercase) else f"R{place + 1}"
