"""What was predicted of a video, over time, as a picture."""

from pathlib import Path

import numpy as np

from fer_cli.files import as_text, written_whole
from fer_cli.prediction.draw import colour
from fer_cli.prediction.outcomes import Outcome
from fer_cli.prediction.writers import said


class Timeline:
    """Plots the probabilities of each video's largest face into ``path``; a second video's goes to ``path`` with -2."""

    def __init__(self, path: Path):
        self._path = path
        self._videos = 0
        self._times: list[float] = []
        self._shares: list[np.ndarray] = []
        self._classes: tuple[str, ...] = ()
        #: The files written.
        self.written: list[Path] = []

    def write(self, outcome: Outcome) -> None:
        """Take note of a frame, and at a video's end plot it."""
        shot = outcome.shot
        if shot.end:
            if self._times:
                self._plot(shot.path)
            self._times, self._shares = [], []
        elif shot.time is not None and (outcome.predictions or self._times):
            self._times.append(shot.time)
            self._shares.append(self._of(outcome))

    def _of(self, outcome: Outcome) -> np.ndarray:
        if not outcome.predictions:
            # A gap in the lines where there was no face.
            return np.full(len(self._classes), np.nan, np.float32)
        largest = outcome.predictions[0].probabilities
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
        with said(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as beside:
                figure.savefig(beside, dpi=120, format=(target.suffix.lstrip(".") or "png").lower())
        self.written.append(target)
