"""``fer predict``."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from fer_cli.cli import choose
from fer_cli.cli.console import SOME_LEFT_OUT, Bars, out, say, warn
from fer_cli.cli.options import DetectorModel, Device

if TYPE_CHECKING:
    from fer_cli.prediction.predict import Prediction

#: A terminal shows this many rows; all of them go to --out.
SHOWN = 50


def predict(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Pictures, and folders of pictures.")],
    run: Annotated[Path | None, typer.Option(help="The run whose model to use. Default: the latest in ./runs.")] = None,
    neutral: Annotated[
        Path | None, typer.Option(help="A picture of the same person's neutral face, which paired models need.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="A CSV file. Default: a table here, or CSV where output is piped.")
    ] = None,
    detector: Annotated[
        Literal["auto", "none"],
        typer.Option(help="auto: find the faces, all of them. none: each picture is a face already cropped."),
    ] = "auto",
    detector_model: DetectorModel = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out.")] = False,
) -> None:
    """Name the expression of every face in pictures and folders: one row a face, with every class's probability.

    fer predict ./images --out predictions.csv

    fer predict anna-1.jpg anna-2.jpg --neutral anna-at-rest.jpg
    """
    from fer_cli.errors import UsageError
    from fer_cli.models.classifier import Classifier
    from fer_cli.models.device import device_name
    from fer_cli.prediction.predict import Missed, Predictor
    from fer_cli.prediction.sources import pictures

    if output is not None and output.exists() and not overwrite:
        raise UsageError(f"{output} is there already.", mend="Type --overwrite to replace it, or another --out.")
    chosen = choose.run_for(run, neutral)
    classifier = Classifier.load(chosen.path, device)
    say(f"device    {device_name(classifier.device)}")
    cropped = detector == "none" or classifier.preprocessing.face_crop.get("detector") == "none"
    if cropped:
        say("faces     each whole picture is taken as a face")
    predictor = Predictor(classifier, detect=not cropped, detector_model=detector_model)
    paths = list(pictures(sources))
    missed: list[Missed] = []
    shown = Table("file", "face", "label", "confidence", "then", box=None, padding=(0, 2), header_style="dim")
    rows = 0
    with Bars() as bars, _sink(output, classifier.classes) as sink:
        for outcome in predictor.predict(paths, neutral, progress=bars):
            if isinstance(outcome, Missed):
                missed.append(outcome)
                continue
            rows += 1
            if sink is not None:
                sink.write(outcome)
            if rows <= SHOWN:
                shown.add_row(*_cells(outcome))
    if out.is_terminal:
        out.print(shown)
        if rows > SHOWN:
            say(f"… and {rows - SHOWN} more" + ("" if output else "; --out FILE.csv takes them all"))
    for miss in missed:
        warn(f"{miss.path}: {miss.reason}")
    say(f"{rows} faces in {len(paths) - len(missed)} of {len(paths)} pictures" + (f": {output}" if output else ""))
    if any(miss.fault for miss in missed):
        raise typer.Exit(SOME_LEFT_OUT if rows else 1)


def _sink(output: Path | None, classes: tuple[str, ...]) -> AbstractContextManager:
    """Where the rows go: the file of ``--out``, else standard output where it is piped, else nowhere."""
    from fer_cli.prediction.table import CsvSink

    if output is not None:
        return CsvSink(output, classes)
    return nullcontext() if out.is_terminal else CsvSink(sys.stdout, classes)


def _cells(prediction: "Prediction") -> list[str]:
    second = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[1]
    return [
        str(prediction.path),
        str(prediction.number),
        prediction.label,
        f"{prediction.confidence:.0%}",
        f"{second[0]} {second[1]:.0%}",
    ]
