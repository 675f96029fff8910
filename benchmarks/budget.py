"""Parts of a benchmark in processes of their own, within a budget of seconds, and the one table that they write."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

#: Seconds below which a part is not begun: importing torch takes as long.
LEAST = 15.0
#: The longest reason in the table, in characters.
LONGEST = 240
#: Errors that say no more than that another process has failed.
_SECOND_HAND = ("subprocess.CalledProcessError", "torch.distributed.elastic")


@dataclass(frozen=True)
class Row:
    """A row of the table: ``what`` was measured, its ``value`` and ``unit``; without a value the ``note`` says why."""

    part: str
    what: str = ""
    value: float | None = None
    unit: str = ""
    note: str = ""
    #: Whether a difference is within its tolerance; None for what is no difference.
    equal: bool | None = None


@dataclass(frozen=True)
class Part:
    """A part: its ``name``, its ``weight`` in sharing the time, and why it is ``refused``, if it is."""

    name: str
    weight: float = 1.0
    refused: str = ""


def share(left: float, weights: Sequence[float], least: float = LEAST) -> float:
    """Seconds for the first of parts with these ``weights``: its share of what is ``left``, but ``least`` at least.

    What a part does not use is shared by those after it. 0 where less than ``least`` is left.
    """
    return 0.0 if left < least else min(left, max(least, left * weights[0] / sum(weights)))


def run_parts(
    parts: Sequence[Part],
    launch: Callable[[Part, float], Iterable[Row]],
    until: float,
    clock: Callable[[], float] = time.time,
) -> Iterator[Row]:
    """The rows of ``parts``, each launched with its seconds, so that all end ``until`` then by the ``clock``."""
    for place, part in enumerate(parts):
        if part.refused:
            yield Row(part.name, note=f"not run: {part.refused}")
            continue
        seconds = share(until - clock(), [each.weight for each in parts[place:] if not each.refused])
        if seconds:
            yield from launch(part, seconds)
        else:
            yield Row(part.name, note="not run: no time left")


def run_process(part: Part, command: Sequence[str], rows: Path, log: Path, seconds: float) -> list[Row]:
    """The rows that a process of ``command`` appends to the file ``rows`` within so many ``seconds``.

    If it fails, or is ended because it takes longer, the last row is the reason; what it prints goes to ``log``.
    """
    rows.unlink(missing_ok=True)
    with log.open("wb") as printed, subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT) as process:
        try:
            reason = f"failed: {last_line(log)}" if process.wait(seconds) else ""
        except subprocess.TimeoutExpired:
            reason = f"ended after {seconds:.0f} s, its share of the time"
        finally:
            end(process.pid)
    found = []
    if rows.is_file():
        # A process that is ended while it writes leaves half a line.
        with suppress(ValueError):
            found.extend(Row(**json.loads(line)) for line in rows.read_text(encoding="utf-8").splitlines())
    return [*found, Row(part.name, note=reason)] if reason else found


def append(rows: Path, row: Row) -> None:
    """Append a row to the file that :func:`run_process` reads."""
    with rows.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def end(pid: int) -> None:
    """End a process and all that it has started: loaders, compilers, torchrun's processes."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=3)


def last_line(log: Path) -> str:
    """The last error of a log, or its last line, shortened."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    lines = [re.sub(r"^\[rank\d+\]: ", "", line) for line in lines]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    first_hand = [line for line in errors if not line.startswith(_SECOND_HAND)]
    return shortened((first_hand or errors or lines or ["it printed nothing"])[-1])


def shortened(text: str) -> str:
    """A text of one line that fits the table."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def write_table(folder: Path, title: str, facts: Mapping[str, str], rows: Sequence[Row]) -> Path:
    """Write ``table.md``, headed by ``facts``, and the same as JSON lines, the facts first, into ``folder``."""
    lines = [json.dumps({"facts": dict(facts)}), *(json.dumps(asdict(row)) for row in rows)]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "table.md"
    path.write_text(markdown(title, facts, rows), encoding="utf-8")
    return path


def markdown(title: str, facts: Mapping[str, str], rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    head = [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    table = ["| part | what | figure | | note |", "| --- | --- | ---: | --- | --- |"]
    for row in rows:
        verdict = {None: "", True: "equal", False: "**differs**"}[row.equal]
        cells = (row.part, row.what, figure(row), row.unit, "; ".join(filter(None, (verdict, row.note))))
        table.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*head, *table]) + "\n"


def figure(row: Row) -> str:
    """The value, with as many digits as say something."""
    if row.value is None:
        return ""
    if row.unit in ("absolute", "relative"):
        return f"{row.value:.1e}"
    return f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
