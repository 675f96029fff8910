"""The confusion matrix as a picture and as a table: counts, and shares of each true class."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_cli.evaluation.scores import Scores


def confusion_table(scores: Scores, *, normalised: bool = False) -> pd.DataFrame:
    """The counts with their names: a row a true class, a column a predicted one.

    ``normalised`` gives shares of the true class, NaN where there is no sample of it.
    """
    return pd.DataFrame(
        row_shares(scores) if normalised else scores.confusion,
        index=pd.Index(scores.classes, name="true"),
        columns=pd.Index(scores.classes, name="predicted"),
    )


def row_shares(scores: Scores) -> np.ndarray:
    """The confusion matrix, C×C, as shares of each true class; NaN where there is no sample of it."""
    totals = scores.confusion.sum(axis=1, keepdims=True)
    return np.divide(
        scores.confusion,
        totals,
        out=np.full(scores.confusion.shape, np.nan),
        where=np.broadcast_to(totals > 0, scores.confusion.shape),
    )


def draw_confusion(scores: Scores, *, title: str, subtitle: str, normalised: bool = False) -> Figure:
    """The matrix as a figure: the counts, or percentages of each true class.

    The colour is that of the shares in both, so that a rare class can be read beside a frequent one. ``subtitle`` is
    the place of the protocol, without which the numbers mean little.
    """
    counts, shares = scores.confusion, np.nan_to_num(row_shares(scores))
    size = len(scores.classes)
    side = 2.6 + 0.75 * max(size, 4)
    figure = Figure(figsize=(side + 0.9, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            axes.text(
                column,
                row,
                f"{shares[row, column]:.0%}" if normalised else f"{counts[row, column]}",
                ha="center",
                va="center",
                fontsize=10,
                color="white" if shares[row, column] > 0.7 else "black",
            )
    ticks = range(size)
    totals = counts.sum(axis=1)
    axes.set_xticks(ticks, scores.classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [f"{name}  {total}" for name, total in zip(scores.classes, totals, strict=True)])
    axes.set_xticks(np.arange(-0.5, size), minor=True)
    axes.set_yticks(np.arange(-0.5, size), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true, with the number of samples")
    figure.suptitle(textwrap.fill(title, int(11 * side)), fontsize=12, fontweight="bold")
    axes.set_title(textwrap.fill(subtitle, int(13 * side)), fontsize=8.5, color="0.35")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=lambda share, _: f"{share:.0%}")
    bar.set_label("of the true class", fontsize=9)
    bar.outline.set_visible(False)
    return figure
