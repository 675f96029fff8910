"""The face-identity network ResNet-50 of VGGFace2, as its weights need it.

Q. Cao et al., *VGGFace2: A dataset for recognising faces across pose and age*, FG 2018, arXiv 1710.08092; converted to
torch at github.com/cydonia999/VGGFace2-pytorch, whose ``resnet50_ft_weight.pkl`` (trained on MS-Celeb-1M, fine-tuned on
VGGFace2) is meant here. It comes from Caffe: its names and shapes are those of torchvision's ResNet-50, its numbers are
not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.transforms.v2 import functional

from fer_cli.errors import ModelError
from fer_cli.files import written_whole
from fer_cli.models.encoder import Encoder
from fer_cli.models.loading import read_weights, require_finite, save_tensors
from fer_cli.models.pickles import read_arrays
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

#: Subtracted from blue, green and red on a scale of 0 to 255.
BGR_MEANS = (91.4953, 103.8827, 131.0912)
#: The short side is resized to the first and the centre cropped to the second.
RESIZED, SIDE = 256, 224
PEOPLE = 8631


class Bottleneck(resnet.Bottleneck):  # type: ignore[misc]  # torchvision is not typed
    """torchvision's block with the stride where Caffe has it: on the first 1×1 convolution, not on the 3×3."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1, *args: Any, **kwargs: Any):
        super().__init__(inplanes, planes, stride, *args, **kwargs)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


def published_network() -> resnet.ResNet:
    """The network with its classifier of 8,631 people; input B×3×224×224 in BGR, less :data:`BGR_MEANS`."""
    network = resnet.ResNet(Bottleneck, [3, 4, 6, 3], num_classes=PEOPLE)
    network.maxpool = nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True)
    network.avgpool = nn.AvgPool2d(7)
    return network


class VGGFace2Encoder(nn.Module):
    """The published network up to its average pool.

    Input B×3×S×S with ImageNet's normalisation, as the emotion encoders take; output B×2048.
    """

    width = 2048
    #: It resizes its pictures, which torch's older ONNX exporter does not read.
    traceable = False

    def __init__(self) -> None:
        super().__init__()
        self.network = published_network()
        self.network.fc = nn.Identity()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The identity embeddings of a batch of faces."""
        return self.network(as_published(pixel_values))


class VGGFace2Backbone(Encoder):
    """The published network as an encoder for expressions, at the size of its input and without resizing.

    Input B×3×S×S RGB, normalised by its own ``mean`` and ``std``; output B×2048. At 224 pixels it computes what
    :class:`VGGFace2Encoder` does.
    """

    width = 2048
    mean = tuple(mean / 255 for mean in reversed(BGR_MEANS))
    # The published network takes colours of 0 to 255.
    std = (1 / 255,) * 3

    def __init__(self) -> None:
        super().__init__()
        self.network = published_network()
        self.network.avgpool = nn.AdaptiveAvgPool2d(1)
        self.network.fc = nn.Identity()

    def features(self, pixel_values: Tensor) -> Tensor:
        """The last feature maps, B×2048×h×w."""
        network = self.network
        maps = network.maxpool(network.relu(network.bn1(network.conv1(pixel_values.flip(1)))))
        return network.layer4(network.layer3(network.layer2(network.layer1(maps))))

    def pool(self, feature_map: Tensor) -> Tensor:
        """The embeddings, B×2048."""
        return torch.flatten(self.network.avgpool(feature_map), 1)


def as_published(pixel_values: Tensor) -> Tensor:
    """Turn ImageNet-normalised RGB of any size into what the published network takes, B×3×224×224."""
    scale = 255 * pixel_values.new_tensor(IMAGENET_STD)[:, None, None]
    shift = 255 * pixel_values.new_tensor(IMAGENET_MEAN)[:, None, None]
    bgr = (pixel_values * scale + shift).flip(1) - pixel_values.new_tensor(BGR_MEANS)[:, None, None]
    return functional.center_crop(functional.resize(bgr, [RESIZED], antialias=True), [SIDE, SIDE])


def import_published(source: Path, target: Path) -> None:
    """Convert the published pickle at ``source`` to safetensors at ``target``, without the classifier.

    Nothing in the pickle is run. Raises :class:`~fer_cli.errors.ModelError` if it is not what was published, naming
    the first layer that does not fit.
    """
    arrays = read_arrays(source)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    expected = published_network().state_dict()
    _check(tensors, expected, str(source))
    require_finite(tensors, str(source))
    kept = {name: tensors[name].float() for name in expected if name in tensors and not name.startswith("fc.")}
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as part:
        save_tensors(kept, part)


def load_published(path: Path) -> dict[str, Tensor]:
    """The encoder's weights, named as :class:`VGGFace2Encoder` names them, from what :func:`import_published` wrote.

    Raises :class:`~fer_cli.errors.ModelError` if they are not, naming the first layer that does not fit.
    """
    return published_part(read_weights(path), str(path))


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Whether ``tensors`` have the names of :func:`import_published`, not those of another encoder."""
    return "layer4.0.conv1.weight" in tensors


def published_part(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The encoder's weights among the ``tensors`` of ``source``; raises as :func:`load_published` does."""
    network = VGGFace2Encoder().network.state_dict()
    _check(tensors, network, source)
    return {f"network.{name}": tensors.get(name, own) for name, own in network.items()}


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    for name, tensor in expected.items():
        # The published file comes from Caffe, which does not count batches.
        if name.endswith("num_batches_tracked"):
            continue
        if name not in tensors:
            raise ModelError(f"{source} is not the published ResNet-50: it has no layer {name}.")
        if tensors[name].shape != tensor.shape:
            raise ModelError(
                f"{source} is not the published ResNet-50: the layer {name} is "
                f"{'×'.join(map(str, tensors[name].shape))}, where {'×'.join(map(str, tensor.shape))} was expected."
            )
