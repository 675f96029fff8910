"""Pictures inside a page."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DatasetError

#: The longer side of a picture on the page, in pixels; a larger one is made smaller.
SIDE = 160
#: What all pictures of a page come to at most, in bytes as they stand in it.
MOST_BYTES = 4_000_000


class Album:
    """The pictures of one page as ``data:`` addresses, until together they are ``most_bytes``; then None."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._room = most_bytes

    def crop(self, crops: Crops, name: str) -> str | None:
        """The crop called ``name``; None also where it cannot be read, which is no reason to have no page."""
        try:
            return self.add(crops[name].permute(1, 2, 0).numpy())
        except DatasetError:
            return None

    def add(self, pixels: np.ndarray) -> str | None:
        """H×W×3 uint8 pixels as a JPEG."""
        picture = Image.fromarray(pixels)
        picture.thumbnail((SIDE, SIDE))
        file = BytesIO()
        picture.save(file, format="JPEG", quality=88)
        address = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        if len(address) > self._room:
            return None
        self._room -= len(address)
        return address
