"""``fer demo``: the whole path on drawn faces."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from fer_cli.cli.console import err, say


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder for everything.")] = Path("demo"),
) -> None:
    """Draw a corpus, prepare it, train on it, evaluate, and predict: the whole path, in a folder of its own.

    Typed again, it continues where it was interrupted.
    """
    program = context.find_root().command

    def line(*words: str | Path) -> None:
        """Print a command as a person would type it, and run it."""
        arguments = [str(word) for word in words]
        err.print(f"\n$ fer {shlex.join(arguments)}", style="bold cyan", soft_wrap=True)
        code = program.main(arguments, prog_name="fer", standalone_mode=False)
        if code:
            raise typer.Exit(code)

    corpus, data, run = folder / "corpus", folder / "data" / "synthetic", folder / "runs" / "difference"
    predictions = folder / "predictions.csv"
    line("prepare", "synthetic", corpus, "--frames", "4", "--out", data)
    if not (run / "run.json").is_file():
        line(
            *("train", "difference", "--data", data, "--out", run),
            *("--encoder", "scratch", "--backbone", "mobilenet_v3_small", "--size", "96"),
            *("--epochs", "24", "--lr", "0.002"),
        )
    line("evaluate", run)
    faces, neutral = _held_out(run, data)
    line(
        *("predict", faces, "--neutral", neutral, "--run", run, "--detector", "none"),
        *("--out", predictions, "--overwrite"),
    )
    say("\nWhere to look:")
    for path, what in (
        (data, "the prepared dataset: metadata.csv, dataset.json, and the crops in images/"),
        (run, "the run: the model, run.json, epochs.csv"),
        (
            run / "evaluation" / "report.html",
            "the report on the test subjects: metrics, misclassified faces, reproduction",
        ),
        (predictions, "a prediction for each face of one of them"),
    ):
        err.print(Text.assemble("  ", (str(path), "bold"), "  ", what), soft_wrap=True)


def _held_out(run: Path, data: Path) -> tuple[Path, Path]:
    """The crops of a person whom the run is tested on, and that person's neutral face."""
    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.runs.run import Run

    rows = PreparedDataset.open(data).metadata
    subject = Run.open(run).card["subjects"]["test"][0]
    neutral = rows.loc[(rows["subject"] == subject) & (rows["role"] == "neutral"), "file_name"].iloc[0]
    return (data / neutral).parent, data / neutral
