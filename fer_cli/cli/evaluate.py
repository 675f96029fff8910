"""``fer evaluate``."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from fer_cli.cli import choose, figures
from fer_cli.cli.console import Bars, out, say, warn
from fer_cli.cli.insight import probe_table
from fer_cli.cli.options import AllowSeen, Device
from fer_cli.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.evaluation.results import Evaluation
    from fer_cli.runs.run import CrossValidation, Run

_RULES = (
    "Each frame counts, or each sequence: its frames' probabilities averaged, or their votes (of equally many the "
    "higher probability wins)."
)
#: Of groups and gaps, the measures that a terminal shows.
_SHOWN = ("accuracy", "unweighted_average_recall")


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(help="The folder of a run, or of a cross-validation. Default: the latest run in ./runs."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Another prepared dataset to test on. Default: the run's own, on the fold held out."),
    ] = None,
    split: Annotated[
        Literal["test", "val", "all"] | None,
        typer.Option(
            help="The fold held out (the default), the validation fold that chose the epoch, or all (the default for "
            "another dataset)."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Where the results go. Default: evaluation/ in the run.")
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(help="Measures by group too: a column of --subjects, such as gender. May be given again."),
    ] = None,
    subjects: Annotated[
        Path | None,
        typer.Option(help="A CSV file with what is known of the subjects, a row each, keyed by a column 'subject'."),
    ] = None,
    identity_probe: Annotated[
        bool, typer.Option("--identity-probe", help="Measure how much of who someone is remains in the embeddings.")
    ] = False,
    explain: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show in the report what the answers for N faces rest on.")
    ] = 0,
    embedding_map: Annotated[
        bool, typer.Option("--map", help="Draw a map of the embeddings into the report, by expression and by person.")
    ] = False,
    device: Device = "auto",
    allow_seen: AllowSeen = False,
) -> None:
    """Judge a run on faces that it has not seen: every measure with its 95 % interval, by class, by sequence, by group.

    fer evaluate

    fer evaluate runs/difference-ckplus-fold0 --data data/mmi

    fer evaluate runs/difference-ckplus-cv --group-by gender --subjects subjects.csv
    """
    from fer_cli.evaluation.insight import Asked

    attributes = _attributes(group_by or [], subjects)
    chosen = choose.run(run)
    with Bars() as bars:
        evaluation = judge(
            chosen,
            data,
            split=split,
            out=output,
            device=device,
            allow_seen=allow_seen,
            attributes=attributes,
            asked=Asked(identity_probe, explain, embedding_map),
            command=shlex.join(["fer", *sys.argv[1:]]),
            progress=bars,
        )
    show(evaluation)


def judge(result: "Run | CrossValidation", data: Path | None = None, **settings: Any) -> "Evaluation":
    """Evaluate a run, or every run of a cross-validation together."""
    from fer_cli.evaluation.evaluate import evaluate
    from fer_cli.evaluation.pooled import evaluate_folds
    from fer_cli.runs.run import CrossValidation

    if not isinstance(result, CrossValidation):
        return evaluate(result, data, **settings)
    if data is not None:
        raise UsageError(
            f"{result.path} is a cross-validation, of which each run is tested on its own fold.",
            hint=f"Type fer evaluate {result.path / result.card['folds'][0]} --data {data} for one of its runs.",
        )
    return evaluate_folds(result, **settings)


def show(evaluation: "Evaluation") -> None:
    """The evaluation's tables on standard output, and where its files are."""
    out.print(Text(evaluation.about, style="bold"))
    sequences = {f"sequence: {rule}": table for rule, table in evaluation.by_sequence.items()}
    out.print(_samples(evaluation))
    out.print()
    out.print(figures.headline({"by frame": evaluation.measures, **sequences}))
    out.print(Text(figures.LEGEND, style="italic"))
    if sequences:
        out.print(Text(_RULES, style="italic"))
    if evaluation.folds is not None:
        out.print(_over_folds(evaluation))
    scores = evaluation.scores
    for normalised in (False, True):
        out.print()
        out.print(figures.matrix(scores, normalised=normalised))
    out.print()
    out.print(figures.by_class(scores, evaluation.per_class_intervals))
    out.print()
    out.print(_calibration(evaluation))
    if evaluation.groups is not None:
        _show_groups(evaluation.groups, evaluation.gaps)
    if evaluation.insight.probes is not None:
        out.print()
        out.print(probe_table(evaluation.insight))
    for note in evaluation.notes:
        warn(note)
    say(f"results   {evaluation.path}: metrics.json, predictions.csv, confusion and reliability as PNG, SVG and CSV")
    say(f"report    {evaluation.path / 'report.html'}")


def _attributes(columns: list[str], subjects: Path | None) -> "pd.DataFrame | None":
    if bool(columns) != (subjects is not None):
        raise UsageError(
            "--group-by and --subjects need each other: a column, and the table that it is in.",
            hint="Type, for example, --group-by gender --subjects subjects.csv.",
        )
    if subjects is None:
        return None
    from fer_cli.evaluation.attributes import read_attributes

    return read_attributes(subjects, columns)


def _samples(evaluation: "Evaluation") -> str:
    predictions = evaluation.predictions
    known = predictions["subject"].nunique()
    people = f" of {known} subjects" if known else ", subjects not known"
    return f"{len(predictions)} samples{people}"


def _over_folds(evaluation: "Evaluation") -> str:
    mean, deviation = evaluation.over_folds()
    recall = evaluation.over_folds("unweighted_average_recall")
    return (
        f"over {len(evaluation.folds)} folds, mean ± standard deviation: accuracy {mean:.1%} ± {deviation:.1%}, "
        f"average recall {recall[0]:.1%} ± {recall[1]:.1%}\n"
        f"accuracy by fold: {'  '.join(f'{share:.1%}' for share in evaluation.folds['accuracy'])}"
    )


def _calibration(evaluation: "Evaluation") -> str:
    found = evaluation.calibration
    before = f"calibration error {found.ece:.1%}, log loss {found.nll:.3f}"
    if found.temperature is None:
        return f"{before} (no temperature)"
    mean = " (mean of the folds' own)" if evaluation.folds is not None else ""
    return (
        f"{before}\nat temperature {found.temperature:.2f}{mean}, fitted on {found.fitted_on} validation faces: "
        f"{found.ece_after:.1%}, {found.nll_after:.3f}"
    )


def _show_groups(groups: "pd.DataFrame", gaps: "pd.DataFrame") -> None:
    called = [figures.CALLED[name][0] for name in _SHOWN]
    for attribute, rows in groups.groupby("attribute", sort=False):
        table = figures.plain(str(attribute), "n", "subjects", *called)
        for group, own in rows.groupby("group", sort=False):
            first, by_measure = own.iloc[0], own.set_index("measure")
            cells = [figures.with_interval(*by_measure.loc[name, ["value", "low", "high"]], True) for name in _SHOWN]
            table.add_row(f"{group}{' *' if first['small'] else ''}", str(first["n"]), str(first["subjects"]), *cells)
        out.print()
        out.print(table)
        small = set(rows.loc[rows["small"], "group"])
        own_gaps = gaps[(gaps["attribute"] == attribute) & ~gaps["group"].isin(small) & ~gaps["other"].isin(small)]
        if len(own_gaps):
            out.print()
            out.print(_gaps(own_gaps, called))
        if small:
            out.print("* too few to say anything; gaps with it are left out here, and are in gaps.csv")


def _gaps(gaps: "pd.DataFrame", called: list[str]) -> Any:
    table = figures.plain("gap in points", *called)
    for (group, other), own in gaps.groupby(["group", "other"], sort=False):
        by_measure = own.set_index("measure")
        cells = [
            figures.with_interval(*by_measure.loc[name, ["difference", "low", "high"]], True, signed=True)
            for name in _SHOWN
        ]
        table.add_row(f"{group} − {other}", *cells)
    return table
