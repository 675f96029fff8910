"""A finished run, opened for reading."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_cli.errors import RunError
from fer_cli.files import as_text
from fer_cli.protocol import Protocol

#: The run's own record. Written last: a folder without it is no finished run.
CARD = "run.json"
#: What a training under way was asked to do.
UNFINISHED = "unfinished.json"
#: The trainer's checkpoints while a training is under way.
CHECKPOINTS = "checkpoints"
#: Loss and validation accuracy by epoch.
EPOCHS = "epochs.csv"
EVALUATION = "evaluation"
#: An evaluation's page. Written last: without it an evaluation is unfinished.
REPORT = "report.html"
#: The record of a folder whose sub-folders are the runs of all folds.
CROSS_VALIDATION = "cross-validation.json"
#: The record of a folder whose sub-folders are variants of one recipe.
COMPARISON = "comparison.json"
#: TensorBoard's.
LOGS = "tensorboard"

#: Raised when a change makes older runs unreadable.
VERSION = 1


@dataclass(frozen=True)
class Run:
    """A folder that ``fer train`` wrote: its ``path`` and its ``card`` (``run.json``)."""

    path: Path
    card: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Open the run in the folder ``path``.

        Raises :class:`~fer_cli.errors.RunError` if it is not one, is unfinished, or was written by a later version.
        """
        path = Path(path)
        if not (path / CARD).is_file():
            raise RunError(_what_is_there(path))
        try:
            card = json.loads((path / CARD).read_text(encoding="utf-8"))
            version, _ = int(card["version"]), Protocol.from_dict(card["protocol"])
            card["dataset"]["path"], card["fold"], card["seen"], card["classes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path / CARD} is not what fer wrote: {error!r}.") from error
        if version > VERSION:
            raise RunError(f"{path} was written by a later version of fer.", mend="Update fer.")
        return cls(path, card)

    @property
    def name(self) -> str:
        """The folder's name, by which people call the run."""
        return as_text(self.path.resolve().name)

    @property
    def protocol(self) -> Protocol:
        """How the samples it was trained on were chosen and divided."""
        return Protocol.from_dict(self.card["protocol"])

    @property
    def fold(self) -> int:
        """The test fold, which neither training nor the choice of the epoch looked at."""
        return self.card["fold"]

    @property
    def seen(self) -> dict[str, list[str]]:
        """By corpus, the subjects that the model or its encoder was trained on or its epoch chosen by."""
        return self.card["seen"]


def _what_is_there(path: Path) -> str:
    if (path / UNFINISHED).is_file():
        return f"The training in {path} was not finished: type its fer train line again to go on with it."
    if not path.exists():
        return f"There is no folder {path}."
    if not path.is_dir():
        return f"{path} is a file, not the folder of a run."
    runs = sorted(card.parent.name for card in path.glob(f"*/{CARD}"))
    inside = f" The runs in it are {', '.join(runs[:5])}." if runs else ""
    return f"{path} is not a run: it has no {CARD}.{inside}"


def runs_in(folder: Path) -> list[Path]:
    """The folders of the finished runs in ``folder``, the one that was finished last first."""
    cards = sorted(folder.glob(f"*/{CARD}"), key=lambda card: card.stat().st_mtime, reverse=True)
    return [card.parent for card in cards]


def run_behind(source: str) -> list[Path]:
    """The folder of the run, finished or not, that ``source`` names, if it names one."""
    folder = Path(source)
    return [folder] if any((folder / card).is_file() for card in (CARD, UNFINISHED)) else []


def overlap(seen: dict[str, list[str]], corpus: str, subjects: set[str]) -> list[str]:
    """The ``subjects`` of ``corpus`` that are among those ``seen``, sorted."""
    return sorted(subjects.intersection(seen.get(corpus, [])))


def names(subjects: list[str], most: int = 20) -> str:
    """The subjects' names for a sentence, cut short after ``most``."""
    return ", ".join(subjects[:most]) + (f" and {len(subjects) - most} more" if len(subjects) > most else "")
