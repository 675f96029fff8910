"""Pictures that are rows of a table, in one of whose columns the grey levels of a square picture stand."""

import re
from pathlib import Path

import numpy as np

from fer_cli.errors import PictureError
from fer_cli.files import open_regular

#: 48×48 numbers of up to three digits take some nine kilobytes.
MAX_ROW_BYTES = 200_000
_BETWEEN_CELLS = re.compile(rb"[,;\t\"\r\n]")
_LEVELS = re.compile(rb" *[0-9]{1,3}(?: +[0-9]{1,3})* *")


def pixel_row(path: Path, offset: int) -> np.ndarray:
    """The picture of the row that begins at byte ``offset``, as S×S×3 uint8 RGB.

    Raises :class:`~fer_cli.errors.PictureError` if the row holds no square of grey levels.
    """
    try:
        with open_regular(path) as file:
            file.seek(offset)
            row = file.readline(MAX_ROW_BYTES)
    except OSError as error:
        raise PictureError("a row of pixels that cannot be read") from error
    # The other columns are single words.
    cell = max(_BETWEEN_CELLS.split(row), key=lambda cell: cell.count(b" "))
    levels = np.array(cell.split() if _LEVELS.fullmatch(cell) else [], dtype=int)
    side = round(levels.size**0.5)
    if levels.size < 4 or side * side != levels.size or levels.max() > 255:
        raise PictureError("a row that holds no square of grey levels")
    return np.repeat(levels.astype(np.uint8).reshape(side, side, 1), 3, axis=2)
