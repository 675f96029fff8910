"""``fer predict``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_cli.cli import choose
from fer_cli.cli.console import SOME_LEFT_OUT, Bars, out, say
from fer_cli.cli.options import Device
from fer_cli.cli.predicted import Shown, show_sum
from fer_cli.cli.settings import with_settings
from fer_cli.prediction.request import Request

if TYPE_CHECKING:
    from fer_cli.prediction.summary import Summary


@with_settings(request=Request)
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
    neutral: Annotated[
        Path | None,
        typer.Option(
            help="The neutral face that paired models need: a picture of the person; or, of several people, a folder "
            "of pictures named for them or a CSV with the columns subject and file."
        ),
    ] = None,
    device: Device = "auto",
    request: Request = None,
) -> None:
    """Name the expression of every face in pictures and videos: one row a face, with every class's probability.

    fer predict ./images --out predictions.csv

    fer predict anna-1.jpg anna-2.jpg --neutral anna-at-rest.jpg

    find . -name '*.jpg' -print0 | fer predict - --format jsonl | head

    fer predict clip.mp4 --every 0.5s --smooth 1 --out clip.parquet --annotate drawn
    """
    from fer_cli.models.classifier import Classifier
    from fer_cli.models.device import device_name
    from fer_cli.prediction.given_neutral import given_neutral
    from fer_cli.prediction.perform import check, perform

    sources = sources or []
    request = check(sources, request)
    chosen = choose.run_for(run, neutral)
    classifier = Classifier.load(chosen.path, device)
    say(f"device    {device_name(classifier.device)}")
    if request.detector == "none" or classifier.preprocessing.face_crop.get("detector") == "none":
        say("faces     each whole picture is taken as a face")
    shown = Shown()
    try:
        with Bars() as bars:
            summary = perform(
                sources,
                request,
                classifier,
                make_neutral=None if neutral is None else lambda looker, _: given_neutral(neutral, looker),
                model=f"{chosen.path} {device_name(classifier.device)} {neutral}",
                stream=None if out.is_terminal else sys.stdout,
                shown=[shown],
                progress=bars,
            )
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
