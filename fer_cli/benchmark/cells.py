"""Cells of a benchmark, the rows that each gives to the table of results, and the line that a person types for it."""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import fer_cli
from fer_cli.options import flag

if TYPE_CHECKING:
    from fer_cli.benchmark.specification import Specification

Evaluations = Literal["within", "cross-corpus", "leave-one-corpus-out", "learning-curve", "predictions"]
EVALUATIONS: tuple[Evaluations, ...] = ("within", "cross-corpus", "leave-one-corpus-out", "learning-curve")
#: The evaluation of what was trained elsewhere: a table of another program's predictions, or a run that is there.
PREDICTIONS: Evaluations = "predictions"

NeutralAccess = Literal["none", "mean", "found", "given"]
#: What a face was compared with, from what asks least of a user to what asks most.
NEUTRAL_ACCESS: tuple[NeutralAccess, ...] = ("none", "mean", "found", "given")

#: Stands for the benchmark's folder in a cell's command and reasons, which are the same wherever that is.
OUT = "$OUT"
#: The folder of the draws of datasets in it.
DATASETS = "datasets"

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


def command_of(cell: Cell, specification: "Specification") -> str:
    """The lines that a person types, in the specification's folder, for the number of ``cell``.

    :data:`OUT` in them is the benchmark's folder, where its draws of datasets are. Neutral faces that are found in the
    dataset have no line: it has those of the same with the labelled ones.
    """
    entry = specification.entry(cell.recipe)
    written = {name: _as_typed(path, specification) for name, path in specification.datasets.items()}
    access = ["--neutral", "mean"] if cell.neutral == "mean" else []
    insist = ["--allow-seen-subjects"] if specification.allow_seen or _namesakes(cell, specification) else []
    if entry.predictions:
        table = entry.predictions[cell.test]
        return _line("fer", "evaluate", "--predictions", table, "--data", written[cell.test])
    if entry.run is not None:
        return _line("fer", "evaluate", entry.run, "--data", written[cell.test], *access, *insist)
    data = draw_name(cell, specification)
    data = written[cell.train[0]] if data is None else f"{OUT}/{DATASETS}/{data}"
    run = f"runs/{cell.recipe}-{cell.digest[:6]}"
    folds = cell.evaluation == "within" and specification.dataset(cell.test).protocol.folds
    extra = [part for name in cell.train[1:] for part in ("--extra-data", written[name])]
    flags = [*_flags(entry.settings), *(["--seed", str(cell.seed)] if cell.seed else [])]
    trained = ["fer", "train", entry.train or "", *(["--cv"] if folds else []), "--data", data, *extra, *flags]
    lines = [_line(*trained, "--out", run, *insist)]
    if cell.evaluation in ("cross-corpus", "leave-one-corpus-out"):
        lines.append(_line("fer", "evaluate", run, "--data", written[cell.test], *access, *insist))
    elif access:
        lines.append(_line("fer", "evaluate", run, *access, *insist))
    return " && ".join(lines)


def _namesakes(cell: Cell, specification: "Specification") -> bool:
    """Whether other people have equal names in two of the cell's datasets, which a line alone cannot know."""
    from fer_cli.dataset.duplicates import same_people

    used = [specification.dataset(name) for name in dict.fromkeys([*cell.train, cell.test])]
    for one, other in combinations(used, 2):
        names = set(one.metadata["subject"].dropna()) & set(other.metadata["subject"].dropna())
        if names and one.card["corpus"] == other.card["corpus"] and not same_people(one, other):
            return True
    return False


def draw_name(cell: Cell, specification: "Specification") -> str | None:
    """The name of the draw of its dataset that ``cell`` is trained on; None for the dataset itself."""
    own = specification.dataset(cell.train[0]).protocol.folds
    folds = (specification.folds or own) if own else own
    parts = [f"{folds}folds"] if folds != own else []
    parts += [f"draw{cell.repeat}"] if cell.repeat else []
    parts += [f"{cell.train_subjects}subjects"] if cell.train_subjects is not None else []
    return "-".join([cell.train[0], *parts]) if parts else None


def _as_typed(path: Path, specification: "Specification") -> str:
    return os.path.relpath(path, specification.folder)


def _flags(settings: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in settings.items():
        if isinstance(value, bool):
            found.append(flag(name) if value else f"--no-{flag(name)[2:]}")
            continue
        for each in value if isinstance(value, tuple) else (value,):
            found += [flag(name), str(each)]
    return found


def _line(*parts: str) -> str:
    """The parts as a shell takes them, in which :data:`OUT` is a variable."""
    return " ".join(f'"{part}"' if part.startswith(OUT) else shlex.quote(part) for part in parts)
