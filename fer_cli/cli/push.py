"""``fer push``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_cli.cli import choose
from fer_cli.cli.console import Bars, give, say, warn

if TYPE_CHECKING:
    from fer_cli.export.publish import Plan

#: So many lines of the card are shown.
_LINES = 40


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Its name on the Hugging Face Hub.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent: files, sizes, the card. Nothing is sent.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Make a repository that anybody can read. Default: a private one.")
    ] = False,
    licence: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Licence of the weights, such as cc-by-nc-4.0. other: none is stated, all rights are reserved.",
        ),
    ] = "other",
    permission: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Who permits publishing weights made from these corpora, and where that is written; for the card.",
        ),
    ] = "",
    scores: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Another evaluation for the card (fer evaluate --out). Repeatable."),
    ] = None,
    notes: Annotated[Path | None, typer.Option(metavar="FILE", help="A text to add to the card.")] = None,
) -> None:
    """Publish a run on the Hugging Face Hub: weights, preprocessing, run.json and the model card, and no face.

    Predictions of what is published are the run's. The names of subjects are replaced by hashes. Log in first, with
    hf auth login.

    fer push runs/difference-synthetic-fold0 anna/smiles --dry-run

    fer push runs/difference-synthetic-fold0 anna/smiles --licence cc-by-4.0 --public

    fer predict PICTURES --model anna/smiles
    """
    from fer_cli.export.card import Publication
    from fer_cli.export.publish import plan
    from fer_cli.export.publish import push as push_run

    chosen = choose.run_to_use(run)
    publication = Publication(repository, licence, permission)
    extra: dict[str, Any] = {"scores": tuple(scores or ()), "notes": notes}
    if dry_run:
        _show(plan(chosen, publication, **extra), publication.permission)
        say(f"visible   {'to everybody' if public else 'to you and those whom you let in (private)'}")
        say("dry run   nothing was sent")
        return
    with Bars() as bars:
        published = push_run(chosen, publication, public=public, progress=bars, **extra)
    _about_licence(published.plan.licence)
    if public and published.private:
        warn(f"{repository} was there and is private; it stays so until you change its settings on the Hub.")
    say(f"commit    {published.commit}{'' if published.changed else ': nothing has changed since'}")
    say(f"next      fer predict PICTURES --model {repository}", whole=True)
    give(published.url)


def _show(plan: "Plan", permission: str) -> None:
    for name, size in plan.files.items():
        give(name, size)
    say(f"size      {sum(plan.files.values()) / 1e6:.1f} MB in {len(plan.files)} files")
    lines = plan.card.splitlines()
    for line in lines[:_LINES]:
        say(f"README.md {line}", whole=True)
    say(f"README.md … {len(lines) - _LINES} more lines" if len(lines) > _LINES else "README.md ends")
    _about_licence(plan.licence)
    if plan.unpermitted:
        names = ", ".join(each.name for each in plan.unpermitted)
        state = (
            f"stated by you: {permission}" if permission else "missing, and so it would be refused: --permission TEXT"
        )
        say(f"permitted {names}: {state}")


def _about_licence(licence: str) -> None:
    meaning = ": none is stated, so all rights are reserved (--licence ID states one)" if licence == "other" else ""
    say(f"licence   {licence}{meaning}")
