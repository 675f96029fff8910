"""The program ``fer``: its commands, the demo that types them in turn, and what happens when one fails."""

import errno
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

import fer_cli
from fer_cli import files
from fer_cli.cli import benchmark, compare, doctor, evaluate, export, people, predict, prepare, push, train, weights
from fer_cli.cli.console import INTERRUPTED, discard, err, print_error, say, use_utf8, warn
from fer_cli.cli.help import Commands, Group
from fer_cli.errors import DiskFullError, FerError
from fer_cli.files import disk_full_reason


class _Program(Group):
    """Turns errors into a sentence on standard error and an exit code, with no traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which they are used."""
        return [
            "prepare",
            "train",
            "evaluate",
            "compare",
            "benchmark",
            "predict",
            "people",
            "export",
            "push",
            "weights",
            "doctor",
            "demo",
        ]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FerError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            # As rows go to head, say: the reader has read enough, and no more is to be done.
            discard(sys.stdout)
        except KeyboardInterrupt:
            say("\nStopped. What is done is kept: type the same line again to continue from there.")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            reported = _disk_error(error)
            if reported is None:
                raise
            print_error(reported)
            raise typer.Exit(reported.exit_code) from error


def _disk_error(error: Exception) -> FerError | None:
    """The report of an unforeseen error of a file or a full disk; None if it is a fault of the program."""
    reason = disk_full_reason(error)
    if reason is not None:
        return DiskFullError.at(getattr(error, "filename", None) or "", reason)
    if isinstance(error, OSError) and error.errno != errno.EPIPE and error.filename is not None:
        return FerError(f"{error.filename}: {error.strerror}.")
    return None


app = Commands(
    name="fer",
    cls=_Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 typed wrongly, 3 done with some inputs skipped.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"fer {fer_cli.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Facial expression recognition: prepare a corpus, train a model, evaluate it, predict on pictures.

    [bold]fer demo[/] shows the whole path in a few minutes, on drawn faces.
    """
    if files.temporary_home is not None:
        warn(
            f"This user has no home folder: what is fetched is kept in {files.temporary_home} until this ends. Set "
            "HOME to a folder that stays."
        )


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder for everything.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Six people and two epochs: does it run at all?")] = False,
) -> None:
    """Draw a corpus, prepare it, train on it, evaluate, and predict: the whole path, in a folder of its own.

    Typed again, it continues where it was interrupted.

    fer demo

    fer demo --quick    # does this installation work?
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
    few = ["--subjects", "6", "--folds", "3"] if quick else []
    line("prepare", "synthetic", corpus, "--frames", "4", *few, "--out", data)
    if not (run / "run.json").is_file():
        line(
            *("train", "difference", "--data", data, "--out", run),
            *("--encoder", "scratch", "--backbone", "mobilenet_v3_small", "--size", "64" if quick else "96"),
            *("--epochs", "2" if quick else "24", "--lr", "0.002"),
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


app.add_typer(prepare.app, name="prepare")
app.add_typer(train.app, name="train")
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("benchmark")(benchmark.benchmark)
app.command("predict")(predict.predict)
app.add_typer(people.app, name="people")
app.command("export")(export.export)
app.command("push")(push.push)
app.add_typer(weights.app, name="weights")
app.command("doctor")(doctor.doctor)
app.command("demo")(demo)


def run() -> None:
    """Run the program on the command line's arguments."""
    use_utf8()
    app()
