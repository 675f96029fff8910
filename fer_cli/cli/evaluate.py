"""``fer evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli import choose
from fer_cli.cli.console import Bars, out, say, warn
from fer_cli.cli.options import Device

if TYPE_CHECKING:
    from fer_cli.evaluation.evaluate import Evaluation
    from fer_cli.evaluation.scores import Scores


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="The run's folder. Default: the latest in ./runs.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Another prepared dataset to test on. Default: the run's own, on the fold held out."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Where the results go. Default: evaluation/ in the run.")
    ] = None,
    device: Device = "auto",
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Test even on subjects that the model was trained on.")
    ] = False,
) -> None:
    """Judge a run on faces that it has not seen: scores, by class, and the confusion matrix.

    fer evaluate

    fer evaluate runs/difference-ckplus-fold0 --data data/mmi
    """
    from fer_cli.evaluation.evaluate import evaluate as judge

    chosen = choose.run(run)
    with Bars() as bars:
        evaluation = judge(chosen, data, out=output, device=device, allow_seen=allow_seen, progress=bars)
    show(evaluation)


def show(evaluation: "Evaluation") -> None:
    """The evaluation's tables on standard output, and where its files are."""
    scores = evaluation.scores
    title = Text(f"{evaluation.about}\n", style="bold")
    title.append(
        f"accuracy {scores.accuracy:.1%}   unweighted average recall {scores.recall:.1%}   "
        f"macro-F1 {scores.macro_f1:.1%}   {len(evaluation.predictions)} faces",
        style="not bold",
    )
    out.print(title)
    out.print(_matrix(scores))
    for note in evaluation.notes:
        warn(note)
    say(f"results   {evaluation.path}: metrics.json, predictions.csv, confusion.png, confusion.csv")


def _matrix(scores: "Scores") -> Table:
    """The confusion matrix with precision, recall and F1 beside it; columns bear the first letters of the classes."""
    table = Table("true ↓ as →", box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in scores.classes:
        table.add_column(name[:4], justify="right")
    for name in ("recall", "prec.", "F1"):
        table.add_column(name, justify="right")
    for row, name in enumerate(scores.classes):
        counts = scores.confusion[row]
        cells = [_cell(count, counts.sum(), row == column) for column, count in enumerate(counts)]
        measures = scores.per_class.loc[name]
        figures = [f"{share:.0%}" if share == share else "–" for share in measures[["recall", "precision", "f1"]]]
        table.add_row(name, *cells, *figures)
    return table


def _cell(count: int, total: int, right: bool) -> Text:
    if not count:
        return Text("·", style="dim")
    share = count / total
    return Text(str(count), style=("bold green" if right else "red" if share >= 0.2 else "yellow"))
