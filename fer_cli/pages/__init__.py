"""Self-contained HTML pages: the environment of their templates, the style that all share, and pictures within them.

A page is one file that needs no network: its style and its pictures are part of it, and all text that comes from
outside is escaped. The template includes ``page.css.jinja`` for the colours of both themes and the common parts.
"""

import base64
from functools import lru_cache
from importlib import resources
from io import BytesIO
from typing import Any

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from PIL import Image

#: The style that all pages share: light and dark by the reader's preference, or by ``data-theme`` of the root.
STYLE = "page.css.jinja"
#: Macros that draw charts and maps, whose geometry is worked out in :mod:`fer_cli.evaluation.report.charts`.
CHARTS = "charts.html.jinja"
QUALITY = 88


@lru_cache(maxsize=4)
def environment(package: str, names: tuple[str, ...], **filters: Any) -> Environment:
    """The environment of the templates ``names``, files of ``package``, with :data:`STYLE` and :data:`CHARTS`.

    Everything is escaped.
    """
    files = dict.fromkeys((STYLE, CHARTS), resources.files(__name__)) | dict.fromkeys(names, resources.files(package))
    made = Environment(
        loader=DictLoader({name: (folder / name).read_text(encoding="utf-8") for name, folder in files.items()}),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(filters)
    return made


def encode_jpeg(pixels: np.ndarray, side: int, quality: int = QUALITY) -> bytes:
    """H×W×3 uint8 RGB ``pixels`` as a JPEG whose longer side is at most ``side`` pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    file = BytesIO()
    picture.save(file, format="JPEG", quality=quality)
    return file.getvalue()


class Pictures:
    """The pictures of one page as ``data:`` addresses, until together they are ``most_bytes``; then None."""

    def __init__(self, most_bytes: int):
        self._room = most_bytes

    def address(self, jpeg: bytes) -> str | None:
        """The address of a JPEG."""
        found = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
        if len(found) > self._room:
            return None
        self._room -= len(found)
        return found
