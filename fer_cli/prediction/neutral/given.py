"""Neutral faces that a person gives: a picture, a folder, or a table of pictures by subject."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from fer_cli.errors import PictureError, UsageError
from fer_cli.faces.decode import MAX_BYTES
from fer_cli.files import identity_of
from fer_cli.prediction.listing import TABLE, Address, read_table
from fer_cli.prediction.pipeline import FaceExtractor, Neutral
from fer_cli.prediction.results import FacePrediction, Frame, Skipped
from fer_cli.prediction.sources import list_inputs, open_sources
from fer_cli.prediction.sources.remote import check_address, fetch
from fer_cli.tables import PATH_COLUMNS, SUBJECT_COLUMNS

#: Neutral crops kept in memory; one of another subject is read again.
CACHED = 256
ONE_PICTURE = "Type the address of one picture; a folder or a table of them has to be on this disk."
#: A picture is never its own neutral.
ITSELF = Skipped("it is the neutral picture itself", fault=False)


class FixedNeutral:
    """The same neutral face for everybody."""

    def __init__(self, neutral: Neutral):
        self._neutral = neutral

    def fit(self, frames: Iterable[Frame] | None, extract: FaceExtractor) -> None:
        """Nothing depends on the frames."""

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral:
        """The neutral face."""
        return self._neutral


class GivenNeutral:
    """The neutral picture at ``path``, or those of several subjects in a folder (by name) or a table.

    A face's subject is what the list of inputs says, else the name of the folder that its picture is in; where that has
    no neutral picture, the part of the picture's name before the first ``-`` or ``_``. A picture, also one that a table
    names, may be at an address.
    """

    def __init__(self, path: Path):
        self._path = path

    def fit(self, frames: Iterable[Frame] | None, extract: FaceExtractor) -> None:
        """List the neutral pictures; a single one is read, those of subjects when they are needed.

        Raises :class:`~fer_cli.errors.PictureError` or :class:`~fer_cli.errors.UsageError` if they cannot be used.
        """
        path = self._path
        self._everybody: Neutral | None = None
        if isinstance(path, Address):
            check_address(str(path))
            if path.suffix.lower() == TABLE:
                raise UsageError(f"--neutral {path}: a table is read from this disk.", hint=ONE_PICTURE)
        if path.is_dir():
            pictures = _in_folder(path)
        elif path.suffix.lower() == TABLE:
            pictures = _in_table(path)
        else:
            pictures = {"": path}
            self._everybody = Neutral(str(path), _crop(path, extract))
        self._pictures = {unicodedata.normalize("NFC", name): path for name, path in pictures.items()}
        self._identities = set(filter(None, map(identity_of, pictures.values())))
        self._addresses = {str(path) for path in pictures.values() if isinstance(path, Address)}

        @lru_cache(CACHED)
        def read(picture: Path) -> Neutral | Skipped:
            try:
                return Neutral(str(picture), _crop(picture, extract))
            except PictureError as error:
                return Skipped(error.message)

        self._read = read

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral | Skipped:
        """The neutral picture of the frame's subject, unless it is one itself."""
        if identity_of(frame.path) in self._identities or str(frame.path) in self._addresses:
            return ITSELF
        if self._everybody is not None:
            return self._everybody
        stem = frame.path.stem
        names = [frame.path.absolute().parent.name, stem, stem.partition("-")[0], stem.partition("_")[0]]
        if frame.subject is not None:
            names = [frame.subject]
        for name in (unicodedata.normalize("NFC", name) for name in names):
            if name in self._pictures:
                return self._read(self._pictures[name])
        return Skipped(f"no neutral picture of the subject {names[0]}")


def _in_folder(folder: Path) -> dict[str, Path]:
    # In two levels the folder names the subject: anna/rest.jpg and anna.jpg both mean anna.
    pictures: dict[str, Path] = {}
    for found in list_inputs(open_sources([folder])):
        if found.problem is None:
            inside = found.path.relative_to(folder)
            pictures.setdefault(inside.parts[0] if len(inside.parts) > 1 else inside.stem, found.path)
    if not pictures:
        raise PictureError(f"There is no picture in the folder {folder} that --neutral names.")
    return pictures


def _in_table(path: Path) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for picture, subject, problem in read_table(path, UsageError):
        if problem or subject is None:
            raise UsageError(
                f"--neutral {path}: {picture.name}: {problem or 'no subject'}.",
                hint=f"It needs the columns '{SUBJECT_COLUMNS[0]}' and '{PATH_COLUMNS[0]}', a neutral picture's path "
                "from the table's folder.",
            )
        pictures[subject] = picture
    return pictures


def _crop(path: Path, extract: FaceExtractor) -> np.ndarray:
    try:
        if not isinstance(path, Address):
            return extract.largest(path)
        with fetch(path, limit=MAX_BYTES) as file:
            return extract.largest(file.read())
    except PictureError as error:
        hint = error.hint or (ONE_PICTURE if isinstance(path, Address) else "")
        raise PictureError(f"The neutral picture {path} cannot be used: {error.message}.", hint=hint) from error
