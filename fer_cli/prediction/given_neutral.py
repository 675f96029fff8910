"""Which neutral face a face is compared with: the interface, and the neutral faces that a person names."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from fer_cli.errors import PictureError, UsageError
from fer_cli.faces.crop import Crop
from fer_cli.prediction.inputs import inputs
from fer_cli.prediction.lists import TABLE, table_of_pictures
from fer_cli.prediction.look import Looker
from fer_cli.prediction.shots import Shot
from fer_cli.tables import PATH_COLUMNS, SUBJECT_COLUMNS

#: Neutral crops kept in memory; one of another subject is read again.
KEPT = 256


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """The neutral face that a face is compared with.

    ``pixels`` is its crop, size×size×3 uint8 RGB; or ``embedding`` holds the D float32 numbers that the model's encoder
    makes of it. ``served`` says for the output's column which one it is. ``confidence`` is the probability that it is
    neutral, where that was found and not told.
    """

    served: str
    pixels: np.ndarray | None = None
    embedding: np.ndarray | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class NoNeutral:
    """Why there is no neutral face for a face; ``fault`` is False where that is by rule."""

    reason: str
    fault: bool = True


class NeutralSource(Protocol):
    """Finds the neutral face for each face that is met."""

    def __call__(self, shot: Shot, number: int, crop: Crop) -> Neutral | NoNeutral:
        """The neutral face for face ``number`` of ``shot``, counted from 0; called in order, by one thread."""


class OnePicture:
    """One neutral picture for everybody; it is no target itself.

    Raises :class:`~fer_cli.errors.PictureError` if the picture cannot be used.
    """

    def __init__(self, path: Path, looker: Looker):
        self._neutral = Neutral(str(path), _crop(path, looker))
        self._identity = _identity(path)

    def __call__(self, shot: Shot, number: int, crop: Crop) -> Neutral | NoNeutral:
        """The one picture, unless ``shot`` is that."""
        return ITSELF if _identity(shot.path) == self._identity else self._neutral


class PerSubject:
    """A neutral picture for each subject, ``pictures`` by the subject's name.

    A face's subject is what the list of inputs says, else the name of the folder that its picture is in; where that has
    no neutral picture, the part of the picture's name before the first ``-`` or ``_``.
    """

    def __init__(self, pictures: Mapping[str, Path], looker: Looker):
        self._pictures = {unicodedata.normalize("NFC", name): path for name, path in pictures.items()}
        self._identities = {identity for path in pictures.values() if (identity := _identity(path))}
        self._neutral = lru_cache(KEPT)(lambda path: _neutral_or_none(path, looker))

    def __call__(self, shot: Shot, number: int, crop: Crop) -> Neutral | NoNeutral:
        """The neutral picture of the subject of ``shot``, unless it is one itself."""
        if _identity(shot.path) in self._identities:
            return ITSELF
        if shot.subject is not None:
            names = [shot.subject]
        else:
            stem = shot.path.stem
            names = [shot.path.absolute().parent.name, stem, stem.partition("-")[0], stem.partition("_")[0]]
        for name in (unicodedata.normalize("NFC", name) for name in names):
            if name in self._pictures:
                return self._neutral(self._pictures[name])
        return NoNeutral(f"no neutral picture of the subject {names[0]}")


#: A picture is never its own neutral.
ITSELF = NoNeutral("it is the neutral picture itself", fault=False)


def given_neutral(path: Path, looker: Looker) -> NeutralSource:
    """The source that ``path`` means: a picture, a folder with a picture of each subject by name, or a table of them.

    Raises :class:`~fer_cli.errors.PictureError` or :class:`~fer_cli.errors.UsageError` if it cannot be used.
    """
    if path.is_dir():
        # Two levels are told apart by the folder: anna/rest.jpg and anna.jpg both mean anna.
        pictures: dict[str, Path] = {}
        for found in inputs([path]):
            if found.problem is None:
                inside = found.path.relative_to(path)
                pictures.setdefault(inside.parts[0] if len(inside.parts) > 1 else inside.stem, found.path)
        if not pictures:
            raise PictureError(f"There is no picture in the folder {path} that --neutral names.")
        return PerSubject(pictures, looker)
    if path.suffix.lower() == TABLE:
        return PerSubject(_table(path), looker)
    return OnePicture(path, looker)


def _table(path: Path) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for picture, subject, problem in table_of_pictures(path, UsageError):
        if problem or subject is None:
            raise UsageError(
                f"--neutral {path}: {picture.name}: {problem or 'no subject'}.",
                hint=f"It needs the columns '{SUBJECT_COLUMNS[0]}' and '{PATH_COLUMNS[0]}', a neutral picture's path "
                "from the table's folder.",
            )
        pictures[subject] = picture
    return pictures


def _neutral_or_none(path: Path, looker: Looker) -> Neutral | NoNeutral:
    try:
        return Neutral(str(path), _crop(path, looker))
    except PictureError as error:
        return NoNeutral(error.message)


def _crop(path: Path, looker: Looker) -> np.ndarray:
    try:
        return looker.crop_of(path).pixels
    except PictureError as error:
        raise PictureError(f"The neutral picture {path} cannot be used: {error.message}.") from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
