"""Cells of a benchmark, and the rows that each gives to the table of results."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import fer_cli

Evaluations = Literal["within", "cross-corpus", "leave-one-corpus-out", "learning-curve", "predictions"]
EVALUATIONS: tuple[Evaluations, ...] = ("within", "cross-corpus", "leave-one-corpus-out", "learning-curve")
#: The evaluation of what was trained elsewhere: a table of another program's predictions, or a run that is there.
PREDICTIONS: Evaluations = "predictions"

NeutralAccess = Literal["none", "mean", "found", "given"]
#: What a face was compared with, from what asks least of a user to what asks most.
NEUTRAL_ACCESS: tuple[NeutralAccess, ...] = ("none", "mean", "found", "given")

#: The version of the table of results.
VERSION = 1

#: Columns of ``results.parquet`` apart from the metrics. A row is a cell, or one of its folds: see :class:`CellResult`.
COLUMNS = (
    "cell",
    "recipe",
    "evaluation",
    "train",
    "test",
    "neutral",
    "repeat",
    "seed",
    "train_subjects",
    "fold",
    "status",
    "reason",
    "n",
    "subjects",
    "train_n",
    "classes",
    "chance",
    "protocol",
    "command",
    "notes",
)


@dataclass(frozen=True)
class Cell:
    """One number of a benchmark, before it is computed.

    ``recipe`` is its name in the specification, and ``settings`` what it stands for there. It is trained on the
    datasets ``train`` (empty for what was trained elsewhere) and tested on ``test``, all by their names in the
    specification. ``neutral`` says what a face is compared with when it is tested. ``repeat`` numbers the draw of the
    folds, 0 for the dataset's own; ``seed`` is the training's. ``train_subjects``, of a learning curve, counts
    the training subjects.
    """

    recipe: str
    evaluation: Evaluations
    train: tuple[str, ...]
    test: str
    neutral: NeutralAccess = "none"
    repeat: int = 0
    seed: int = 0
    train_subjects: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    #: What else its numbers depend on: fingerprints of its datasets, files and weights, by name.
    inputs: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of all that the cell's numbers depend on."""
        text = json.dumps({**asdict(self), "fer": fer_cli.__version__, "version": VERSION}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """A line for people.

        >>> Cell("difference", "cross-corpus", ("acted",), "wild", "given").title
        'difference, cross-corpus, acted → wild, neutral given'
        """
        trained = f"{' + '.join(self.train)} → {self.test}" if self.train and self.train != (self.test,) else self.test
        parts = [self.recipe, self.evaluation, trained, f"neutral {self.neutral}"]
        if self.train_subjects is not None:
            parts.append(f"{self.train_subjects} subjects")
        parts += [f"repeat {self.repeat}"] if self.repeat else []
        return ", ".join(parts + ([f"seed {self.seed}"] if self.seed else []))


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    ``rows`` go to the table of results, each with some of :data:`COLUMNS` and, for every metric of
    :data:`~fer_cli.evaluation.metrics.METRICS`, ``NAME``, ``NAME_low`` and ``NAME_high``: first one whose ``fold`` is
    missing, of all its predictions together with intervals over subjects, then one a fold, without intervals.
    ``predictions`` is the table of its predictions, as :class:`~fer_cli.evaluation.results.Evaluation` has it, in the
    cell's folder. A cell that failed has one row with its ``reason`` and no metric.
    """

    cell: Cell
    status: Literal["done", "failed"]
    rows: tuple[Mapping[str, Any], ...]
    predictions: Path | None = None
    reason: str = ""
    seconds: float = 0.0
