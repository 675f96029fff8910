"""``fer export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fer_cli.cli import choose
from fer_cli.cli.console import Bars, give, say, warn
from fer_cli.errors import UsageError
from fer_cli.files import locked

if TYPE_CHECKING:
    from fer_cli.runs.run import Run


def export(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="The folder of a run, faces or faces-quick. Default: the latest in ./runs."),
    ] = None,
    format: Annotated[
        Literal["onnx", "package"],
        typer.Option(
            help="onnx: a file. package: a folder to publish, in float16, calibrated, without names of subjects."
        ),
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The file or folder. Default, in the run: model.onnx, model-int8.onnx with --quantize, or package.",
        ),
    ] = None,
    quantize: Annotated[
        bool,
        typer.Option(
            "--quantize",
            help="In 8-bit integers, their ranges taken from training faces; its accuracy on the test faces is "
            "shown next to the original's.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="A prepared dataset whose faces to compare and to quantize by. Default: the one trained on.",
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="With --format package, another evaluation for its card (fer evaluate --out). Repeatable.",
        ),
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --format package, a text to add to its card: licences, limits."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a run's model as one file for other programs, with labels, preprocessing and protocol in its metadata.

    It is checked, and compared with the run on random pictures and on test faces, before it is there.

    fer export

    fer export runs/difference-ckplus-fold0 --quantize --out difference.onnx

    fer export faces --quantize --data data/ferplus
    """
    if format == "package" and quantize:
        raise UsageError("--quantize is for --format onnx: a package holds weights in float16.")
    if format == "onnx" and (scores or notes):
        raise UsageError(f"{'--scores' if scores else '--notes'} is for --format package.")
    if format == "package" and data:
        raise UsageError("--data is for --format onnx.")
    chosen = choose.run_to_use(run)
    home = choose.output_of_packaged(run) or chosen.path
    if format == "package":
        _package(chosen, output or home / "package", scores or [], notes)
        return
    path = output or home / f"model{'-int8' if quantize else ''}.onnx"
    from fer_cli.export.onnx import export as export_run

    with locked(path, "exporting to"):
        if path.exists() and not overwrite:
            raise UsageError(f"{path} is there already.", hint="Type --overwrite to replace it, or another --out.")
        with Bars() as bars:
            exported = export_run(chosen, path, quantize=quantize, data=data, progress=bars)
    if exported.accuracy is not None:
        say(f"int8      {exported.method}")
        say(
            f"accuracy  {exported.accuracy:.1%}, the original's {exported.original:.1%}, "
            f"on {exported.tested} test faces"
        )
        say(f"checked   probabilities differ by up to {exported.on_faces:.3f} on {exported.faces} test faces")
        if exported.inexact:
            warn(f"int8 is less exact here than it should be: {exported.inexact} (docs/pretrained.md)")
    else:
        faces = "without its dataset on no faces"
        if exported.on_faces is not None:
            faces = f"{exported.on_faces:.0e} on {exported.faces} test faces"
        say(f"checked   probabilities differ from the run's by {exported.on_noise:.0e} on random pictures, {faces}")
    say(f"size      {path.stat().st_size / 1e6:.1f} MB")
    give(path)


def _package(run: "Run", out: Path, scores: list[Path], notes: Path | None) -> None:
    from fer_cli.export.package import package

    with locked(out, "exporting to"):
        made = package(run, out, scores=scores, notes=notes)
    say(f"softmax   temperature {made.temperature:.3f}, fitted on {made.fitted_on} validation faces")
    say(f"checked   in float16 probabilities differ from the run's by {made.rounding:.0e} on random pictures")
    say(f"size      {made.size / 1e6:.1f} MB")
    give(out)
