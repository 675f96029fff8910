"""Tables of metrics for a terminal of 80 columns, on a dark or a light ground."""

import math
from typing import TYPE_CHECKING, Any

from rich.style import Style
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.evaluation.analysis import Analysis

#: The blues from none to all of a class, as in the picture of the matrix. Each cell brings its own ground and ink, so
#: that it reads alike whatever the terminal's colours are.
_BLUES = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
_COLUMNS = 80


def plain(*columns: str) -> Table:
    """A table without lines; all columns but the first stand to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=bool(place), overflow="fold")
    return table


def quantity(count: int, nouns: str) -> str:
    """``1 subject``, ``2 subjects``: a number of what ``nouns``, which end in -s, name."""
    return f"{count} {nouns.removesuffix('s') if count == 1 else nouns}"


def number(value: float, percent: bool, *, signed: bool = False) -> str:
    """``86.1`` per cent, or ``.861``; a dash for what is not defined."""
    if math.isnan(value):
        return "–"
    text = f"{100 * value:.1f}" if percent else f"{value:.3f}".replace("0.", ".", 1)
    return f"+{text}" if signed and value > 0 else text


def with_interval(value: float, low: float, high: float, percent: bool, *, signed: bool = False) -> Text:
    """``86.1 [80.2, 91.0]``."""
    text = number(value, percent, signed=signed)
    if not math.isnan(value) and not math.isnan(low):
        text += f" [{number(low, percent, signed=signed)}, {number(high, percent, signed=signed)}]"
    return Text(text)


def row_with_interval(row: Any, percent: bool, *, signed: bool = False) -> Text:
    """:func:`with_interval` of a table's row of ``value, low, high``."""
    value, low, high = row
    return with_interval(value, low, high, percent, signed=signed)


def metrics_table(columns: "dict[str, pd.DataFrame]") -> Table:
    """A row a metric; ``columns`` are tables of metrics by what they are of: frames, sequences."""
    from fer_cli.evaluation.metrics import METRICS

    table = plain("", *columns)
    for name, metric in METRICS.items():
        table.add_row(metric.short, *(row_with_interval(rows.loc[name], metric.percent) for rows in columns.values()))
    return table


def legend() -> str:
    """What stands under a table of metrics."""
    from fer_cli.evaluation.metrics import BINS, METRICS

    fractions = " and ".join(metric.short for metric in METRICS.values() if not metric.percent)
    return (
        f"In %, {fractions} as fractions. In brackets the 95 % interval of a bootstrap over subjects. Average recall "
        f"is over classes, unweighted (UAR). ECE: expected calibration error, {BINS} bins."
    )


def matrix(counts: "pd.DataFrame", *, normalised: bool) -> Table:
    """The confusion matrix, true classes down and predicted ones across: counts, or shares of the true class."""
    import numpy as np

    from fer_cli.evaluation.metrics import normalize

    classes, numbers = list(counts.columns), counts.to_numpy()
    shares = np.nan_to_num(normalize(numbers))
    least = max(len(str(numbers.max())), 4)
    widths = [max(len(name), least) for name in classes]
    first = max(len("true ↓ as →"), *map(len, classes))
    if first + sum(width + 1 for width in widths) > _COLUMNS:
        widths = [max((_COLUMNS - first) // len(classes) - 1, least)] * len(classes)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("% of true" if normalised else "true ↓ as →", no_wrap=True)
    for name, width in zip(classes, widths, strict=True):
        table.add_column(name[:width], justify="right", width=width, no_wrap=True)
    for row, name in enumerate(classes):
        cells = []
        for share, count, width in zip(shares[row], numbers[row], widths, strict=True):
            text = f"{100 * share:.0f}" if normalised else str(count)
            cells.append(Text(f"{text if count else '·':>{width}}", style=_ground(share)))
        table.add_row(name, *cells)
    return table


def per_class(rows: "pd.DataFrame") -> Table:
    """A row a class: precision, recall and F1 with their intervals, and how many samples there are of it."""
    from fer_cli.evaluation.metrics import CLASS_METRICS

    table = plain("", *CLASS_METRICS.values(), "n")
    for name, row in rows.iterrows():
        cells = [with_interval(row[each], row[f"{each}_low"], row[f"{each}_high"], True) for each in CLASS_METRICS]
        table.add_row(str(name), *cells, f"{row['support']:.0f}")
    return table


def probe_table(analysis: "Analysis") -> Table:
    """The identity probe of each embedding, with chance."""
    table = Table("identity in the", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("identified", "AUC", "EER", "people", "faces"):
        table.add_column(name, justify="right", no_wrap=True)
    probes = analysis.probes_over_folds()
    row: Any
    for row in probes.itertuples():
        cells = [
            f"{100 * row.identification:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
            f"{row.auc:.3f}",
            f"{100 * row.eer:.1f}",
            str(row.subjects),
            str(row.pictures),
        ]
        table.add_row(row.embedding, *cells)
    table.add_row("by chance", f"{100 * probes['chance'].iloc[0]:.1f}", "0.500", "50.0", style="dim")
    return table


def _ground(share: float) -> Style:
    place = share * (len(_BLUES) - 1)
    lower = min(int(place), len(_BLUES) - 2)
    ends = zip(_BLUES[lower], _BLUES[lower + 1], strict=True)
    red, green, blue = (int(low + (place - lower) * (high - low)) for low, high in ends)
    ink = "rgb(255,255,255)" if share > 0.7 else "rgb(0,0,0)"
    return Style(bgcolor=f"rgb({red},{green},{blue})", color=ink)
