"""Figures: confusion matrix, reliability diagram and the differences of a comparison, and how they become files."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from fer_cli.evaluation.calibration import Calibration
from fer_cli.evaluation.metrics import BINS, METRICS, normalize
from fer_cli.evaluation.significance import RECALL
from fer_cli.files import written_whole

if TYPE_CHECKING:
    from fer_cli.evaluation.compare import Comparison


def draw_confusion(counts: pd.DataFrame, *, title: str, subtitle: str, normalised: bool = False) -> Figure:
    """The confusion matrix, C×C with its class names, as a figure: the counts, or percentages of each true class.

    The colour is that of the shares in both, so that a rare class can be read next to a frequent one. ``subtitle`` is
    the place of the protocol, without which the numbers mean little.
    """
    classes, counts = counts.columns, counts.to_numpy()
    shares, size = np.nan_to_num(normalize(counts)), len(classes)
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
    axes.set_xticks(ticks, classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [f"{name}  {total}" for name, total in zip(classes, totals, strict=True)])
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


def draw_reliability(calibration: Calibration, *, title: str, subtitle: str) -> Figure:
    """Accuracy by confidence as a figure; below it, how many faces each bin has."""
    bins = calibration.bins[calibration.bins["count"] > 0]
    figure = Figure(figsize=(5.6, 6.2), dpi=150, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    top.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="as confident as right")
    width, middle = 1 / BINS, (bins["low"] + bins["high"]) / 2
    top.bar(middle, bins["accuracy"], width=0.92 * width, color="#9ecae1", edgecolor="#3182bd", label="accuracy")
    top.plot(bins["confidence"], bins["accuracy"], "o", color="#08519c", markersize=4, label="at the mean confidence")
    top.set_ylabel("accuracy")
    top.set_xlim(0, 1)
    top.set_ylim(0, 1)
    top.legend(loc="upper left", fontsize=8, frameon=False)
    bottom.bar(middle, bins["count"], width=0.92 * width, color="0.75")
    bottom.set_ylabel("faces")
    bottom.set_xlabel("confidence")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    words = f"ECE {calibration.ece:.1%} in {BINS} bins"
    if calibration.temperature is not None:
        words += (
            f"; {calibration.ece_after:.1%} at temperature {calibration.temperature:.2f}, fitted on validation faces"
        )
    figure.suptitle(textwrap.fill(title, 60), fontsize=12, fontweight="bold")
    top.set_title(f"{textwrap.fill(subtitle, 78)}\n{textwrap.fill(words, 78)}", fontsize=8.5, color="0.35")
    return figure


def save(figure: Figure, folder: Path, stem: str, formats: Sequence[str] = ("png", "svg")) -> None:
    """Write a figure into ``folder`` as ``stem.png`` and ``stem.svg``, the same file for the same figure.

    An SVG's words stay words, which can be searched and read aloud.
    """
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    for format in formats:
        with (
            written_whole(folder / f"{stem}.{format}") as file,
            rc_context({"svg.fonttype": "none", "svg.hashsalt": "fer"}),
        ):
            figure.savefig(file, format=format, metadata={"Date": None} if format == "svg" else None)
        # Laid out once, it stays so; what has no layout engine is not drawn twice, the first time for its layout.
        figure.set_layout_engine(None)


def draw_comparison(comparison: "Comparison") -> Figure:
    """Every difference with its interval as a figure: a forest plot, a panel a pair of runs."""
    pairs = list(comparison.table.groupby(["first", "second"], sort=False))
    holm = ", Holm" if len(pairs) > 1 else ""
    heights = [len(rows) for _, rows in pairs]
    figure = Figure(figsize=(7.2, 1.6 + sum(0.9 + 0.28 * rows for rows in heights)), dpi=150, layout="constrained")
    panels = figure.subplots(len(pairs), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, ((first, second), rows) in zip(panels, pairs, strict=True):
        by_class = rows["measure"].str.startswith(RECALL).to_numpy()
        place = np.arange(len(rows)) + 0.6 * by_class
        points = 100 * rows[["difference", "low", "high"]].to_numpy(float)
        for chosen, colour, marker in ((~by_class, "#08519c", "s"), (by_class, "#6baed6", "o")):
            axes.hlines(place[chosen], points[chosen, 1], points[chosen, 2], color=colour, linewidth=2)
            axes.plot(points[chosen, 0], place[chosen], marker, color=colour, markersize=5)
        axes.axvline(0, color="0.5", linewidth=1, linestyle="--")
        axes.set_yticks(place, [_tick(row, holm) for row in rows.itertuples()], fontsize=9)
        axes.invert_yaxis()
        axes.set_title(f"{second}  less  {first}", fontsize=10, loc="left")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    panels[-1].set_xlabel("difference in points, with the 95 % interval over subjects")
    words = f"{comparison.samples} samples of {comparison.subjects or 'unknown'} subjects, tested by all"
    abouts = "\n".join(textwrap.fill(about, 100) for about in dict.fromkeys(comparison.abouts))
    figure.suptitle(f"{words}\n{abouts}", fontsize=9)
    return figure


def _tick(row: Any, holm: str) -> str:
    name = METRICS[row.measure].short if row.measure in METRICS else row.measure
    return f"{name}  (p {row.p_holm:.2g}{holm})" if row.p_holm == row.p_holm else name
