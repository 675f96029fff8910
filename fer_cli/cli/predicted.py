"""What a person sees of a prediction: a table of faces, what was left out, the sum."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.measure import Measurement
from rich.table import Table

from fer_cli.cli.console import err, out, say, warn

if TYPE_CHECKING:
    from fer_cli.prediction.outcomes import Outcome, Prediction
    from fer_cli.prediction.summary import Summary

#: The columns that a narrow terminal goes without, the first first.
DISPENSABLE = ("then", "compared with", "face", "confidence")
#: A width in which any row is whole.
MEASURED = 100_000
#: A terminal shows this many rows; all of them go to --out.
SHOWN = 50
#: What was left out is said so many times; all of it goes to --errors.
SAID = 20


class Shown:
    """Collects the first rows for a terminal, and says of what was left out as it comes."""

    def __init__(self, *, paired: bool = False):
        self._columns = ["file", "face", "label", "confidence", "then", *(["compared with"] if paired else [])]
        self._cells: list[dict[str, str]] = []
        self._said = self._rows = 0

    def write(self, outcome: "Outcome") -> None:
        """Take note of one."""
        for missed in outcome.missed:
            # Frames without a face are many, and nothing is wrong with them.
            if missed.fault or missed.frame is None:
                self._said += 1
                if self._said <= SAID:
                    where = "" if missed.number is None else f" face {missed.number}"
                    warn(f"{_shown(missed.path)}{where}: {missed.reason}")
        for prediction in outcome.predictions:
            self._rows += 1
            if self._rows <= SHOWN:
                self._cells.append(_cells(prediction))

    def finish(self, *, elsewhere: bool) -> None:
        """Show the table, where there is a terminal to show it on."""
        if self._said > SAID:
            warn(f"and {self._said - SAID} more like these" + ("" if elsewhere else "; --errors FILE takes them all"))
        if out.is_terminal:
            out.print(self._table())
            if self._rows > SHOWN:
                say(f"… and {self._rows - SHOWN} more" + ("" if elsewhere else "; --out FILE.csv takes them all"))

    def _table(self) -> Table:
        """The rows, in as many of the columns as the terminal has room for without cutting the others."""
        columns = list(self._columns)
        for spare in DISPENSABLE:
            table = _table_of(columns, self._cells)
            if Measurement.get(out, out.options.update(width=MEASURED), table).maximum <= out.width:
                break
            columns = [name for name in columns if name != spare]
        return _table_of(columns, self._cells)


def _table_of(columns: list[str], rows: list[dict[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        # A name that is wider than the terminal goes on in the next line.
        table.add_column(name, overflow="fold", no_wrap=name != "file")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def show_sum(summary: "Summary") -> None:
    """The counts by expression, on standard error."""
    if not summary.faces:
        return
    table = Table("expression", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("faces", justify="right")
    table.add_column("share", justify="right")
    for label, number in summary.labels.most_common():
        table.add_row(label, str(number), f"{number / summary.faces:.0%}")
    err.print(table)


def _cells(prediction: "Prediction") -> dict[str, str]:
    # A model of somebody else may know one class alone.
    second = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[1:2]
    where = "" if prediction.frame is None else f" at {prediction.time:.2f} s"
    return {
        "file": _shown(prediction.path) + where,
        "face": str(prediction.number),
        "label": prediction.label,
        "confidence": f"{prediction.confidence:.0%}",
        "then": "".join(f"{name} {share:.0%}" for name, share in second),
        "compared with": _neutral(prediction) if prediction.neutral else "",
    }


def _neutral(prediction: "Prediction") -> str:
    """The neutral face's name without its folder, and how surely it is neutral where that was found."""
    confidence = prediction.neutral_confidence
    return _shown(Path(prediction.neutral).name) + ("" if confidence is None else f" ({confidence:.0%} neutral)")


def _shown(path: object) -> str:
    """A name as a terminal may show it: one that is no text, or would move the cursor, with its bytes written out."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
