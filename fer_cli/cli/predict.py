"""``fer predict``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_cli.cli import choose
from fer_cli.cli.console import INTERRUPTED, SOME_LEFT_OUT, Bars, out, say
from fer_cli.cli.options import Device
from fer_cli.cli.predicted import Shown, show_sum
from fer_cli.cli.settings import with_settings
from fer_cli.errors import UsageError
from fer_cli.models.choices import Runtime
from fer_cli.prediction.neutral_choice import AUTO, NeutralChoice
from fer_cli.prediction.request import Request

if TYPE_CHECKING:
    from fer_cli.prediction.summary import Summary


@with_settings(neutral=NeutralChoice, request=Request)
def predict(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Pictures, videos, folders of them, patterns ('a/**/*.jpg'), lists (.txt, or .csv with a column "
            "file), and - for names on standard input.",
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run whose model to use. Default: the latest in ./runs.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="In place of a run: any image classification model of the Hugging Face Hub, or of a folder.",
        ),
    ] = None,
    neutral: NeutralChoice = None,
    runtime: Annotated[
        Runtime,
        typer.Option(
            help="What computes. auto: ONNX Runtime on a CPU where it is faster, which is for convolutional networks; "
            "its graph is written once into the user's cache, and gives what torch gives within 1e-4."
        ),
    ] = "auto",
    device: Device = "auto",
    request: Request = None,
) -> None:
    """Name the expression of every face in pictures and videos: one row a face, with every class's probability.

    fer predict ./images --out predictions.csv

    fer predict anna-1.jpg anna-2.jpg --neutral anna-at-rest.jpg

    fer predict ./images --model ORG/NAME

    find . -name '*.jpg' -print0 | fer predict - --format jsonl | head

    fer predict clip.mp4 --every 0.5s --smooth 1 --out clip.parquet --annotate drawn
    """
    from fer_cli.distributed import own_device
    from fer_cli.models.device import choose_device, device_name
    from fer_cli.prediction.neutral import Neutrals
    from fer_cli.prediction.opened import open_model
    from fer_cli.prediction.perform import check, perform

    sources = sources or []
    request = check(sources, request)
    if model is not None and run is not None:
        raise UsageError("--run and --model: one of them is possible.")
    device = str(own_device(choose_device(device)))
    opened = open_model(model or choose.run_to_use(run).path, device=device, runtime=runtime)
    classifier = opened.classifier
    if opened.labels:
        say(f"model     {opened.name}: {opened.labels}")
    say(f"device    {device_name(classifier.device)}, {opened.runtime}")
    if not classifier.paired and neutral.neutral != AUTO:
        say("neutral   not used: this model looks at a face alone")
    if request.detector == "none" or classifier.preprocessing.face_crop.get("detector") == "none":
        say("faces     each whole picture is taken as a face")
    shown = Shown(paired=classifier.paired)
    try:
        with Bars() as bars:
            make_neutral = None
            if classifier.paired:
                make_neutral = Neutrals(neutral, opened, device=device, tell=say, progress=bars)
            summary = perform(
                sources,
                request,
                classifier,
                make_neutral=make_neutral,
                model=f"{opened.name} {device_name(classifier.device)} {opened.runtime.split()[0]} {neutral}",
                stream=None if out.is_terminal else sys.stdout,
                shown=[shown],
                progress=bars,
            )
    except KeyboardInterrupt:
        kept = (
            ""
            if request.out is None
            else " What is done is kept: type the same line with --resume to go on from there."
        )
        say(f"\nStopped.{kept}")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever reads has read enough. What Python would still write on its way out goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    shown.finish(elsewhere=request.out is not None)
    _say(summary, request)


def _say(summary: "Summary", request: Request) -> None:
    show_sum(summary)
    say(
        f"{summary.faces} faces in {summary.used} of {summary.shots} pictures"
        + (f": {request.out}" if request.out else "")
    )
    if summary.faults:
        if request.errors is not None:
            say(f"left out  {request.errors}")
        raise typer.Exit(SOME_LEFT_OUT if summary.faces else 1)
