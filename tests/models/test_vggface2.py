"""The published identity network, against a plain re-statement of its architecture.

The re-statement below is written from the description of the network, not from torchvision's classes: ResNet-50 as in
Caffe, whose bottleneck has its stride on the first 1×1 convolution and whose max-pool rounds up.
"""

import pickle
import struct

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional

from fer_cli.errors import ModelError
from fer_cli.models.identity import identity_weights
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from fer_cli.models.vggface2 import BGR_MEANS, VGGFace2Encoder, as_published, import_published, load_published
from fer_cli.models.weights import ALL, import_weights

BLOCKS = (3, 4, 6, 3)


def published_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under the names and in the shapes of the published file, small enough not to overflow."""
    random = np.random.default_rng(seed)
    arrays = {}

    def convolution(name: str, inward: int, outward: int, side: int) -> None:
        scale = (2 / (inward * side * side)) ** 0.5
        arrays[f"{name}.weight"] = (scale * random.standard_normal((outward, inward, side, side))).astype("f4")

    def norm(name: str, width: int) -> None:
        arrays[f"{name}.weight"] = random.uniform(0.5, 1.0, width).astype("f4")
        arrays[f"{name}.bias"] = (0.1 * random.standard_normal(width)).astype("f4")
        arrays[f"{name}.running_mean"] = (0.1 * random.standard_normal(width)).astype("f4")
        arrays[f"{name}.running_var"] = random.uniform(0.5, 2.0, width).astype("f4")

    convolution("conv1", 3, 64, 7)
    norm("bn1", 64)
    inward = 64
    for stage, blocks in enumerate(BLOCKS, start=1):
        narrow = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            for number, (one, other, side) in enumerate(
                ((inward, narrow, 1), (narrow, narrow, 3), (narrow, 4 * narrow, 1)), start=1
            ):
                convolution(f"{name}.conv{number}", one, other, side)
                norm(f"{name}.bn{number}", other)
            if block == 0:
                convolution(f"{name}.downsample.0", inward, 4 * narrow, 1)
                norm(f"{name}.downsample.1", 4 * narrow)
            inward = 4 * narrow
    arrays["fc.weight"] = np.zeros((8631, 2048), "f4")
    arrays["fc.bias"] = np.zeros(8631, "f4")
    return arrays


def restated(arrays: dict[str, np.ndarray], bgr: torch.Tensor) -> torch.Tensor:
    """B×2048 embeddings of B×3×224×224 BGR pictures less their means, in plain functions."""
    of = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def convolved(name: str, norm: str, given: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        given = functional.conv2d(given, of[f"{name}.weight"], stride=stride, padding=padding)
        mean, var = of[f"{norm}.running_mean"], of[f"{norm}.running_var"]
        return functional.batch_norm(given, mean, var, of[f"{norm}.weight"], of[f"{norm}.bias"], eps=1e-5)

    given = convolved("conv1", "bn1", bgr, 2, 3).relu()
    given = functional.max_pool2d(given, 3, stride=2, padding=0, ceil_mode=True)
    for stage, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            inner = convolved(f"{name}.conv1", f"{name}.bn1", given, stride, 0).relu()
            inner = convolved(f"{name}.conv2", f"{name}.bn2", inner, 1, 1).relu()
            inner = convolved(f"{name}.conv3", f"{name}.bn3", inner, 1, 0)
            if block == 0:
                given = convolved(f"{name}.downsample.0", f"{name}.downsample.1", given, stride, 0)
            given = (inner + given).relu()
    return functional.avg_pool2d(given, 7).flatten(1)


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its one kind of string."""

    def save_string(self, text: str | bytes) -> None:
        text = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch = {**pickle._Pickler.dispatch, str: save_string, bytes: save_string}  # noqa: RUF012 (pickle's own way)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return published_arrays()


@pytest.fixture(scope="module")
def published(arrays, tmp_path_factory):
    """A file as the published one is: a pickle of protocol 2 whose strings Python 2 wrote as bytes."""
    path = tmp_path_factory.mktemp("published") / "resnet50_ft_weight.pkl"
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(arrays)
    return path


@pytest.fixture(scope="module")
def encoder(published, tmp_path_factory) -> VGGFace2Encoder:
    converted = tmp_path_factory.mktemp("converted") / "vggface2.safetensors"
    import_published(published, converted)
    network = VGGFace2Encoder().eval()
    network.load_state_dict(load_published(converted))
    return network


@pytest.fixture(scope="module")
def bgr() -> torch.Tensor:
    return 60 * torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_it_is_the_published_architecture(arrays, encoder, bgr):
    with torch.no_grad():
        expected = restated(arrays, bgr)
        told = encoder.network(bgr)
    assert told.shape == (2, 2048) == (2, encoder.width)
    assert torch.allclose(told, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


def test_torchvisions_resnet_50_takes_the_same_weights_and_is_another_network(arrays, bgr):
    network = torchvision.models.resnet50(weights=None, num_classes=8631).eval()
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        expected, other = restated(arrays, bgr), network(bgr)
    # The re-statement and ours agree to 1e-4.
    assert (other - expected).norm() / expected.norm() > 0.03


def test_its_pictures_are_bgr_less_their_means_and_not_divided():
    grey = torch.tensor([0.2, 0.5, 0.9])  # red, green, blue on a scale of 0 to 1
    normalised = (grey - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    told = as_published(normalised[None, :, None, None].expand(1, 3, 112, 96))
    assert told.shape == (1, 3, 224, 224)
    blue, green, red = (told[0, channel].mean().item() for channel in range(3))
    assert (blue, green, red) == pytest.approx(
        (0.9 * 255 - 91.4953, 0.5 * 255 - 103.8827, 0.2 * 255 - 131.0912), abs=0.01
    )
    assert BGR_MEANS == (91.4953, 103.8827, 131.0912)


def test_the_short_side_becomes_256_and_the_centre_is_cropped():
    # A ramp from left to right: of 256 columns the middle 224 stay, which begin at the 16th.
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 256, 256)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    told = as_published((ramp - mean) / std)[0, 0, 0] + BGR_MEANS[0]
    assert told[0].item() == pytest.approx(255 * 16 / 255, abs=1e-2)
    assert told[-1].item() == pytest.approx(255 * 239 / 255, abs=1e-2)


def test_a_layer_of_a_wrong_shape_or_missing_is_named(arrays, tmp_path):
    narrow = {**arrays, "layer2.0.conv2.weight": np.zeros((128, 64, 3, 3), "f4")}
    without = {name: array for name, array in arrays.items() if name != "layer3.1.bn2.running_var"}
    for wrong, said in (
        (narrow, r"layer2\.0\.conv2\.weight is 128×64×3×3, where 128×128×3×3 was expected"),
        (without, r"no layer layer3\.1\.bn2\.running_var"),
    ):
        path = tmp_path / "wrong.pkl"
        path.write_bytes(pickle.dumps(wrong, protocol=2))
        with pytest.raises(ModelError, match=said):
            import_published(path, tmp_path / "converted.safetensors")
        assert not (tmp_path / "converted.safetensors").exists()


def test_imported_weights_are_found_again_and_without_them_it_is_said_how(published, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError) as caught:
        ALL["vggface2"].fetch()
    assert "fer weights import" in caught.value.hint
    imported = import_weights(published)
    assert imported == ALL["vggface2"].place() == ALL["vggface2"].fetch()
    assert imported.is_relative_to(tmp_path / "cache")
    name, weights = identity_weights(imported)
    assert name == "vggface2"
    assert "network.layer4.0.conv1.weight" in weights


def test_a_pickle_is_not_taken_for_an_identity_encoder(published):
    with pytest.raises(ModelError) as caught:
        identity_weights(published)
    assert "fer weights import" in caught.value.hint
