"""``fer train``: a command a model."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_cli.cli import choose
from fer_cli.cli.console import Bars, say
from fer_cli.cli.evaluate import show
from fer_cli.cli.options import Device
from fer_cli.cli.settings import with_settings
from fer_cli.training.difference import DifferenceRecipe
from fer_cli.training.recipe import Recipe

app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Train a model on a prepared dataset, and test it on the fold held out.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _command(kind: type[Recipe]) -> Callable[..., None]:
    @with_settings(recipe=kind)
    def command(
        recipe: Any,
        data: Annotated[Path | None, typer.Option(help="The prepared dataset. Default: the latest in ./data.")] = None,
        output: Annotated[
            Path | None, typer.Option("--out", help="The run's folder. Default: a new one in ./runs.")
        ] = None,
        device: Device = "auto",
        allow_seen: Annotated[
            bool, typer.Option("--allow-seen", help="Start from a run even if it has seen subjects of the test fold.")
        ] = False,
    ) -> None:
        from fer_cli.evaluation.evaluate import evaluate
        from fer_cli.models.device import choose_device, device_name
        from fer_cli.training.fit import fit

        say(f"device    {device_name(choose_device(device))}")
        dataset = choose.dataset(data)
        path = choose.new_run(output, recipe, dataset)
        with Bars() as bars:
            run = fit(
                recipe,
                dataset,
                path,
                device=device,
                allow_seen=allow_seen,
                command=shlex.join(["fer", *sys.argv[1:]]),
                progress=bars,
            )
            evaluation = evaluate(run, device=device, allow_seen=allow_seen, progress=bars)
        best = run.card["best"]
        say(
            f"epoch     {best['epoch']} of {recipe.epochs}: {run.card['epoch_rule']} "
            f"({best['val_loss']:.3f}; accuracy there {best['val_accuracy']:.1%})"
        )
        show(evaluation)
        say("next      fer predict PICTURES" + (" --neutral PICTURE" if recipe.paired else ""))

    command.__doc__ = "\n\n".join([kind.__doc__, *kind.examples])
    return command


for _kind in (DifferenceRecipe,):
    app.command(_kind.name)(_command(_kind))
