"""Which pictures the files and folders that a person names come to."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.decode import FORMATS


def pictures(sources: Iterable[Path]) -> Iterator[Path]:
    """Every picture among ``sources``, in order: a file as it is, a folder's pictures at every depth by name.

    In a folder a file counts as a picture if its name or its first bytes say so; hidden files and folders are passed
    over, links to folders not followed. Raises :class:`~fer_cli.errors.PictureError` if a source does not exist or a
    folder holds no picture.
    """
    for source in sources:
        if source.is_dir():
            found = False
            for path in _below(source):
                found = True
                yield path
            if not found:
                raise PictureError(f"There is no picture in the folder {source}.")
        elif source.exists():
            yield source
        else:
            raise PictureError(f"There is no file or folder {source}.")


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if not name.startswith(".") and (_named_as_picture(path) or _starts_as_picture(path)):
                yield path


def _named_as_picture(path: Path) -> bool:
    return Image.registered_extensions().get(path.suffix.lower()) in FORMATS


def _starts_as_picture(path: Path) -> bool:
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # whatever a file that is no picture makes a reader raise
        return False
