import numpy as np
import pytest
import torch
from PIL import Image

from fer_cli.errors import ModelError
from fer_cli.models import Preprocessing


@pytest.fixture
def crop():
    return np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)


def tensor(crop: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crop).permute(2, 0, 1)[None]


def test_it_is_read_as_it_was_saved(tmp_path):
    saved = Preprocessing(96, face_crop={"size": 224, "margin": 0.15, "detector": "yunet"})
    saved.save(tmp_path)
    assert Preprocessing.load(tmp_path) == saved


def test_transformers_own_processor_prepares_alike(tmp_path, crop):
    from transformers import AutoImageProcessor

    ours = Preprocessing(48)
    ours.save(tmp_path)
    theirs = AutoImageProcessor.from_pretrained(tmp_path)(Image.fromarray(crop), return_tensors="pt")["pixel_values"]
    assert torch.allclose(ours(tensor(crop)), theirs, atol=0.02)


def test_channels_are_red_green_blue_by_imagenets_figures():
    red = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    red[:, 0] = 255
    means = Preprocessing(4)(red).mean(dim=(0, 2, 3))
    assert torch.allclose(means, torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


@pytest.mark.parametrize("text", [None, "{}", '{"size": 3}', "no json"])
def test_what_says_nothing_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ModelError, match="preprocessor_config"):
        Preprocessing.load(tmp_path)


def test_a_network_that_sees_grey_is_given_a_coloured_picture_as_its_grey_one(tmp_path, crop):
    ours = Preprocessing(48, grey=True)
    ours.save(tmp_path)
    assert Preprocessing.load(tmp_path) == ours
    grey = Image.fromarray(crop).convert("L").convert("RGB")
    coloured = ours(tensor(crop))
    assert torch.allclose(coloured, Preprocessing(48)(tensor(np.array(grey))), atol=0.05)
    assert not torch.allclose(coloured, Preprocessing(48)(tensor(crop)), atol=0.5)
