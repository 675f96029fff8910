import numpy as np
import pytest

from fer_cli.errors import PictureError
from fer_cli.faces.crop import cut

PICTURE = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8)


def test_a_box_is_cut_out_with_room_about_it():
    assert np.array_equal(cut(PICTURE, (40, 30, 20, 10)), PICTURE[27:43, 34:66])


def test_room_ends_at_the_pictures_edge():
    assert np.array_equal(cut(PICTURE, (0, 0, 120, 100)), PICTURE)


@pytest.mark.parametrize("box", [(10, 10, 0, 5), (10, 10, 5, -5), (500, 10, 20, 20), (float("nan"), 0, 5, 5)])
def test_a_box_that_holds_nothing_is_said(box):
    with pytest.raises(PictureError, match="box"):
        cut(PICTURE, box)
