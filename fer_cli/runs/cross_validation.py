"""A finished cross-validation, opened for reading."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from fer_cli.documents import read_document
from fer_cli.errors import RunError
from fer_cli.files import as_text
from fer_cli.protocol import Protocol, StoredProtocol
from fer_cli.runs.run import CROSS_VALIDATION, UNFINISHED, Run, StoredDataset, StoredRecipe


class StoredCrossValidation(TypedDict):
    """What is read of ``cross-validation.json``."""

    model: str
    command: str
    recipe: StoredRecipe
    protocol: StoredProtocol
    dataset: StoredDataset
    folds: Annotated[list[str], Meta(min_length=1)]


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
        card = read_document(path / CROSS_VALIDATION, StoredCrossValidation, RunError)
        return cls(path, card, tuple(Run.open(path / Path(name).name) for name in card["folds"]))

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
