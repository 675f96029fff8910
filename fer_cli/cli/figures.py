"""Figures as people read them on a terminal of 80 columns, on a dark or a light ground."""

from typing import TYPE_CHECKING

import numpy as np
from rich.style import Style
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.evaluation.scores import Scores

#: What measures are called where there is little room, and whether they are shares, which read best in percent.
CALLED = {
    "accuracy": ("accuracy", True),
    "unweighted_average_recall": ("average recall", True),
    "macro_f1": ("macro-F1", True),
    "weighted_f1": ("weighted F1", True),
    "kappa": ("kappa", False),
    "roc_auc": ("AUC, 1 vs rest", False),
    "ece": ("ECE", True),
}
#: What stands under a table of measures.
LEGEND = (
    "In %, kappa (Cohen's) and AUC as fractions. In brackets the 95 % interval of a bootstrap over subjects. Average "
    "recall is over classes, unweighted (UAR). ECE: expected calibration error, 15 bins."
)
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


def figure(value: float, share: bool, *, signed: bool = False) -> str:
    """``86.1`` per cent, or ``.861``; a dash for what is not defined."""
    if np.isnan(value):
        return "–"
    text = f"{100 * value:.1f}" if share else f"{value:.3f}".replace("0.", ".", 1)
    return f"+{text}" if signed and value > 0 else text


def with_interval(value: float, low: float, high: float, share: bool, *, signed: bool = False) -> Text:
    """``86.1 [80.2, 91.0]``."""
    shown = figure(value, share, signed=signed)
    if not np.isnan(value) and not np.isnan(low):
        shown += f" [{figure(low, share, signed=signed)}, {figure(high, share, signed=signed)}]"
    return Text(shown)


def headline(columns: "dict[str, pd.DataFrame]") -> Table:
    """A row a measure; ``columns`` are tables of measures by what they are of: frames, sequences."""
    table = plain("", *columns)
    for name, (called, share) in CALLED.items():
        cells = [with_interval(*figures.loc[name], share) for figures in columns.values()]
        table.add_row(called, *cells)
    return table


def matrix(scores: "Scores", *, normalised: bool) -> Table:
    """The confusion matrix, true classes down and predicted ones across: counts, or shares of the true class."""
    totals = scores.confusion.sum(axis=1, keepdims=True)
    shares = scores.confusion / np.maximum(totals, 1)
    width = min(max(map(len, scores.classes)), (_COLUMNS - 11) // len(scores.classes) - 1)
    width = max(width, len(str(scores.confusion.max())), 4)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("% of true" if normalised else "true ↓ as →", no_wrap=True)
    for name in scores.classes:
        table.add_column(name[:width], justify="right", width=width, no_wrap=True)
    for row, name in enumerate(scores.classes):
        cells = []
        for share, count in zip(shares[row], scores.confusion[row], strict=True):
            text = f"{100 * share:.0f}" if normalised else str(count)
            cells.append(Text(f"{text if count else '·':>{width}}", style=_ground(share)))
        table.add_row(name, *cells)
    return table


def by_class(scores: "Scores", intervals: "pd.DataFrame") -> Table:
    """A row a class: precision, recall and F1 with their intervals, and how many samples there are of it."""
    table = plain("", "precision", "recall", "F1", "n")
    for name, row in intervals.iterrows():
        cells = [with_interval(row[m], row[f"{m}_low"], row[f"{m}_high"], True) for m in ("precision", "recall", "f1")]
        table.add_row(name, *cells, str(scores.per_class.loc[name, "support"]))
    return table


def _ground(share: float) -> Style:
    place = share * (len(_BLUES) - 1)
    lower = min(int(place), len(_BLUES) - 2)
    mixed = np.array(_BLUES[lower]) + (place - lower) * (np.array(_BLUES[lower + 1]) - _BLUES[lower])
    red, green, blue = (int(part) for part in mixed)
    ink = "rgb(255,255,255)" if share > 0.7 else "rgb(0,0,0)"
    return Style(bgcolor=f"rgb({red},{green},{blue})", color=ink)
