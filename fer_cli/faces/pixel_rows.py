"""Pictures that are rows of a table: an emotion, then the grey levels of a square picture."""

from pathlib import Path

import numpy as np

from fer_cli.errors import PictureError

#: 48×48 numbers of up to three digits take some nine kilobytes.
MAX_ROW_BYTES = 200_000


def pixel_row(path: Path, offset: int) -> np.ndarray:
    """The picture of the row that begins at byte ``offset``, as S×S×3 uint8 RGB.

    Raises :class:`~fer_cli.errors.PictureError` if the row holds no square of grey levels.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            row = file.readline(MAX_ROW_BYTES).decode("ascii")
        levels = np.array(row.split(",")[1].strip('" \r\n').split(), dtype=float)
    except (OSError, ValueError, IndexError) as error:
        raise PictureError("a row of pixels that cannot be read") from error
    side = round(levels.size**0.5)
    if not levels.size or side * side != levels.size or levels.min() < 0 or levels.max() > 255:
        raise PictureError("a row that holds no square of grey levels")
    return np.repeat(levels.astype(np.uint8).reshape(side, side, 1), 3, axis=2)
