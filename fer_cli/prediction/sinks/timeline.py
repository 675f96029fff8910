"""Plots of a video's probabilities over time."""

from pathlib import Path

import numpy as np

from fer_cli.files import as_text, written_whole
from fer_cli.prediction.results import FrameResult
from fer_cli.prediction.sinks import Sink, write_errors
from fer_cli.prediction.sinks.images import colour


class Timeline(Sink):
    """A plot of the probabilities of each video's largest face at ``path``; a second video's at ``path`` with -2."""

    def __init__(self, path: Path):
        self._path = path
        self._videos = 0
        self._times: list[float] = []
        self._shares: list[np.ndarray] = []
        self._classes: tuple[str, ...] = ()

    def write(self, result: FrameResult) -> None:
        """Add a frame, and at a video's end plot it."""
        frame = result.frame
        if frame.end:
            if self._times:
                self._plot(frame.path)
            self._times, self._shares = [], []
        elif frame.time is not None and (result.faces or self._times):
            self._times.append(frame.time)
            self._shares.append(self._of(result))

    def _of(self, result: FrameResult) -> np.ndarray:
        if not result.faces:
            # A gap in the lines where there was no face.
            return np.full(len(self._classes), np.nan, np.float32)
        largest = result.faces[0].probabilities
        self._classes = tuple(largest)
        return np.fromiter(largest.values(), np.float32)

    def _plot(self, path: Path) -> None:
        from matplotlib.figure import Figure

        self._videos += 1
        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_facecolor("#f4f4f4")
        times, table = np.array(self._times), np.array(self._shares)
        marker = "o" if len(times) < 3 else None
        for name, shares in zip(self._classes, table.T, strict=True):
            axes.plot(times, shares, label=name, color=colour(name), linewidth=2, marker=marker)
        axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), title=as_text(path.name).replace("$", r"\$"))
        if times[-1] > times[0]:
            axes.set_xlim(times[0], times[-1])
        figure.legend(loc="outside right upper", frameon=False)
        name = self._path.stem if self._videos == 1 else f"{self._path.stem}-{self._videos}"
        target = self._path.with_name(f"{name}{self._path.suffix}")
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as part:
                figure.savefig(part, dpi=120, format=(target.suffix.lstrip(".") or "png").lower())
