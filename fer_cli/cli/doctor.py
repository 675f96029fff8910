"""``fer doctor``."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fer_cli.cli.console import Bars, give, out, say
from fer_cli.cli.settings import Device

if TYPE_CHECKING:
    from fer_cli.doctor import Finding

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "bold red")}


def doctor(
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding, a line each.")] = False,
    network: Annotated[bool, typer.Option(help="Ask whether the Hugging Face Hub answers.")] = True,
) -> None:
    """Look for what is wrong with this machine and installation: each problem comes with what to type.

    Nothing is changed or downloaded. Exit code 1 if there is a problem.

    fer doctor

    fer doctor --json > doctor.jsonl    # for a report of a fault
    """
    from fer_cli.doctor import diagnose

    with Bars() as bars:
        findings = list(diagnose(device, network=network, progress=bars))
    if as_json or not out.is_terminal:
        for each in findings:
            give(json.dumps(each.to_dict()) if as_json else "\t".join(each.to_dict().values()))
    else:
        _show(findings)
    wrong = [each for each in findings if each.status == "problem"]
    notes = [each for each in findings if each.status == "note"]
    counts = f"{len(wrong)} problem{'s' * (len(wrong) != 1)}, {len(notes)} note{'s' * (len(notes) != 1)}"
    say(f"{counts} among {len(findings)} checks" + ("" if wrong or notes else ": all is well"))
    if wrong:
        raise typer.Exit(1)


def _show(findings: "list[Finding]") -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    topic = ""
    for each in findings:
        if each.topic != topic:
            topic = each.topic
            table.add_row("", Text(topic, style="bold"), "")
        value = Text(each.value)
        if each.hint:
            value.append(f"\n→ {each.hint}", style="dim" if each.status == "ok" else "")
        table.add_row(Text(*_MARKS[each.status]), each.name, value)
    out.print(table)
