"""``fer prepare``: a command a corpus."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli.choose import DATA
from fer_cli.cli.console import SOME_SKIPPED, Bars, err, out, say
from fer_cli.cli.figures import quantity
from fer_cli.cli.help import Commands
from fer_cli.cli.settings import with_settings
from fer_cli.corpora import corpora, detect
from fer_cli.corpora.base import Corpus
from fer_cli.dataset.pairing import UNPAIRED
from fer_cli.dataset.plan import Preparation
from fer_cli.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.dataset.prepare import Check, Prepared

app = Commands()


@app.callback(invoke_without_command=True)
def prepare(context: typer.Context) -> None:
    """Turn a corpus into a dataset: faces found, aligned, cropped, paired with their neutral, divided into folds.

    Without the name of a corpus, the one in the current folder is recognised by its layout.

    fer prepare ckplus ~/corpora/CK+

    fer prepare files ./photos --pattern '{label}/{subject}.jpg' --rename smiling=happiness
    """
    if context.invoked_subcommand is not None:
        return
    here = Path()
    found = detect(here)
    if len(found) == 1:
        [kind] = found
        say(f"corpus    {kind.title}, recognised in the current folder")
        _prepare(kind(), here, None, Preparation())
        return
    table = Table("type", "corpus", box=None, padding=(0, 2), title_justify="left")
    for name, kind in corpora().items():
        table.add_row(f"fer prepare {name}", kind.summary)
    err.print(table)
    what = f"{len(found)} corpora are" if found else "No corpus is"
    raise UsageError(
        f"{what} recognised in the current folder ({here.resolve()}).",
        hint="Type one of the lines above with the corpus's folder, such as: fer prepare ckplus FOLDER.",
    )


def _command(kind: type[Corpus]) -> Callable[..., None]:
    @with_settings(corpus=kind, settings=Preparation)
    def command(
        corpus: Any,
        settings: Any,
        root: Annotated[
            Path,
            typer.Argument(
                metavar="FOLDER", help="The corpus's folder." if kind.default_root == "." else "Where to make it."
            ),
        ] = Path(kind.default_root),
        output: Annotated[
            Path | None,
            typer.Option(
                "--out",
                help=f"Folder of the dataset. Default: ./{DATA}/ and the corpus's name.",
                rich_help_panel="Output",
            ),
        ] = None,
        check: Annotated[
            bool,
            typer.Option(
                "--check", help="Compare with the owners' counts and write nothing.", rich_help_panel="Output"
            ),
        ] = False,
    ) -> None:
        if check:
            show_check(corpus, root, settings)
        else:
            _prepare(corpus, root, output, settings)

    command.__doc__ = "\n\n".join([kind.summary, "[dim]" + kind.layout.replace("[", r"\[") + "[/]", *kind.examples])
    return command


def _prepare(corpus: Corpus, root: Path, output: Path | None, settings: Preparation) -> None:
    from fer_cli.dataset.prepare import prepare

    path = output or DATA / corpus.dataset_name(root)
    with Bars() as bars:
        prepared = prepare(corpus, root, path, settings, progress=bars)
    _show_prepared(prepared)
    if prepared.faults:
        raise typer.Exit(SOME_SKIPPED)


def _show_prepared(prepared: "Prepared") -> None:
    card = prepared.card
    counts = card["counts"]
    table = Table(
        title=card["protocol"]["name"], title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0)
    )
    table.add_row("found", ", ".join(quantity(count, what) for what, count in counts["found"].items()))
    used = [quantity(counts[what], what) for what in ("sequences", "subjects", "crops", "pairs") if counts[what]]
    table.add_row("used", ", ".join(used))
    table.add_row("classes", ", ".join(f"{name} {count}" for name, count in counts["per_class"].items()))
    if counts["pictures_with_several_faces"]:
        table.add_row("several", f"faces in {counts['pictures_with_several_faces']} pictures: the largest is taken")
    if counts.get("pictures_without_a_face"):
        table.add_row("no face", f"to align by in {counts['pictures_without_a_face']} pictures: taken as they are")
    if counts.get("without_label"):
        table.add_row("unlabelled", f"{counts['without_label']} training pictures, kept for their votes")
    for entry in prepared.skipped:
        example = f" (such as {entry['paths'][0]})" if entry["fault"] else ""
        mark = Text("unpaired" if _is_kept(entry) else "skipped", "red" if entry["fault"] else "")
        table.add_row(mark, f"{entry['count']}  {entry['reason']}{example}")
    out.print(table)
    made = f"{prepared.made} crops made now" if prepared.made else "it was complete already"
    say(f"dataset   {prepared.path} ({made})")
    if prepared.faults:
        say(f"{prepared.faults} inputs could not be used; {prepared.path / 'dataset.json'} lists them all.")
    say(f"next      {_next(prepared)}", whole=True)


def _is_kept(entry: dict[str, Any]) -> bool:
    """Whether the pictures have nothing to be compared with, and are in the dataset all the same."""
    return entry["reason"].endswith(UNPAIRED)


def _next(prepared: "Prepared") -> str:
    """The line to type next, or why there is none."""
    from fer_cli.dataset.prepared import PreparedDataset

    try:
        dataset = PreparedDataset.open(prepared.path)
        # Where each person has one neutral picture, it has no other to be compared with, and is a class all the same.
        pairs = dataset.metadata[dataset.metadata["neutral_file_name"].notna()]
        paired = set(dataset.protocol.classes) <= set(pairs["label"])
        dataset.split(0, paired=paired)
    except DatasetError as error:
        return f"it cannot be trained on: {error.message} {error.hint}".rstrip()
    return f"fer train difference{'' if paired else ' --features target'}"


def show_check(corpus: Corpus, root: Path, settings: Preparation) -> None:
    """Show the counts at ``root`` and those that the owners promise, every fault, and the folds."""
    from fer_cli.dataset.prepare import check

    checked = check(corpus, root, settings)
    plan = checked.plan
    say(f"corpus    {corpus.title} in {plan.root}")
    out.print(plan.protocol.name, style="bold")
    _show_counts(checked)
    _show_table("class", checked.classes)
    if plan.fold_of:
        _show_table("fold", checked.folds)
    else:
        say(f"{corpus.title} does not say who is shown, so that no subject-independent folds can be made of it.")
    for entry in checked.skipped:
        if entry["fault"]:
            out.print(f"{entry['count']}  {entry['reason']}", style="red")
            for path in entry["paths"]:
                out.print(f"     {path}", soft_wrap=True)
        else:
            what = "unpaired" if _is_kept(entry) else "skipped"
            out.print(f"{entry['count']}  {what}: {entry['reason']}", soft_wrap=True)
    say("Nothing was written." + ("" if checked.as_promised else " Not every count is the one promised."))
    if plan.faults:
        raise typer.Exit(SOME_SKIPPED)


def _show_counts(checked: "Check") -> None:
    table = Table("", "found", "promised", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for what, row in checked.counts.iterrows():
        if row.isna()["promised"]:
            table.add_row(str(what), str(row["found"]), "–")
        else:
            style = "green" if row["found"] == row["promised"] else "yellow"
            table.add_row(str(what), Text(str(row["found"]), style), str(row["promised"]))
    out.print(table)


def _show_table(what: str, counts: "pd.DataFrame") -> None:
    table = Table(what, *counts.columns, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, row in counts.iterrows():
        table.add_row(str(name), *map(str, row))
    out.print(table)


for _name, _kind in corpora().items():
    app.command(_name, short_help=_kind.summary)(_command(_kind))
