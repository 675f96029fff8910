"""``fer weights``: what others published, where it is, and how it gets here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli.console import Bars, give, out, say
from fer_cli.cli.help import Commands
from fer_cli.errors import UsageError

app = Commands(
    no_args_is_help=True,
    help="Published weights: what there is, where it comes from, and getting it here ahead of time.",
)


@app.command("list")
def list_weights() -> None:
    """List the published weights that fer knows, and the Hub's models that --model fetched.

    Of each: whether it is here, where it comes from, its licence, and who may use it for what.

    fer weights list
    """
    from fer_cli.models.weights import ALL, fetched_models

    for weights in (*ALL.values(), *fetched_models()):
        place = weights.place()
        if not out.is_terminal:
            give(weights.name, place or "", weights.home, weights.licence, weights.permission)
            continue
        out.print(Text(weights.name, "bold"))
        table = Table.grid(padding=(0, 2))
        for title, value in (
            ("for", weights.used_for),
            ("here", str(place) if place else Text("no", "yellow")),
            ("from", weights.home),
            ("licence", weights.licence),
            ("permission", weights.permission),
        ):
            table.add_row(Text(f"  {title}", "dim"), value)
        out.print(table)
    if out.is_terminal:
        say("fer weights fetch NAME gets what can be fetched; fer weights import FILE what only you can get.")


@app.command("fetch")
def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="As fer weights list names it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that can be fetched.")] = False,
) -> None:
    """Download weights ahead, for a container or a machine without a network. What is here already is checked.

    fer weights fetch vit-base-patch16-224-in21k yunet

    fer weights fetch --all
    """
    from fer_cli.models.weights import FETCHABLE, find

    if bool(names) == everything:
        raise UsageError("Which weights?", hint=f"Type --all, or names of {', '.join(FETCHABLE)}.")
    chosen = [find(name) for name in (FETCHABLE if everything else names or ())]
    with Bars() as bars:
        for weights in chosen:
            give(weights.name, weights.fetch(bars))


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As published: VGGFace2's .pkl, SFace's .onnx.")],
) -> None:
    """Bring identity weights that you got yourself into the user's cache: VGGFace2's pickle, or SFace's ONNX file.

    The pickle is read without running what is in it, every layer's shape is checked, and it becomes safetensors. The
    ONNX file is copied if its inputs and outputs are SFace's.

    fer weights import resnet50_ft_weight.pkl

    fer weights import face_recognition_sface_2021dec.onnx
    """
    from fer_cli.models import SFACE_SHA256
    from fer_cli.models.weights import digest, import_weights

    if file.suffix == ".onnx":
        from fer_cli.models.sface import import_sface

        imported = import_sface(file)
        give(imported)
        if digest(imported) != SFACE_SHA256:
            say("warning   this is not the file that was published: its checksum is another")
        say("imported  fer predict tells people apart by it")
        return
    give(import_weights(file))
    say("imported  use it with fer train disentangled --identity vggface2")
