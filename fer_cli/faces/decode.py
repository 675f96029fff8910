"""From anything that a person would call a picture to upright RGB pixels."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_cli.errors import PictureError

#: What Pillow may open. Its other readers (PostScript, video, old game formats) are more risk than use.
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM")

#: The largest picture taken on: about 12,000 × 8,000. A small file can claim to be far larger than any memory.
MAX_PIXELS = 100_000_000
#: The largest file taken on, in bytes.
MAX_BYTES = 500_000_000


def decode(source: Path | str | bytes | Image.Image | np.ndarray) -> np.ndarray:
    """The picture as H×W×3 uint8 RGB, turned upright by its EXIF orientation.

    ``source`` is a path, the bytes of a file, a Pillow image, or an array of uint8 (H×W grey, or H×W×3 RGB). Grey is
    made RGB, 16 bits are scaled to 8, transparency is laid on white, of several frames the first is taken. Raises
    :class:`~fer_cli.errors.PictureError`, with a reason in a few words, for whatever cannot be read whole.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _read(source)
    try:
        if isinstance(source, bytes):
            return _open(BytesIO(source), len(source))
        path = Path(source)
        if path.is_dir():
            raise PictureError("a folder, not a picture")
        return _open(path, path.stat().st_size)
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except PermissionError:
        raise PictureError("no permission to read it") from None


def _from_array(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.size == 0:
        raise PictureError("an array that is not uint8 H×W or H×W×3")
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] != 3:
        raise PictureError("an array that is not uint8 H×W or H×W×3")
    return np.ascontiguousarray(pixels)


def _open(file: Path | BytesIO, size: int) -> np.ndarray:
    if size == 0:
        raise PictureError("empty file")
    if size > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES // 1_000_000} MB")
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes and odd metadata; the size is judged here, the metadata is not used.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as picture:
                return _read(picture)
    except UnidentifiedImageError:
        raise PictureError("not a picture") from None


def _read(picture: Image.Image) -> np.ndarray:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"larger than {MAX_PIXELS // 1_000_000} million pixels")
    try:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        return np.asarray(_to_rgb(upright)).copy()
    except PictureError:
        raise
    except (PermissionError, FileNotFoundError):
        raise
    except Exception as error:  # a broken file makes Pillow's readers raise nearly anything
        raise PictureError("broken or cut short") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _from_deep(picture).convert("RGB")
    if picture.has_transparency_data:
        shown = picture.convert("RGBA")
        white = Image.new("RGBA", shown.size, "white")
        return Image.alpha_composite(white, shown).convert("RGB")
    return picture.convert("RGB")


def _from_deep(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8. Pillow's own conversion cuts off whatever is above 255."""
    values = np.asarray(picture).astype(np.int64) if picture.mode != "F" else None
    if values is None or values.min() < 0 or values.max() > 65535:
        raise PictureError("pixels that are neither of 8 nor of 16 bits")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))
