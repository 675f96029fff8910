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
    """List the published weights that fer knows: whether they are here, where each comes from, and its licence.

    fer weights list
    """
    from fer_cli.models.weights import ALL

    if not out.is_terminal:
        for name, weights in ALL.items():
            give(name, weights.place() or "", weights.home, weights.licence)
        return
    table = Table("name", "for", "here", "from", "licence", box=None, padding=(0, 2, 1, 0), header_style="dim")
    for name, weights in ALL.items():
        place = weights.place()
        table.add_row(
            name, weights.used_for, str(place) if place else Text("no", "yellow"), weights.home, weights.licence
        )
    out.print(table)
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
    chosen = [find(name) for name in (FETCHABLE if everything else names)]
    with Bars() as bars:
        for weights in chosen:
            give(weights.name, weights.fetch(bars))


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="resnet50_ft_weight.pkl, as it was published.")],
) -> None:
    """Convert the published VGGFace2 identity weights, a pickle, to safetensors in the user's cache.

    The pickle is read without running what is in it, and every layer's shape is checked.

    fer weights import resnet50_ft_weight.pkl
    """
    from fer_cli.models.weights import import_weights

    give(import_weights(file))
    say("imported  use it with fer train disentangled --identity vggface2")
