"""Charts as geometry, in the units of an SVG's viewBox, for the page's template to draw; and the page's pictures.

Colours and fonts are the page's, so that a chart follows its theme.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DatasetError
from fer_cli.pages import Pictures, encode_jpeg

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 42
MAP_WIDTH, MAP_EDGE = 340, 12
#: So many markers and colours a map has; more subjects than their pairs begin anew.
MARKERS = 8


@dataclass(frozen=True)
class Line:
    """A line through ``points`` (``x,y x,y``), drawn in the page's ``style``."""

    points: str
    style: str
    title: str


@dataclass(frozen=True)
class Bar:
    """A bar with its top left corner at ``x``, ``y``."""

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A point of a chart or map: where, and the numbers of its colour and of its marker."""

    x: float
    y: float
    colour: int
    marker: int
    title: str


@dataclass(frozen=True)
class Chart:
    """A chart of ``WIDTH`` by ``HEIGHT``: its ticks are pairs of a place and a label."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    #: Names of styles, for a legend.
    legend: list[tuple[str, str]] = field(default_factory=list)
    #: What lies between two lines: the corners of each.
    bands: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


class Scale:
    """From values to places along an axis."""

    def __init__(self, low: float, high: float, start: float, end: float):
        self._low, self._reach = low, (high - low) or 1
        self._start, self._length = start, end - start

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return round(self._start + self._length * (value - self._low) / self._reach, 2)


def horizontal(low: float, high: float) -> Scale:
    """The scale of a chart's x axis."""
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def vertical(low: float, high: float) -> Scale:
    """The scale of a chart's y axis."""
    return Scale(low, high, HEIGHT - BOTTOM, TOP)


def _shares(scale: Scale) -> list[tuple[float, str]]:
    return [(scale(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]


def reliability(bins: pd.DataFrame, ece: float) -> Chart:
    """The reliability diagram of ``bins`` (``low, high, count, confidence, accuracy``).

    A bar a bin that is not empty, as high as its accuracy, marked at its mean confidence; the diagonal is perfect
    calibration.
    """
    x, y = horizontal(0, 1), vertical(0, 1)
    bars, lines = [], [Line(f"{x(0)},{y(0)} {x(1)},{y(1)}", "ideal", "accuracy equal to confidence")]
    total = bins["count"].sum()
    row: Any
    for row in bins[bins["count"] > 0].itertuples():
        bars.append(
            Bar(
                x(row.low),
                y(row.accuracy),
                round(x(row.high) - x(row.low), 2),
                round(y(0) - y(row.accuracy), 2),
                "accuracy",
                f"confidence {row.low:.0%} to {row.high:.0%}: {row.count} of {total} faces, "
                f"accuracy {row.accuracy:.1%}, mean confidence {row.confidence:.1%}",
            )
        )
        edges = f"{x(row.low)},{y(row.confidence)} {x(row.high)},{y(row.confidence)}"
        lines.append(Line(edges, "confidence", f"mean confidence {row.confidence:.1%}"))
    return Chart(
        "Reliability diagram",
        f"Accuracy by confidence. Expected calibration error {ece:.1%}.",
        "confidence",
        "accuracy",
        _shares(x),
        _shares(y),
        lines,
        bars,
        [("accuracy", "accuracy"), ("confidence", "mean confidence"), ("ideal", "perfect calibration")],
    )


def history(runs: Sequence[tuple[str, pd.DataFrame]]) -> list[Chart]:
    """Loss, and accuracy on the validation fold, by epoch, of runs named and with their ``epochs.csv``.

    Of several runs each is a thin line, and their mean, over the epochs that all of them have, a thick one.
    """
    return [
        _by_epoch(runs, "Loss", {"loss": ("train", "training"), "val_loss": ("val", "validation")}, shares=False),
        _by_epoch(runs, "Accuracy", {"val_accuracy": ("val", "validation")}, shares=True),
    ]


def _by_epoch(
    runs: Sequence[tuple[str, pd.DataFrame]], what: str, columns: dict[str, tuple[str, str]], *, shares: bool
) -> Chart:
    last = max(int(table["epoch"].max()) for _, table in runs)
    values = np.concatenate([table[list(columns)].to_numpy(dtype=float).ravel() for _, table in runs])
    values = values[np.isfinite(values)]
    ticks = MaxNLocator(nbins=5).tick_values(values.min(), values.max()) if len(values) else np.array([0.0, 1.0])
    x = horizontal(1, max(last, 2))
    y = vertical(0, 1) if shares else vertical(ticks[0], ticks[-1])
    lines = []
    for column, (style, name) in columns.items():
        for run, table in runs:
            lines.append(_line(table["epoch"], table[column], x, y, style + " one" * (len(runs) > 1), f"{name}, {run}"))
        if len(runs) > 1:
            mean = pd.concat([table.set_index("epoch")[column] for _, table in runs], axis=1, join="inner").mean(axis=1)
            lines.append(_line(mean.index.to_series(), mean, x, y, style, f"{name}, mean of {len(runs)} runs"))
    whole = [int(tick) for tick in MaxNLocator(nbins=6, integer=True).tick_values(1, last) if 1 <= tick <= max(last, 2)]
    return Chart(
        f"{what} by epoch",
        f"{what} over {last} epochs of {runs[0][0] if len(runs) == 1 else f'{len(runs)} runs'}.",
        "epoch",
        what.lower(),
        [(x(tick), str(tick)) for tick in whole],
        _shares(y) if shares else [(y(tick), f"{tick:g}") for tick in ticks],
        lines,
        legend=list(columns.values()),
    )


def _line(epochs: pd.Series, values: pd.Series, x: Scale, y: Scale, style: str, title: str) -> Line:
    pairs = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if np.isfinite(value)]
    return Line(" ".join(f"{x(epoch)},{y(value)}" for epoch, value in pairs), style, title)


@dataclass(frozen=True)
class Map:
    """Points in a frame; ``legend`` has the colour, the marker and the name of each group (empty: too many)."""

    title: str
    description: str
    width: float
    height: float
    marks: list[Mark]
    legend: list[tuple[int, int, str]]


#: A legend of more groups than these would be longer than the map.
LONGEST_LEGEND = 24


def scatter(title: str, description: str, points: np.ndarray, groups: Sequence[str], names: Sequence[str]) -> Map:
    """P ``points``, P×2 from 0 to 1, coloured and marked by their ``groups``; ``names`` say what each point is.

    The frame is as high as the points need, at one scale for both directions.
    """
    order = {name: index for index, name in enumerate(dict.fromkeys(sorted(groups)))}
    scale = MAP_WIDTH - 2 * MAP_EDGE
    left, top = points[:, 0].min(), points[:, 1].max()
    height = round(2 * MAP_EDGE + scale * np.ptp(points[:, 1]), 1)

    def look(group: str) -> tuple[int, int]:
        index = order[group]
        return index % MARKERS, (index + index // MARKERS) % MARKERS

    marks = [
        Mark(
            round(MAP_EDGE + scale * (x - left), 1),
            round(MAP_EDGE + scale * (top - y), 1),
            *look(group),
            f"{group}: {name}",
        )
        for (x, y), group, name in zip(points, groups, names, strict=True)
    ]
    legend = [(*look(name), name) for name in order] if len(order) <= LONGEST_LEGEND else []
    return Map(title, description, MAP_WIDTH, max(height, 60.0), marks, legend)


#: The longer side of a picture on the page, in pixels; a larger one is made smaller.
SIDE = 160
#: What all pictures of a page come to at most, in bytes as they stand in it.
MOST_BYTES = 4_000_000


class Album(Pictures):
    """The pictures of one report as ``data:`` addresses, until together they are ``most_bytes``; then None."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        super().__init__(most_bytes)

    def crop(self, crops: Crops, name: str) -> str | None:
        """The crop called ``name``; None also where it cannot be read, which is no reason to have no page."""
        try:
            return self.add(crops[name].permute(1, 2, 0).numpy())
        except DatasetError:
            return None

    def add(self, pixels: np.ndarray) -> str | None:
        """H×W×3 uint8 pixels as a JPEG."""
        return self.address(encode_jpeg(pixels, SIDE))
