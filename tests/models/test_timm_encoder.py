"""timm's networks as encoders: found by name only, saved and loaded without a network."""

import socket

import pytest
import torch
from safetensors.torch import save_file

from fer_cli.errors import ModelError
from fer_cli.models.backbones import make_encoder, require_embeddings, starting_point
from fer_cli.models.difference import DifferenceConfig, DifferenceModel
from fer_cli.models.encoder import published_weights
from fer_cli.models.loading import load_own

timm = pytest.importorskip("timm")
LABELS = {"id2label": {0: "anger", 1: "happiness"}, "label2id": {"anger": 0, "happiness": 1}}


def picture(size=32):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size", "width"), [("test_resnet", 32, 96), ("test_vit", 64, 64), ("test_mambaout", 64, 256)]
)
def test_it_embeds_as_timms_network_without_its_classifier(name, size, width):
    encoder = make_encoder(f"timm/{name}", size).eval()
    assert encoder.width == width
    with torch.no_grad():
        embeddings = encoder(picture(size))
        assert torch.equal(embeddings, encoder.network(picture(size)))
    assert embeddings.shape == (2, width)


def test_its_normalisation_and_size_are_what_timm_says_of_it():
    assert make_encoder("timm/test_resnet").mean == (0.5, 0.5, 0.5)
    assert make_encoder("timm/resnet18").mean == (0.485, 0.456, 0.406)
    assert starting_point("imagenet", "timm/test_vit").size == 160
    assert starting_point("scratch", "timm/test_vit").size is None


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet"])
def test_a_model_with_it_is_saved_and_loaded_as_it_was(name, tmp_path):
    config = DifferenceConfig(backbone=f"timm/{name}", image_size=64, hidden_sizes=[], standardise=True, **LABELS)
    model = DifferenceModel(config).eval()
    model.standardise(torch.randn(9, model.encoder.width), torch.randn(9, model.encoder.width))
    model.save_pretrained(tmp_path)
    loaded = load_own(tmp_path).eval()
    with torch.no_grad():
        expected = model(picture(64), picture(64).flip(-1)).logits
        assert torch.equal(loaded(picture(64), picture(64).flip(-1)).logits, expected)


def test_what_a_network_computes_and_does_not_store_is_there_after_loading(tmp_path):
    """Windows of a Swin transformer look up their places in a table that is no weight."""
    model = DifferenceModel(DifferenceConfig(backbone="timm/swin_tiny_patch4_window7_224", image_size=64, **LABELS))
    tables = {name for name, _ in model.named_buffers()} - model.state_dict().keys()
    assert tables
    model.save_pretrained(tmp_path)
    loaded, made = dict(load_own(tmp_path).named_buffers()), dict(model.named_buffers())
    assert all(torch.equal(loaded[name], made[name]) for name in tables)


def test_a_typo_is_answered_with_the_nearest_names():
    with pytest.raises(ModelError, match="no network called 'resnet81'") as caught:
        make_encoder("timm/resnet81")
    assert "timm/resnet" in caught.value.hint
    with pytest.raises(ModelError, match=r"no weights called 'resnet18\.a1_in2k'") as caught:
        make_encoder("timm/resnet18.a1_in2k")
    assert "timm/resnet18.a1_in1k" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["hf-hub:someone/model", "local-dir:/tmp/model", "../model", "resnet18.hf-hub:x/y", ""]
)
def test_nothing_but_a_listed_name_is_built(name, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(ModelError):
        make_encoder(f"timm/{name}")


def test_weights_that_cannot_be_downloaded_say_what_was_looked_for_and_what_to_type(monkeypatch):
    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    with pytest.raises(ModelError, match=r"timm/test_resnet\.r160_in1k was looked for.*no route to host") as caught:
        published_weights("test_resnet")
    assert "--encoder PATH" in caught.value.hint
    assert "--encoder scratch" in caught.value.hint


def test_published_weights_of_an_unlisted_network_are_refused_too():
    with pytest.raises(ModelError, match="no network called"):
        published_weights("resnet18_nope")


def test_a_file_named_as_timms_is_read_without_its_classifier(tmp_path):
    network = timm.create_model("test_resnet", num_classes=1000)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    start = starting_point(str(tmp_path / "weights.safetensors"), "timm/test_resnet")
    encoder = make_encoder(start.backbone).eval()
    assert start.start(encoder)
    network.reset_classifier(0)
    with torch.no_grad():
        assert torch.equal(encoder(picture()), network.eval()(picture()))


def test_position_embeddings_are_fitted_to_the_size(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "weights.safetensors")
    start = starting_point(str(tmp_path / "weights.safetensors"), "timm/test_vit")
    encoder = make_encoder(start.backbone, 64)
    assert start.start(encoder, 64)
    assert encoder.network.pos_embed.shape[1] == 1 + (64 // 16) ** 2


def test_a_file_of_another_network_is_refused_by_its_layers(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(ModelError, match="do not fit the model") as caught:
        starting_point(str(tmp_path / "vit.safetensors"), "timm/test_resnet").weights()
    assert "--backbone" in caught.value.hint
    with pytest.raises(ModelError, match="none of the encoders") as caught:
        starting_point(str(tmp_path / "vit.safetensors"), None)
    assert "--backbone timm/NAME" in caught.value.hint


def test_an_encoder_of_unknown_width_is_refused(monkeypatch):
    encoder = make_encoder("timm/test_resnet")
    require_embeddings(encoder, 32, "timm/test_resnet")
    encoder.width = 95
    with pytest.raises(ModelError, match="unknown width: it was to give 1×95 numbers for a picture, and gave 1×96"):
        require_embeddings(encoder, 32, "timm/test_resnet")
    monkeypatch.setattr(encoder.network, "forward_features", lambda pixels: pixels @ torch.ones(7, 7))
    with pytest.raises(ModelError, match="timm/test_resnet cannot embed pictures of 32 pixels") as caught:
        require_embeddings(encoder, 32, "timm/test_resnet")
    assert "--size" in caught.value.hint


def test_grad_cam_is_of_feature_maps_whatever_their_order():
    for name in ("test_resnet", "test_mambaout"):
        encoder = make_encoder(f"timm/{name}").eval()
        found = encoder.grad_cam(picture(64)[:1], lambda embedding: embedding.sum())
        assert found.shape == (2, 2)
        assert (found >= 0).all()


def test_a_transformer_says_that_grad_cam_needs_feature_maps():
    encoder = make_encoder("timm/test_vit", 64).eval()
    with pytest.raises(ModelError, match="Grad-CAM needs the feature maps of a convolutional encoder"):
        encoder.grad_cam(picture(64)[:1], lambda embedding: embedding.sum())


def test_its_statistics_move_as_fast_as_those_of_mobilenet():
    momenta = {
        module.momentum
        for module in make_encoder("timm/mobilenetv3_small_050").modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert momenta == {0.1}
