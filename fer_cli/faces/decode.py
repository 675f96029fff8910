"""Decoding of anything that a person would call a picture to upright RGB pixels."""

import errno
import os
import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pyarrow
from PIL import ExifTags, Image, UnidentifiedImageError

from fer_cli.errors import PictureError
from fer_cli.extras import is_installed
from fer_cli.faces.formats import FORMATS, HEAD, HEIF, NEEDS_HEIF, is_heif, is_raw, why_unread
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_descriptor, open_regular

#: The largest picture taken on: about 12,000 × 8,000. A small file can claim to be far larger than any memory.
MAX_PIXELS = 100_000_000
#: The largest file taken on, in bytes.
MAX_BYTES = 500_000_000
#: The largest file that is read at once, in bytes.
AT_ONCE = 1 << 20
#: By what errors the opening of a pipe, a socket or a device fails.
NO_FILE = (errno.EINVAL, errno.ENXIO, errno.ENODEV)
#: Formats whose further frames or pages are pictures of their own.
SEVERAL = ("GIF", "PNG", "TIFF", "WEBP", "AVIF", HEIF)
FIRST_OF_SEVERAL = "several frames: the first is taken"

#: What turns a picture upright, by its EXIF orientation (Exif 2.32, tag 0x0112).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    source: Path | str | bytes | Image.Image | np.ndarray,
    *,
    max_pixels: int = MAX_PIXELS,
    note: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """The picture as H×W×3 uint8 RGB, turned upright by its EXIF orientation.

    ``source`` is a path, the bytes of a file, a Pillow image, or an array of uint8 (H×W grey, or H×W×3 RGB). HEIC is
    read where pillow-heif is installed. Grey is made RGB, 16 bits are scaled to 8, transparency is laid on white; of
    several frames the first is taken, and ``note`` is called with a few words on that. Raises
    :class:`~fer_cli.errors.PictureError`, with a reason in a few words, for whatever cannot be read whole or has more
    than ``max_pixels``.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes and odd metadata; the size is checked here, the metadata is not used.
            warnings.simplefilter("ignore")
            if isinstance(source, Image.Image):
                return _read(source, max_pixels, note)
            if isinstance(source, bytes):
                return _open(BytesIO(source), len(source), max_pixels, note)
            file, size = _opened(Path(source))
            with file:
                return _open(file, size, max_pixels, note)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture" if isinstance(source, Image.Image) else _why_not_a_picture(source)) from None
    except Image.DecompressionBombError:
        raise PictureError(too_many_pixels(max_pixels)) from None
    except Exception as error:  # a broken file makes Pillow's readers raise nearly anything
        raise PictureError("broken or cut short") from error


def begins_as_picture(source: Path | IO[bytes]) -> bool:
    """Whether the first bytes of the file are those of a picture that :func:`decode` reads or tells a reason of."""
    try:
        with open_regular(source) if isinstance(source, Path) else nullcontext(source) as file:
            if is_heif(file.read(HEAD)):
                return True
            file.seek(0)
            with Image.open(file, formats=FORMATS):
                return True
    except Exception:  # whatever a file that is no picture makes a reader raise
        return False


def too_many_pixels(most: int) -> str:
    """Why a picture of more than ``most`` pixels is not taken on."""
    return f"larger than {most / 1_000_000:g} million pixels"


def _from_array(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.size == 0:
        raise PictureError("an array that is not uint8 H×W or H×W×3")
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] != 3:
        raise PictureError("an array that is not uint8 H×W or H×W×3")
    return np.ascontiguousarray(pixels)


def why_unreadable(error: OSError | ValueError) -> str:
    """Why a path could not be opened, by the ``error`` of :func:`~fer_cli.files.open_regular`."""
    match getattr(error, "errno", None):
        case errno.ENOENT:
            return "no such file"
        case errno.EACCES | errno.EPERM:
            return "no permission to read it"
        case errno.EISDIR:
            return "a folder, not a picture"
        case errno.ELOOP:
            return "a link that leads in a circle"
        case number if number in NO_FILE:
            return "not a regular file but a pipe, a socket or a device"
    return "no path to a file"


def _opened(path: Path) -> tuple[IO[bytes], int]:
    """The file, and its size in bytes."""
    if is_raw(path):
        raise PictureError(why_unread(path) or "broken or cut short")
    try:
        descriptor, size = open_descriptor(path)
        # A Python file asks the system twice as often, and each time hands Python's lock to another thread.
        try:
            content = os.read(descriptor, size + 1) if size <= AT_ONCE else b""
        finally:
            os.close(descriptor)
        # A stated size need not be true.
        return (BytesIO(content) if len(content) == size else open_regular(path)), size
    except (OSError, ValueError) as error:
        raise PictureError(why_unreadable(error)) from error


def _open(file: IO[bytes], size: int, max_pixels: int, note: Callable[[str], None]) -> np.ndarray:
    if size == 0:
        raise PictureError("empty file")
    if size > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES // 1_000_000} MB")
    if max_pixels > MAX_PIXELS:
        # Pillow refuses by a limit of its own; whoever sets a higher one here means it.
        Image.MAX_IMAGE_PIXELS = max_pixels
    heif = is_heif(file.read(HEAD))
    file.seek(0)
    formats = (*FORMATS, HEIF) if heif and _reads_heif() else FORMATS
    try:
        with Image.open(file, formats=formats) as picture:
            return _read(picture, max_pixels, note)
    except UnidentifiedImageError:
        if not heif:
            raise
        raise PictureError("broken or cut short" if _reads_heif() else NEEDS_HEIF) from None


@cache
def _reads_heif() -> bool:
    """Whether Pillow reads HEIC: pillow-heif is loaded when the first such picture comes."""
    if not is_installed("pillow_heif"):
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return True


def _why_not_a_picture(source: Path | str | bytes) -> str:
    if isinstance(source, bytes):
        return "not a picture"
    path = Path(source)
    return LFS_POINTER if is_lfs_pointer(path) else why_unread(path) or "not a picture"


def _read(picture: Image.Image, max_pixels: int, note: Callable[[str], None]) -> np.ndarray:
    width, height = picture.size
    if width * height > max_pixels:
        raise PictureError(too_many_pixels(max_pixels))
    picture.load()
    if picture.format in SEVERAL and getattr(picture, "is_animated", False):
        note(FIRST_OF_SEVERAL)
    # ImageOps.exif_transpose also writes the metadata anew, and fails on much that it could have read.
    turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    shown = _to_rgb(picture)
    return _pixels(shown if turn is None else shown.transpose(turn))


def _pixels(picture: Image.Image) -> np.ndarray:
    """The H×W×3 uint8 of an RGB ``picture``."""
    width, height = picture.size
    try:
        # Pillow has four bytes a pixel in memory, which this does not copy.
        _, memory = pyarrow.array(picture).values.buffers()
    except ValueError:
        # A large picture lies in several pieces. To copy it holds Python's lock, and takes three times as long.
        return np.array(picture)
    return cv2.cvtColor(np.frombuffer(memory, np.uint8).reshape(height, width, 4), cv2.COLOR_RGBA2RGB)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _from_deep(picture).convert("RGB")
    if picture.has_transparency_data:
        shown = picture.convert("RGBA")
        white = Image.new("RGBA", shown.size, "white")
        return Image.alpha_composite(white, shown).convert("RGB")
    # Pillow copies a picture that is RGB already.
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _from_deep(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8. Pillow's own conversion cuts off whatever is above 255."""
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise PictureError("pixels that are neither of 8 nor of 16 bits")
    # 65535 / 255 = 257, and half of that rounds: 0 stays 0 and 65535 becomes 255.
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


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
