"""``fer train``: a command a model."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fer_cli.cli import choose, figures, settings
from fer_cli.cli.console import Bars, out, say
from fer_cli.cli.evaluate import show, write_cards
from fer_cli.cli.help import Commands
from fer_cli.cli.settings import AllowSeen, Device, with_settings
from fer_cli.options import Session
from fer_cli.training.recipes import RECIPES
from fer_cli.training.recipes.base import Recipe

if TYPE_CHECKING:
    from fer_cli.evaluation.results import Evaluation
    from fer_cli.runs.run import CrossValidation, Run

app = Commands(
    no_args_is_help=True,
    help="Train a model on a prepared dataset, and test it on people whom it has not seen.\n\n"
    "fer train difference                # the latest dataset in ./data, fold 0\n\n"
    "fer train difference --cv           # every fold in turn, pooled\n\n"
    "fer train difference --recipe note  # published settings in place of ours",
)


def _command(kind: type[Recipe]) -> Callable[..., None]:
    def from_recipe(context: typer.Context, name: str | None) -> str | None:
        settings.defaults_from_recipe(context, kind, name)
        return name

    def from_file(context: typer.Context, path: Path | None) -> Path | None:
        settings.defaults_from_file(context, kind, path)
        return path

    def noting(name: str) -> Callable[[typer.Context, Any], Any]:
        def note(context: typer.Context, value: Any) -> Any:
            context.meta[name] = value
            # The two come in the order in which they are typed.
            if {"out", "resume"} <= context.meta.keys() and context.meta["resume"]:
                context.meta["out"] = choose.unfinished_run(context.meta["out"], kind.name)
                settings.defaults_from_unfinished(context, kind, context.meta["out"])
            return value

        return note

    published = " or ".join(kind.published)

    @with_settings(recipe=kind)
    def command(
        recipe: Any,
        context: typer.Context,
        based_on: Annotated[
            str | None,
            typer.Option(
                "--recipe",
                metavar="NAME",
                is_eager=True,
                callback=from_recipe,
                hidden=not kind.published,
                help=f"Published settings in place of ours: {published}.",
            ),
        ] = None,
        config: Annotated[
            Path | None,
            typer.Option(
                "--config",
                metavar="FILE",
                is_eager=True,
                callback=from_file,
                help="Settings from a TOML file or a run's run.json.",
            ),
        ] = None,
        data: Annotated[
            Path | None,
            typer.Option(help="The prepared dataset. Default: the latest in ./data.", rich_help_panel="Data"),
        ] = None,
        output: Annotated[
            Path | None,
            typer.Option(
                "--out", is_eager=True, callback=noting("out"), help="The run's folder. Default: a new one in ./runs."
            ),
        ] = None,
        cv: Annotated[
            bool,
            typer.Option("--cv", help="Test on every fold in turn, and pool the results.", rich_help_panel="Data"),
        ] = False,
        resume: Annotated[
            bool,
            typer.Option(
                "--resume",
                is_eager=True,
                callback=noting("resume"),
                help="Go on with the training in --out, or the latest.",
            ),
        ] = False,
        device: Device = "auto",
        allow_seen: AllowSeen = False,
    ) -> None:
        from fer_cli.distributed import barrier, broadcast, is_main_process, own_device, shutdown, world_size
        from fer_cli.models.device import choose_device, device_name
        from fer_cli.training.cross_validation import open_trained, train

        chosen = own_device(choose_device(device))
        say(f"device    {device_name(chosen)}" + (f", {world_size()} processes" if world_size() > 1 else ""))
        dataset = choose.dataset(data)
        recipe = choose.resolved(choose.stage_1(recipe, dataset, folds=cv), dataset)
        given = context.meta["out"] if resume else output
        path, finished = broadcast(choose.new_run(given, recipe, dataset, folds=cv), chosen)
        with Bars() as bars:
            if finished:
                trained = open_trained(path)
            else:
                trained = train(
                    recipe,
                    dataset,
                    path,
                    cross_validation=cv,
                    device=device,
                    allow_seen=allow_seen,
                    command=shlex.join(["fer", *sys.argv[1:]]),
                    progress=bars,
                )
            barrier()
            shutdown()
            if not is_main_process():
                return
            from fer_cli.evaluation.compare import compare_with_baseline
            from fer_cli.evaluation.evaluate import evaluate

            session = Session(device, allow_seen, progress=bars)
            evaluations = {name: evaluate(result, session=session) for name, result in trained.items()}
            unbeaten = [each for result in trained.values() for each in compare_with_baseline(result, choose.RUNS)]
        for name, evaluation in evaluations.items():
            _report(trained[name], evaluation)
        if len(evaluations) > 1:
            _compare(evaluations)
        for sentence in unbeaten:
            say(f"baseline  {sentence}")
        say(f"next      {_next(recipe, path, data, trained, cv=cv)}", whole=True)

    command.__doc__ = "\n\n".join([kind.__doc__ or "", *kind.examples])
    return command


def _next(
    recipe: Recipe, path: Path, data: Path | None, trained: "dict[str, Run | CrossValidation]", *, cv: bool
) -> str:
    """The line to type next, with what it would not find by itself."""
    if getattr(recipe, "stage", None) == 1:
        line = ["fer", "train", recipe.name, "--stage", "2"]
        line += ["--cv"] if cv else ["--fold", str(recipe.fold)] if recipe.fold else []
        line += ["--data", str(data)] if data else []
        return shlex.join([*line, "--encoder", str(path)] if path.parent != choose.RUNS else line)
    # Of several runs, and of one elsewhere, prediction needs to know which; of an ablation's the last sees everything.
    if len(trained) == 1 and not cv and path.parent == choose.RUNS:
        return "fer predict PICTURES"
    last: Any = [*trained.values()][-1]
    return shlex.join(["fer", "predict", "PICTURES", "--run", str(last.runs[0].path if cv else last.path)])


def _report(result: "Run | CrossValidation", evaluation: "Evaluation") -> None:
    best = result.card.get("best")
    if best is not None:
        kept = "epoch" if "epoch" in best else "C"
        of = f" of {result.card['recipe']['epochs']}" if kept == "epoch" else ""
        recall = f", average recall {best['val_uar']:.1%}" if "val_uar" in best else ""
        rule = result.card["epoch_rule"].removeprefix(f"{kept} by ")
        say(
            f"{kept:<9} {best[kept]:g}{of}: {rule} "
            f"(loss {best['val_loss']:.3f}, accuracy {best['val_accuracy']:.1%}{recall})"
        )
    show(evaluation)
    write_cards(result)


def _compare(evaluations: "dict[str, Evaluation]") -> None:
    """One table of several variants' metrics on the same faces."""
    from fer_cli.evaluation.metrics import headline_metrics

    headline = headline_metrics()
    table = Table("", *(metric.short for metric in headline), "faces", box=None, padding=(0, 2), header_style="dim")
    folds = any(evaluation.folds is not None for evaluation in evaluations.values())
    if folds:
        table.add_column("over folds")
    for name, evaluation in evaluations.items():
        cells = [figures.number(evaluation.value(metric.name), metric.percent) for metric in headline]
        cells.append(str(len(evaluation.predictions)))
        if folds:
            mean, deviation = evaluation.over_folds()
            cells.append(f"{mean:.1%} ± {deviation:.1%}")
        table.add_row(name, *cells)
    out.print(table)


def add_model(kind: type[Recipe]) -> None:
    """Give ``fer train`` the command of a recipe."""
    app.command(kind.name)(_command(kind))


for _kind in RECIPES:
    add_model(_kind)
