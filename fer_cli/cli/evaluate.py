"""``fer evaluate``."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli import choose
from fer_cli.cli.console import Bars, out, say, warn
from fer_cli.cli.insight import probe_table
from fer_cli.cli.options import AllowSeen, Device
from fer_cli.errors import UsageError

if TYPE_CHECKING:
    from fer_cli.evaluation.results import Evaluation
    from fer_cli.evaluation.scores import Scores
    from fer_cli.runs.cross_validation import CrossValidation
    from fer_cli.runs.run import Run


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(help="The folder of a run, or of a cross-validation. Default: the latest run in ./runs."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Another prepared dataset to test on. Default: the run's own, on the fold held out."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Where the results go. Default: evaluation/ in the run.")
    ] = None,
    identity_probe: Annotated[
        bool, typer.Option("--identity-probe", help="Measure how much of who someone is remains in the embeddings.")
    ] = False,
    explain: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show on the report what the answers for N faces rest on.")
    ] = 0,
    embedding_map: Annotated[
        bool, typer.Option("--map", help="Draw a map of the embeddings on the report, by expression and by person.")
    ] = False,
    device: Device = "auto",
    allow_seen: AllowSeen = False,
) -> None:
    """Judge a run on faces that it has not seen: scores, by class, and the confusion matrix.

    fer evaluate

    fer evaluate runs/difference-ckplus-fold0 --data data/mmi

    fer evaluate runs/difference-ckplus-cv
    """
    from fer_cli.evaluation.insight import Asked

    chosen = choose.run(run)
    with Bars() as bars:
        evaluation = judge(
            chosen,
            data,
            out=output,
            device=device,
            allow_seen=allow_seen,
            asked=Asked(identity_probe, explain, embedding_map),
            command=shlex.join(["fer", *sys.argv[1:]]),
            progress=bars,
        )
    show(evaluation)


def judge(result: "Run | CrossValidation", data: Path | None = None, **settings: Any) -> "Evaluation":
    """Evaluate a run, or every run of a cross-validation together."""
    from fer_cli.evaluation.evaluate import evaluate
    from fer_cli.evaluation.pooled import evaluate_folds
    from fer_cli.runs.cross_validation import CrossValidation

    if not isinstance(result, CrossValidation):
        return evaluate(result, data, **settings)
    if data is not None:
        raise UsageError(
            f"{result.path} is a cross-validation, of which each run is tested on its own fold.",
            mend=f"Type fer evaluate {result.path / result.card['folds'][0]} --data {data} for one of its runs.",
        )
    return evaluate_folds(result, **settings)


def show(evaluation: "Evaluation") -> None:
    """The evaluation's tables on standard output, and where its files are."""
    scores = evaluation.scores
    title = Text(f"{evaluation.about}\n", style="bold")
    title.append(
        f"accuracy {scores.accuracy:.1%}   unweighted average recall {scores.recall:.1%}   "
        f"macro-F1 {scores.macro_f1:.1%}   {len(evaluation.predictions)} faces",
        style="not bold",
    )
    if evaluation.folds is not None:
        mean, deviation = evaluation.over_folds()
        recall = evaluation.over_folds("unweighted_average_recall")
        title.append(
            f"\nover {len(evaluation.folds)} folds: accuracy {mean:.1%} ± {deviation:.1%}   "
            f"unweighted average recall {recall[0]:.1%} ± {recall[1]:.1%} (mean ± standard deviation)\n"
            f"by fold: {'  '.join(f'{share:.1%}' for share in evaluation.folds['accuracy'])}",
            style="not bold",
        )
    out.print(title)
    out.print(_matrix(scores))
    if evaluation.insight.probes is not None:
        out.print(probe_table(evaluation.insight))
    for note in evaluation.notes:
        warn(note)
    say(f"results   {evaluation.path}: metrics.json, predictions.csv, confusion.png, confusion.csv")
    say(f"report    {evaluation.path / 'report.html'}")


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
