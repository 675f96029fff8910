import os

import numpy as np
import pytest
import torch
from PIL import Image

from fer_cli.dataset.tensors import Crops, Faces
from fer_cli.errors import DatasetError
from tests.made import CLASSES

INDEX = {name: place for place, name in enumerate(CLASSES)}


def test_an_item_is_a_face_its_neutral_face_and_its_class(made):
    rows = made.samples(paired=True)
    faces = Faces(rows, Crops(made.path), INDEX, paired=True)
    assert len(faces) == len(rows)
    for place, row in enumerate(rows.itertuples()):
        item = faces[place]
        assert item["labels"] == INDEX[row.label]
        for name, file_name in (("pixel_values", row.file_name), ("neutral_pixel_values", row.neutral_file_name)):
            written = np.array(Image.open(made.path / file_name))
            assert np.array_equal(item[name].permute(1, 2, 0).numpy(), written)


def test_without_pairs_there_is_no_neutral_face(made):
    assert set(Faces(made.samples(paired=False), Crops(made.path), INDEX, paired=False)[0]) == {
        "pixel_values",
        "labels",
    }


def test_crops_are_kept_in_memory_only_as_far_as_there_is_room(made):
    name = made.metadata["file_name"][0]
    roomy, narrow = Crops(made.path), Crops(made.path, kept_bytes=0)
    assert roomy[name] is roomy[name]
    assert narrow[name] is not narrow[name]
    assert torch.equal(roomy[name], narrow[name])


def test_a_crop_that_is_gone_or_broken_is_named(made):
    name = made.metadata["file_name"][0]
    (made.path / name).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="cannot be read"):
        Crops(made.path)[name]


def test_a_crop_of_another_size_is_named(made):
    first, other = made.metadata["file_name"][:2]
    Image.new("RGB", (40, 32)).save(made.path / other)
    crops = Crops(made.path)
    assert crops[first].shape == (3, 32, 32)
    with pytest.raises(DatasetError, match=f"{other} has 40×32 pixels, others have 32×32"):
        crops[other]


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_case_25_a_crop_that_is_a_pipe_or_a_device_is_named(made, kind):
    name = made.metadata["file_name"][0]
    (made.path / name).unlink()
    if kind == "pipe":
        os.mkfifo(made.path / name)
    else:
        (made.path / name).symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match=f"{name} cannot be read"):
        Crops(made.path)[name]
