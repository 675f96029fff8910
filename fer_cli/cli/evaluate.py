"""``fer evaluate``."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.text import Text

from fer_cli.cli import choose, figures
from fer_cli.cli.console import SOME_SKIPPED, Bars, out, say, warn
from fer_cli.cli.settings import AllowSeen, Device
from fer_cli.errors import UsageError
from fer_cli.options import Session

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from fer_cli.evaluation.results import Evaluation, Missing
    from fer_cli.runs.run import CrossValidation, Run

_RULES = (
    "Each frame counts, or each sequence: its frames' probabilities averaged, or their votes (of equally many the "
    "higher probability wins)."
)
#: For so many headline metrics of groups and gaps there is room on a terminal.
_ROOM = 2


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="The folder of a run or a cross-validation, or faces or faces-quick, packaged. Default: the latest in "
            "./runs.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Another prepared dataset to test on. Default: the run's own, on its test fold.",
            rich_help_panel="Data",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Evaluate this table of another program in place of a run, on --data: of py-feat, OpenFace 3, "
            "LibreFace, DeepFace, EmotiEffLib or fer predict.",
            rich_help_panel="Data",
        ),
    ] = None,
    split: Annotated[
        Literal["test", "val", "all"] | None,
        typer.Option(
            help="The test fold (the default), the validation fold that chose the epoch, or all (the default for "
            "another dataset).",
            rich_help_panel="Data",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Where the results go. Default: evaluation/ in the run.")
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            help="Metrics by group: a column of --subjects, such as gender. Repeatable.", rich_help_panel="Analysis"
        ),
    ] = None,
    subjects: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file of subjects, a row each, with a column 'subject' and those to group by.",
            rich_help_panel="Analysis",
        ),
    ] = None,
    sample_weight: Annotated[
        Literal["agreement"] | None,
        typer.Option(
            help="Metrics weighted by the share of votes that a sample's label has, too; and metrics by level of it.",
            rich_help_panel="Analysis",
        ),
    ] = None,
    identity_probe: Annotated[
        bool,
        typer.Option(
            "--identity-probe",
            help="Measure how well people can be identified from the embeddings.",
            rich_help_panel="Analysis",
        ),
    ] = False,
    explain: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Show in the report the saliency of N faces.", rich_help_panel="Analysis"
        ),
    ] = 0,
    embedding_map: Annotated[
        bool,
        typer.Option(
            "--map",
            help="Show in the report a map of the embeddings, by expression and by person.",
            rich_help_panel="Analysis",
        ),
    ] = False,
    neutral: Annotated[
        Literal["given", "mean"],
        typer.Option(
            help="What a paired model compares a face with: the labelled neutral picture, or the training's average.",
            rich_help_panel="Data",
        ),
    ] = "given",
    tta: Annotated[
        Literal["none", "flip"] | None,
        typer.Option(
            help="Average a picture and its mirror image, or not. Default: as the run was trained.",
            rich_help_panel="Compute",
        ),
    ] = None,
    device: Device = "auto",
    allow_seen: AllowSeen = False,
) -> None:
    """Evaluate a run on faces that it has not seen, or another program's predictions.

    Metrics come with 95 % intervals, per class, by sequence, by group.

    fer evaluate

    fer evaluate runs/difference-ckplus-fold0 --data data/mmi

    fer evaluate runs/difference-ckplus-cv --group-by gender --subjects subjects.csv

    fer evaluate --predictions pyfeat.csv --data data/mmi
    """
    if predictions is None:
        # Before torch is loaded, which takes seconds.
        chosen = choose.run(run)
    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.evaluation.analysis import AnalysisOptions
    from fer_cli.evaluation.evaluate import EvaluateOptions
    from fer_cli.evaluation.evaluate import evaluate as evaluate_run
    from fer_cli.evaluation.external import evaluate_predictions

    attributes = _attributes(group_by or [], subjects)
    analysis = AnalysisOptions(identity_probe, explain, embedding_map)
    if predictions is None:
        output = output or choose.output_of_packaged(run, "evaluation", data.name if data else "")
    else:
        of_a_run = {
            "RUN": run,
            "--identity-probe": identity_probe,
            "--explain": explain,
            "--map": embedding_map,
            "--tta": tta,
            "--neutral": neutral != "given",
            "--allow-seen-subjects": allow_seen,
        }
        _check_predictions(data, [name for name, value in of_a_run.items() if value])
    with Bars() as bars:
        session = Session(device, allow_seen, shlex.join(["fer", *sys.argv[1:]]), bars, tta)
        options = EvaluateOptions(data, split, output, attributes, analysis, sample_weight, neutral)
        if predictions is None:
            evaluation = evaluate_run(chosen, options, session)
        else:
            evaluation = evaluate_predictions(predictions, PreparedDataset.open(cast(Path, data)), options, session)
    show(evaluation)
    if predictions is None:
        write_cards(chosen)
    if evaluation.missing is not None:
        raise typer.Exit(SOME_SKIPPED)


def _check_predictions(data: Path | None, of_a_run: list[str]) -> None:
    if data is None:
        raise UsageError(
            "--predictions: which pictures they are of is not said.",
            hint="Type --data FOLDER with the prepared dataset.",
        )
    if of_a_run:
        raise UsageError(
            f"--predictions and {', '.join(of_a_run)}: a table of predictions has no model to run.",
            hint="Type either.",
        )


def write_cards(trained: "Run | CrossValidation") -> None:
    """Write the model card of a run, or of each run of a cross-validation, and say where it is."""
    from fer_cli.export.card import refresh
    from fer_cli.runs.run import Run

    if not isinstance(trained, Run):
        for run in trained.runs:
            refresh(run)
        say(f"cards     README.md in each run of {trained.path}")
    elif written := refresh(trained):
        say(f"card      {written}")


def show(evaluation: "Evaluation") -> None:
    """The evaluation's tables on standard output, and where its files are."""
    out.print(Text(evaluation.provenance.about, style="bold"))
    sequences = {f"sequence: {rule}": table for rule, table in evaluation.by_sequence.items()}
    out.print(_samples(evaluation))
    out.print()
    weighted = {} if evaluation.agreement is None else {"weighted by agreement": evaluation.agreement.metrics}
    # There is room for three columns.
    together = {} if sequences else weighted
    out.print(figures.metrics_table({"by frame": evaluation.metrics, **sequences, **together}))
    out.print(_chance(evaluation))
    out.print(Text(figures.legend(), style="italic"))
    if sequences:
        out.print(Text(_RULES, style="italic"))
    if evaluation.missing is not None:
        out.print(_missing(evaluation.missing))
    if evaluation.agreement is not None:
        if not together:
            out.print()
            out.print(figures.metrics_table(weighted))
        out.print(_expected(evaluation.agreement.expected))
    if evaluation.folds is not None:
        out.print(_over_folds(evaluation))
    for normalised in (False, True):
        out.print()
        out.print(figures.matrix(evaluation.confusion, normalised=normalised))
    out.print()
    out.print(figures.per_class(evaluation.per_class))
    out.print()
    out.print(_calibration(evaluation))
    if evaluation.groups is not None and evaluation.gaps is not None:
        _show_groups(evaluation.groups, evaluation.gaps)
    if evaluation.analysis.probes is not None:
        out.print()
        out.print(figures.probe_table(evaluation.analysis))
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
    from fer_cli.evaluation.subgroups import read_attributes

    return read_attributes(subjects, columns)


def _samples(evaluation: "Evaluation") -> str:
    predictions = evaluation.predictions
    subjects = predictions["subject"].nunique()
    people = f" of {figures.quantity(subjects, 'subjects')}" if subjects else ", subjects not known"
    return f"{figures.quantity(len(predictions), 'samples')}{people}"


def _missing(missing: "Missing") -> str:
    from fer_cli.evaluation.metrics import headline_metrics

    values = [
        f"{metric.short} {figures.row_with_interval(missing.metrics.loc[metric.name], metric.percent)}"
        for metric in headline_metrics()
    ]
    return "\n".join([f"{len(missing.pictures)} of {missing.total} pictures missing; counted as wrong:", *values])


def _chance(evaluation: "Evaluation") -> str:
    from fer_cli.evaluation.metrics import METRICS

    levels = (f"{METRICS[name].short} {figures.number(level, True)}" for name, level in evaluation.chance.items())
    return f"a guesser reaches at most (95 %): {', '.join(levels)}"


def _expected(expected: "pd.DataFrame") -> str:
    mean, most = (
        figures.row_with_interval(expected.loc[name], True) for name in ("expected_accuracy", "mean_agreement")
    )
    return (
        f"expected accuracy {mean}: mean share of votes for the predicted class\n"
        f"mean agreement {most}: mean share of votes for the label"
    )


def _over_folds(evaluation: "Evaluation") -> str:
    from fer_cli.evaluation.metrics import headline_metrics

    if evaluation.folds is None:
        return ""
    parts = []
    for metric in headline_metrics():
        sign = "%" if metric.percent else ""
        values = (figures.number(value, metric.percent) + sign for value in evaluation.over_folds(metric.name))
        parts.append(f"{metric.short} {' ± '.join(values)}")
    return (
        f"over {len(evaluation.folds)} folds, mean ± standard deviation: {', '.join(parts)}\n"
        f"accuracy by fold: {'  '.join(f'{share:.1%}' for share in evaluation.folds['accuracy'])}"
    )


def _calibration(evaluation: "Evaluation") -> str:
    calibration = evaluation.calibration
    if not calibration.defined:
        return "no calibration error: there are no probabilities"
    before = f"calibration error {calibration.ece:.1%}, log loss {calibration.nll:.3f}"
    if calibration.temperature is None:
        return f"{before} (no temperature)"
    mean = " (mean of the folds' own)" if evaluation.folds is not None else ""
    return (
        f"{before}\nat temperature {calibration.temperature:.2f}{mean}, fitted on {calibration.fitted_on} validation "
        f"faces: {calibration.ece_after:.1%}, {calibration.nll_after:.3f}"
    )


def _show_groups(groups: "pd.DataFrame", gaps: "pd.DataFrame") -> None:
    from fer_cli.evaluation.subgroups import AGREEMENT

    for attribute, rows in groups.groupby("attribute", sort=False):
        small = set(rows.loc[rows["small"], "group"])
        facts = {
            group: (f"{group}{' *' if group in small else ''}", str(own["n"].iloc[0]), str(own["subjects"].iloc[0]))
            for group, own in rows.groupby("group", sort=False)
        }
        out.print()
        out.print(_groups_table([str(attribute), "n", "subjects"], rows, "group", facts))
        own_gaps = gaps[(gaps["attribute"] == attribute) & ~gaps["group"].isin(small) & ~gaps["other"].isin(small)]
        if len(own_gaps):
            own_gaps = own_gaps.rename(columns={"difference": "value"})
            pairs = own_gaps[["group", "other"]].drop_duplicates().itertuples(index=False, name=None)
            titles = {pair: (" − ".join(pair),) for pair in pairs}
            out.print()
            out.print(_groups_table(["gap in points"], own_gaps, ["group", "other"], titles, signed=True))
        if small:
            where = "; gaps with it are not shown here, and are in gaps.csv" if attribute != AGREEMENT else ""
            out.print(f"* too few for a conclusion{where}")


def _groups_table(
    columns: list[str], rows: "pd.DataFrame", keys: str | list[str], titles: dict[Any, Any], *, signed: bool = False
) -> "Table":
    """A row a group or pair of groups: what ``titles`` has of it, then the first headline metrics."""
    from fer_cli.evaluation.metrics import headline_metrics

    metrics = headline_metrics()[:_ROOM]
    table = figures.plain(*columns, *(metric.short for metric in metrics))
    key: Any
    for key, own in rows.groupby(keys, sort=False):
        values = own.set_index("measure")[["value", "low", "high"]]
        cells = [figures.row_with_interval(values.loc[each.name], each.percent, signed=signed) for each in metrics]
        table.add_row(*titles[key], *cells)
    return table
