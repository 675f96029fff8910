"""A finished cross-validation, opened for reading."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_cli.errors import RunError
from fer_cli.files import as_text
from fer_cli.protocol import Protocol
from fer_cli.runs.run import CROSS_VALIDATION, UNFINISHED, Run


@dataclass(frozen=True)
class CrossValidation:
    """A folder that ``fer train … --cv`` wrote: its ``path``, its ``card``, and its ``runs``, one a fold in order."""

    path: Path
    card: dict[str, Any]
    runs: tuple[Run, ...]

    @classmethod
    def open(cls, path: Path | str) -> "CrossValidation":
        """Open the cross-validation in the folder ``path``.

        Raises :class:`~fer_cli.errors.RunError` if it is not one, or one of its runs is gone.
        """
        path = Path(path)
        if not (path / CROSS_VALIDATION).is_file():
            unfinished = " It was not finished: type its fer train line again." if (path / UNFINISHED).is_file() else ""
            raise RunError(f"{path} is not a cross-validation: it has no {CROSS_VALIDATION}.{unfinished}")
        try:
            card = json.loads((path / CROSS_VALIDATION).read_text(encoding="utf-8"))
            Protocol.from_dict(card["protocol"])
            folders = [Path(name).name for name in card["folds"]]
            card["dataset"]["path"], card["model"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path / CROSS_VALIDATION} is not what fer wrote: {error!r}.") from error
        return cls(path, card, tuple(Run.open(path / folder) for folder in folders))

    @property
    def name(self) -> str:
        """The folder's name."""
        return as_text(self.path.resolve().name)

    @property
    def protocol(self) -> Protocol:
        """How the samples were chosen and divided."""
        return Protocol.from_dict(self.card["protocol"])


def open_any(path: Path | str) -> Run | CrossValidation:
    """The run or the cross-validation in the folder ``path``."""
    return CrossValidation.open(path) if (Path(path) / CROSS_VALIDATION).is_file() else Run.open(path)
