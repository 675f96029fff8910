"""``fer prepare CORPUS --check``."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli.console import SOME_LEFT_OUT, out, say
from fer_cli.corpora.corpus import Corpus
from fer_cli.dataset.preparation import Preparation

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.dataset.check import Check


def show_check(corpus: Corpus, root: Path, settings: Preparation) -> None:
    """Show what is at ``root`` against what the corpus's owners promise, every anomaly, and the folds."""
    from fer_cli.dataset.check import check

    checked = check(corpus, root, settings)
    plan = checked.plan
    say(f"corpus    {corpus.title} in {plan.root}")
    out.print(plan.protocol.name, style="bold")
    _show_counts(checked)
    _show("class", checked.classes)
    if plan.fold_of:
        _show("fold", checked.folds)
    else:
        say(f"{corpus.title} does not say who is shown, so that no subject-independent folds can be made of it.")
    for entry in checked.left_out:
        if entry["fault"]:
            out.print(f"{entry['count']}  {entry['reason']}", style="red")
            for path in entry["paths"]:
                out.print(f"     {path}", soft_wrap=True)
        else:
            out.print(f"{entry['count']}  left out: {entry['reason']}", soft_wrap=True)
    say("Nothing was written." + ("" if checked.as_promised else " Not every count is the one promised."))
    if plan.faults:
        raise typer.Exit(SOME_LEFT_OUT)


def _show_counts(checked: "Check") -> None:
    table = Table("", "found", "promised", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for what, row in checked.counts.iterrows():
        if row.isna()["promised"]:
            table.add_row(str(what), str(row["found"]), "–")
        else:
            style = "green" if row["found"] == row["promised"] else "yellow"
            table.add_row(str(what), Text(str(row["found"]), style), str(row["promised"]))
    out.print(table)


def _show(what: str, counts: "pd.DataFrame") -> None:
    table = Table(what, *counts.columns, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, row in counts.iterrows():
        table.add_row(str(name), *map(str, row))
    out.print(table)
