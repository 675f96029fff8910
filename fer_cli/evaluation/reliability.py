"""The reliability diagram: accuracy by confidence."""

import textwrap

from matplotlib.figure import Figure

from fer_cli.evaluation.calibration import BINS, Calibration


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
    said = f"ECE {calibration.ece:.1%} in {BINS} bins"
    if calibration.temperature is not None:
        said += (
            f"; {calibration.ece_after:.1%} at temperature {calibration.temperature:.2f}, fitted on validation faces"
        )
    figure.suptitle(textwrap.fill(title, 60), fontsize=12, fontweight="bold")
    top.set_title(f"{textwrap.fill(subtitle, 78)}\n{textwrap.fill(said, 78)}", fontsize=8.5, color="0.35")
    return figure
