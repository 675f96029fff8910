"""``fer export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fer_cli.cli import choose
from fer_cli.cli.console import Bars, give, say
from fer_cli.errors import UsageError
from fer_cli.files import locked


def export(
    run: Annotated[Path | None, typer.Argument(help="The folder of a run. Default: the latest in ./runs.")] = None,
    format: Annotated[Literal["onnx"], typer.Option(help="The file's format.")] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("--out", help="The file. Default: model.onnx in the run, or model-int8.onnx with --quantize."),
    ] = None,
    quantize: Annotated[
        bool,
        typer.Option(
            "--quantize",
            help="In 8-bit integers, their ranges taken from training faces; its accuracy on the test faces is "
            "shown next to the original's.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a run's model as one file for other programs, with labels, preprocessing and protocol in its metadata.

    It is checked, and compared with the run on random pictures and on test faces, before it is there.

    fer export

    fer export runs/difference-ckplus-fold0 --quantize --out difference.onnx
    """
    chosen = choose.run_to_use(run)
    path = output or chosen.path / f"model{'-int8' if quantize else ''}.{format}"
    from fer_cli.export.onnx import export as export_run

    with locked(path, "exporting to"):
        if path.exists() and not overwrite:
            raise UsageError(f"{path} is there already.", hint="Type --overwrite to replace it, or another --out.")
        with Bars() as bars:
            exported = export_run(chosen, path, quantize=quantize, progress=bars)
    if exported.accuracy is not None:
        say(f"int8      {exported.method}")
        say(
            f"accuracy  {exported.accuracy:.1%}, the original's {exported.original:.1%}, "
            f"on {exported.tested} test faces"
        )
    else:
        faces = "the dataset is gone, so on no faces"
        if exported.on_faces is not None:
            faces = f"{exported.on_faces:.0e} on {exported.faces} test faces"
        say(f"checked   probabilities differ from the run's by {exported.on_noise:.0e} on random pictures, {faces}")
    say(f"size      {path.stat().st_size / 1e6:.1f} MB")
    give(path)
