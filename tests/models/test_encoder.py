import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from fer_cli.errors import ModelError
from fer_cli.models.backbones import imagenet_weights, load_encoder, make_encoder, starting_point, weights_from


@pytest.fixture
def network():
    torch.manual_seed(1)
    return torchvision.models.mobilenet_v3_small(weights=None)


def test_it_is_torchvisions_network_up_to_the_average_pool(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    encoder = make_encoder("mobilenet_v3_small").eval()
    load_encoder(encoder, weights_from(tmp_path / "weights.pth"), "a file")
    picture = torch.randn(1, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        expected = network.avgpool(network.features(picture)).flatten(1)
        assert torch.allclose(encoder(picture), expected)
    assert encoder.width == expected.shape[1] == 576


def test_its_statistics_move_faster_than_torchvisions():
    momenta = {
        module.momentum for module in make_encoder("mobilenet_v3_small").modules() if isinstance(module, nn.BatchNorm2d)
    }
    assert momenta == {0.1}


def test_weights_of_another_network_are_refused_by_name(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "small.pth")
    with pytest.raises(ModelError, match=r"lack features\.\S+"):
        load_encoder(make_encoder("mobilenet_v3_large"), weights_from(tmp_path / "small.pth"), "small.pth")


def test_no_pickle_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    with (tmp_path / "trap.pth").open("wb") as file:
        pickle.dump({"features.0.0.weight": Trap()}, file)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        weights_from(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_says_what_encoder_takes(tmp_path):
    with pytest.raises(ModelError) as caught:
        weights_from(tmp_path / "nowhere.pth")
    assert "imagenet, scratch" in caught.value.hint


def test_imagenet_weights_that_cannot_be_downloaded_say_what_to_type(monkeypatch, tmp_path):
    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(ModelError) as caught:
        imagenet_weights("mobilenet_v3_small")
    assert "no route to host" in caught.value.message
    assert "--encoder scratch" in caught.value.hint
    assert ".pth" in caught.value.hint


#: The small ResNets, their widths, and how many megabytes they have in float16, with a head, at most.
SMALL_RESNETS = [("resnet18_small", 272, 7.9), ("resnet10_small", 208, 2.2)]


@pytest.mark.parametrize(("name", "width", "megabytes"), SMALL_RESNETS)
def test_a_small_resnet_halves_a_picture_four_times(name, width, megabytes):
    encoder = make_encoder(name).eval()
    assert encoder.features(torch.zeros(1, 3, 64, 64)).shape == (1, width, 4, 4)
    assert encoder(torch.zeros(2, 3, 48, 48)).shape == (2, encoder.width) == (2, width)
    assert 2 * sum(tensor.numel() for tensor in encoder.state_dict().values()) < megabytes * 1e6


@pytest.mark.parametrize("name", ["resnet18_small", "resnet10_small"])
def test_its_blocks_begin_as_the_identity(name):
    encoder = make_encoder(name).eval()
    stem, block = encoder.features[:3], encoder.features[3]
    pictures = torch.rand(1, 3, 32, 32)
    assert torch.equal(block(stem(pictures)), stem(pictures))


@pytest.mark.parametrize("name", ["resnet18_small", "resnet10_small"])
def test_its_weights_are_known_by_their_widths(tmp_path, name):
    save_file(make_encoder(name).state_dict(), tmp_path / "weights.safetensors")
    assert starting_point(str(tmp_path / "weights.safetensors"), None).backbone == name
    with pytest.raises(ModelError, match=f"{name} has no weights of ImageNet"):
        starting_point("imagenet", name)
