"""The confusion matrix as a picture and as a table."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_cli.evaluation.scores import Scores


def confusion_table(scores: Scores) -> pd.DataFrame:
    """The counts with their names: a row a true class, a column a predicted one."""
    return pd.DataFrame(
        scores.confusion,
        index=pd.Index(scores.classes, name="true"),
        columns=pd.Index(scores.classes, name="predicted"),
    )


def draw_confusion(scores: Scores, path: Path, *, title: str, subtitle: str) -> None:
    """Draw the matrix as a PNG at ``path``: colour and percentages by true class, with the counts.

    ``subtitle`` is the place of the protocol, without which the numbers mean little.
    """
    counts = scores.confusion
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 2.6 + 0.75 * len(scores.classes)
    figure = Figure(figsize=(side + 0.9, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            axes.text(
                column,
                row,
                f"{shares[row, column]:.0%}\n{counts[row, column]}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if shares[row, column] > 0.55 else "black",
            )
    ticks = range(len(scores.classes))
    axes.set_xticks(ticks, scores.classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [f"{name}  {int(total)}" for name, total in zip(scores.classes, totals[:, 0], strict=True)])
    axes.set_xticks(np.arange(-0.5, len(ticks)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(ticks)), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    axes.set_title(subtitle, fontsize=8.5, color="0.35")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=lambda share, _: f"{share:.0%}")
    bar.set_label("of the true class", fontsize=9)
    bar.outline.set_visible(False)
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)
