"""``fer people``: the people that ``fer predict --people`` remembers, shown, named, merged, split and forgotten."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fer_cli.cli.console import give, out, say
from fer_cli.cli.help import Commands
from fer_cli.errors import UsageError

if TYPE_CHECKING:
    from fer_cli.prediction.people.store import PeopleStore, Person

app = Commands(no_args_is_help=True, help="""The people that fer predict --people DIR remembers from album to album.

    fer predict album-1 --people people --out album-1.csv

    fer people list people

    fer people rename people person-3 Anna

    fer people merge people person-3 person-7  # person-7 is person-3 from now on

    fer people sheet people --out people.png

    A store holds face embeddings and pictures of faces: personal data. It is one file in DIR, and nothing leaves it
    but what these commands write.""")  # fmt: skip

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that fer predict --people wrote.")]
Who = Annotated[str, typer.Argument(metavar="ID", help="An id such as person-3, or a name.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
#: The columns of ``export``, a row a picture; people without a picture have one row.
COLUMNS: dict[str, type] = {
    **{"person": str, "name": str, "faces": int, "albums": int, "first_seen": str, "last_seen": str},
    **{"picture": str, "label": str, "score": float, "is_probability": bool},
}
EMBEDDINGS: dict[str, type] = {"embedding": str, "centroid": str}


@app.command("list")
def list_people(folder: Folder) -> None:
    """List the people: id, name, faces, albums, dates of first and last use, neutral pictures and how sure those are.

    Into a pipe they go as a table with tabs, whose first line names the columns.

    fer people list people

    fer people list people | cut -f 1,3
    """
    with _open(folder) as store:
        people = store.people()
    names = ("id", "name", "faces", "albums", "first seen", "last seen", "neutral", "sure")
    if not out.is_terminal:
        give(*(name.replace(" ", "_") for name in names))
        for person in people:
            give(*_cells(person))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, justify="right" if name in ("faces", "albums", "neutral", "sure") else "left")
    for person in people:
        table.add_row(*map(str, _cells(person)))
    out.print(table)
    say(f"{len(people)} people in {store.path}")


@app.command("show")
def show(folder: Folder, who: Who) -> None:
    """Show one person: what is known, what was merged into it, and its pictures.

    fer people show people person-3
    """
    with _open(folder) as store:
        person = store.find(who)
        pictures = store.pictures(person.parts)
    give("id", person.id)
    give("name", person.name)
    give("faces", person.faces)
    give("albums", person.albums)
    give("first seen", person.first_seen)
    give("last seen", person.last_seen)
    if len(person.parts) > 1:
        give("merged", *_ids(person.parts[1:]))
    for picture in pictures:
        give(picture.label, f"{picture.score:.0%}" if picture.probability else "", picture.name)


@app.command("rename")
def rename(
    folder: Folder, who: Who, name: Annotated[str, typer.Argument(metavar="NAME", help="'' takes the name away.")]
) -> None:
    """Give a person a name. Rows keep the id, so that what was written before stays true.

    fer people rename people person-3 Anna
    """
    with _open(folder) as store:
        person = store.find(who)
        store.rename(person, name)
    say(f"renamed   {person.id}: {name or 'no name'}")


@app.command("merge")
def merge(
    folder: Folder,
    who: Who,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Who is the same person; this id leads to ID then.")],
) -> None:
    """Make two people one: the faces of OTHER become those of ID. fer people split undoes it.

    fer people merge people person-3 person-7
    """
    with _open(folder) as store:
        person, second = store.find(who), store.find(other)
        store.merge(person, second)
    say(f"merged    {second.id} is {person.id} from now on (fer people split {folder} {person.id} undoes it)")


@app.command("split")
def split(folder: Folder, who: Who) -> None:
    """Undo what was merged into a person: the others come back under their old ids, as they were.

    Faces that were added since are with whom they are most like.

    fer people split people person-3
    """
    with _open(folder) as store:
        person = store.find(who)
        back = store.split(person)
    if not back:
        raise UsageError(f"Nobody was merged into {person.id}.", hint=f"Type fer people list {folder}.")
    say(f"split     {', '.join(_ids(back))} {'are' if len(back) > 1 else 'is'} back, next to {person.id}")


@app.command("forget")
def forget(
    folder: Folder,
    who: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids or names.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete people: their names, embeddings and pictures are overwritten in the file.

    fer people forget people person-3

    fer people forget people --all --yes
    """
    if bool(who) == everybody:
        raise UsageError("Whom?", hint="Type ids or names, or --all.")
    with _open(folder) as store:
        people = (
            store.people() if everybody else list({each.number: each for each in map(store.find, who or ())}.values())
        )
        named = ", ".join(f"{person.id} {person.name}".strip() for person in people[:10])
        named += f" and {len(people) - 10} more" if len(people) > 10 else ""
        if people and not yes:
            if not sys.stdin.isatty():
                raise UsageError(f"This deletes {named} for ever.", hint="Type --yes to mean it.")
            typer.confirm(f"Delete {named} for ever?", abort=True, err=True)
        store.forget(people)
    say(f"forgotten {named or 'nobody'}")


@app.command("export")
def export(
    folder: Folder,
    output: Annotated[Path | None, typer.Option("--out", help="A .csv or .jsonl. Default: standard output.")] = None,
    row_format: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or parquet. Default: by the ending of --out, else csv.")
    ] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="With embeddings and centroids, as JSON.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the people and their pictures as a table, a row a picture; embeddings only if asked for.

    fer people export people --out people.csv

    fer people export people --format jsonl | head
    """
    from fer_cli.prediction.sinks.rows import format_of

    _refuse(output, overwrite)
    columns = {**COLUMNS, **(EMBEDDINGS if embeddings else {})}
    with _open(folder) as store, format_of(output, row_format)(output or sys.stdout, columns) as sink:
        for row in _rows(store):
            sink.add({name: row[name] for name in columns})
    if output is not None:
        say(f"exported  {output}")


@app.command("sheet")
def sheet(
    folder: Folder,
    who: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids or names. Default: everybody.")] = None,
    output: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("people.png"),
    overwrite: Overwrite = False,
) -> None:
    """Draw a contact sheet: of each person the neutral pictures, and the most telling one of each expression.

    fer people sheet people --out people.png
    """
    from fer_cli.files import write_bytes
    from fer_cli.prediction.people.sheet import MOST, contact_sheet, encoded

    _refuse(output, overwrite)
    with _open(folder) as store:
        people = [store.find(each) for each in who] if who else store.people()
        # Of too many for one picture, those who were seen most.
        drawn = people if len(people) <= MOST else sorted(people, key=lambda each: (-each.faces, each.number))[:MOST]
        picture = contact_sheet([(person, store.pictures(person.parts)) for person in drawn])
    write_bytes(output, encoded(picture, output))
    rest = f" ({len(people) - MOST} who were seen less are not on it)" if len(people) > MOST else ""
    say(f"sheet     {output}: {len(drawn)} people{rest}")


def _open(folder: Path) -> "PeopleStore":
    from fer_cli.prediction.people.store import PeopleStore

    return PeopleStore.open(folder)


def _refuse(output: Path | None, overwrite: bool) -> None:
    if output is not None and output.is_file() and not overwrite:
        raise UsageError(f"{output} is there already.", hint="Type --overwrite to replace it, or another name.")


def _cells(person: "Person") -> tuple[Any, ...]:
    sure = "" if person.sure is None else f"{person.sure:.0%}"
    seen = person.faces, person.albums, person.first_seen, person.last_seen
    return person.id, person.name, *seen, person.neutral, sure


def _ids(numbers: Any) -> list[str]:
    from fer_cli.prediction.people.store import ID

    return [f"{ID}{number}" for number in numbers]


def _rows(store: "PeopleStore") -> Iterator[dict[str, Any]]:
    centroids = dict(zip(*store.centroids(), strict=True))
    for person in store.people():
        total = sum(centroids[part] for part in person.parts)
        common = {
            **dict.fromkeys((*COLUMNS, *EMBEDDINGS)),
            **{"person": person.id, "name": person.name or None, "faces": person.faces},
            **{"albums": person.albums, "first_seen": person.first_seen, "last_seen": person.last_seen},
            "centroid": json.dumps((total / max(float((total**2).sum()) ** 0.5, 1e-12)).round(6).tolist()),
        }
        pictures = store.pictures(person.parts)
        for each in pictures:
            embedding = None if each.embedding is None else json.dumps(each.embedding.round(6).tolist())
            yield common | {
                **{"picture": each.name, "label": each.label, "score": round(each.score, 6)},
                **{"is_probability": each.probability, "embedding": embedding},
            }
        if not pictures:
            yield common
