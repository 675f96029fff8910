"""Where an encoder starts: by a word, a run or a file, with the preprocessing that its weights were trained with."""

from pathlib import Path

import pytest
import torch

from fer_cli import pretrained
from fer_cli.errors import ModelError
from fer_cli.models import backbones
from fer_cli.models.backbones import best_start, starting_point
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from fer_cli.models.vggface2 import VGGFace2Backbone, VGGFace2Encoder
from fer_cli.models.weights import ALL
from fer_cli.training.recipes.base import preprocessing_of, starting_file
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from tests.made import made_model


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """A packaged model: a run's folder."""
    folder = tmp_path / "faces"
    made_model(features="target").save_pretrained(folder)
    Preprocessing(48, (0.5,) * 3, (0.25,) * 3, face_crop={"size": 64, "margin": 0.0}).save(folder)
    (folder / "run.json").write_text("{}")
    monkeypatch.setattr(pretrained, "packaged_model", lambda _="faces": folder)
    return folder


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A machine without a packaged model and without any published weights."""
    monkeypatch.setattr(pretrained, "packaged_model", lambda _="faces": None)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))


def test_auto_is_the_packaged_model_where_there_is_one(faces):
    assert best_start(None) == "faces"
    assert best_start("timm/test_resnet") == "imagenet"
    start = starting_point("auto", None)
    assert (start.backbone, start.size) == ("mobilenet_v3_small", 48)
    assert start.normalisation == ((0.5,) * 3, (0.25,) * 3)
    assert len(start.weights()) > 100
    assert starting_file("faces") == [faces]


def test_auto_is_imagenet_where_its_weights_are_here(nothing, monkeypatch):
    place = ALL["mobilenet_v3_large"]._file()
    place.parent.mkdir(parents=True)
    place.touch()
    assert best_start(None) == "imagenet"


def test_auto_without_either_says_what_to_type(nothing):
    with pytest.raises(
        ModelError, match=r"no packaged model, and the ImageNet weights .* are not in torch's cache"
    ) as caught:
        best_start(None)
    assert "--encoder scratch" in caught.value.hint
    with pytest.raises(ModelError, match="no packaged model"):
        starting_point("faces", None)


def test_vggface2_starts_from_the_imported_weights_and_is_not_imagenets(nothing):
    with pytest.raises(ModelError, match="no weights of ImageNet"):
        starting_point("imagenet", "vggface2")
    assert starting_point("scratch", "vggface2").weights() is None


def test_a_starting_word_for_a_network_that_is_none_names_what_there_is():
    with pytest.raises(ModelError, match="There is no backbone 'resnet'") as caught:
        starting_point("scratch", "resnet").normalisation  # noqa: B018
    assert "timm/NAME" in caught.value.hint


def test_the_vggface2_encoder_is_the_published_network_at_the_size_of_its_input():
    torch.manual_seed(0)
    published, encoder = VGGFace2Encoder().eval(), VGGFace2Backbone().eval()
    encoder.network.load_state_dict(published.network.state_dict())
    colours = torch.rand(1, 3, 224, 224)
    mean, std = (torch.tensor(each)[:, None, None] for each in (encoder.mean, encoder.std))
    bgr = 255 * colours.flip(1) - torch.tensor([91.4953, 103.8827, 131.0912])[:, None, None]
    with torch.no_grad():
        found, expected = encoder((colours - mean) / std), published.network(bgr)
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
        assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, 2048)


def test_a_run_that_sees_grey_pictures_passes_it_on(faces):
    start = starting_point("faces", None)
    assert not preprocessing_of(start, 48, {}).grey
    Preprocessing(48, grey=True).save(faces)
    assert preprocessing_of(start, 48, {}).grey
    assert preprocessing_of(starting_point("scratch", None), 48, {}, grey=True).grey


def test_torchvisions_networks_take_imagenets_colours_and_the_crops_size():
    start = starting_point("scratch", "mobilenet_v3_small")
    assert start.normalisation == (IMAGENET_MEAN, IMAGENET_STD)
    assert backbones.starting_point("imagenet", None).size is None


def test_auto_in_a_recipe_is_replaced_by_what_is_here(faces, nothing, monkeypatch):
    monkeypatch.setattr(pretrained, "packaged_model", lambda _="faces": faces)
    assert DifferenceRecipe().resolved().encoder == "faces"
    assert DifferenceRecipe(encoder="scratch").resolved() == DifferenceRecipe(encoder="scratch")
    found = DisentangledRecipe(stage=1).resolved()
    assert (found.encoder, found.identity) == ("faces", "subjects")
    imported = ALL["vggface2"].target()
    imported.parent.mkdir(parents=True)
    imported.touch()
    assert DisentangledRecipe(stage=1).resolved().identity == "vggface2"
    # Stage 2 starts from a run, whatever is packaged.
    assert DisentangledRecipe(stage=2).resolved().encoder is None


def test_the_notes_recipes_start_from_imagenet():
    for kind in (DifferenceRecipe, DisentangledRecipe):
        note = kind.published["note"]()
        assert (note.encoder, note.hidden, note.dropout, note.standardise) == ("imagenet", (256, 128, 64, 32), 0, False)
    assert DisentangledRecipe.published["note"]().identity == "vggface2"


def test_auto_with_the_smallest_network_is_the_packaged_model_that_has_it(monkeypatch):
    monkeypatch.setattr(pretrained, "packaged_model", lambda name="faces": Path("installed", name))
    assert backbones.best_start("resnet10_small") == "faces-quick"
    assert backbones.best_start("resnet18_small") == backbones.best_start(None) == "faces"
    monkeypatch.setattr(pretrained, "packaged_model", lambda name="faces": None)
    with pytest.raises(ModelError, match="resnet10_small has no weights of ImageNet"):
        starting_point(backbones.best_start("resnet10_small"), "resnet10_small")
