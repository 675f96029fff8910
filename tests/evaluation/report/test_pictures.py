import base64
from io import BytesIO

import numpy as np
from PIL import Image

from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.report.charts import SIDE, Album


def opened(address: str) -> Image.Image:
    start, _, data = address.partition(",")
    assert start == "data:image/jpeg;base64"
    return Image.open(BytesIO(base64.b64decode(data)))


def test_a_picture_is_in_its_address():
    pixels = np.full((20, 30, 3), [200, 60, 10], dtype=np.uint8)
    picture = opened(Album().add(pixels))
    assert picture.size == (30, 20)
    assert np.abs(np.asarray(picture, dtype=int) - pixels).max() <= 4


def test_a_large_one_is_made_smaller_and_keeps_its_shape():
    assert opened(Album().add(np.zeros((600, 300, 3), dtype=np.uint8))).size == (SIDE // 2, SIDE)


def test_the_pictures_of_a_page_have_a_limit():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    length = len(Album().add(pixels))
    album = Album(most_bytes=2 * length)
    assert [album.add(pixels) is not None for _ in range(4)] == [True, True, False, False]


def test_a_crop_that_cannot_be_read_has_none(made):
    crops = Crops(made.path)
    assert opened(Album().crop(crops, "images/P01/anger.png")).size == (32, 32)
    (made.path / "images/P02/anger.png").write_bytes(b"no picture")
    assert Album().crop(crops, "images/P02/anger.png") is None
