"""Encoders, from an image to an embedding, and the head, from an embedding to the classes.

MobileNetV3 (Howard et al. 2019, arXiv 1905.02244) as torchvision builds it, its features and average pool without the
classifier: 960 numbers an image for ``mobilenet_v3_large``, 576 for ``mobilenet_v3_small``. ResNets for small
pictures, and timm's networks. VGGFace2's ResNet-50 is in :mod:`fer_cli.models.vggface2`.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, cast

import torch
import torchvision
from msgspec import Meta
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from fer_cli.errors import ModelError
from fer_cli.models import RESNET10_SMALL, RESNET18_SMALL, TIMM
from fer_cli.models.loading import first_line, hush, load_into
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

#: torchvision's MobileNetV3 updates BatchNorm's running statistics by 0.01 a step, which suits the many steps of
#: ImageNet; in the few hundred steps of a face corpus they would hardly leave their initial values.
BATCH_NORM_MOMENTUM = 0.1
#: The channels of the stages of the small ResNets, by name, and how many blocks a stage has.
STAGES = {RESNET18_SMALL: (64, 96, 160, 272), RESNET10_SMALL: (48, 80, 128, 208)}
BLOCKS = {RESNET18_SMALL: 2, RESNET10_SMALL: 1}
#: The name of an encoder's network, as a stored configuration may have it.
BackboneName = Annotated[str, Meta(max_length=200)]
#: The side of the pictures that it was built for, for networks that need to know.
ImageSize = Annotated[int, Meta(ge=1, le=4096)] | None


class Encoder(nn.Module):
    """The base of the encoders: B×3×H×W in, normalised by ``mean`` and ``std``, and B×``width`` out.

    A subclass has ``features``, the last feature maps of a batch, and :meth:`pool`, what they come to.
    """

    #: How many numbers an embedding has.
    width: int
    #: What red, green and blue (0 to 1) are normalised by.
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    #: Whether torch's older ONNX exporter reads it.
    traceable = True
    #: Whether it is a network of convolutions, which ONNX Runtime runs faster than torch on a CPU.
    convolutional = True
    #: The place of the channels in a feature map.
    channels = 1
    # torch calls an attribute that is a network; a subclass may as well have a method.
    if TYPE_CHECKING:
        features: Callable[[Tensor], Tensor]
        avgpool: Callable[[Tensor], Tensor]

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The embeddings of a batch of images."""
        return self.pool(self.features(pixel_values))

    def pool(self, feature_map: Tensor) -> Tensor:
        """The embeddings, B×``width``, of the last feature maps, B×C×h×w."""
        return torch.flatten(self.avgpool(feature_map), 1)

    def grad_cam(self, pixels: Tensor, logit: Callable[[Tensor], Tensor]) -> Tensor:
        """Where in a face, ``pixels`` 1×3×S×S, the encoder found what raises a class's ``logit``: h×w, 0 or more.

        ``logit`` gives the class's logit for the face's embedding, 1×``width``. The last feature map's channels,
        weighed by the mean gradient of the logit and summed: R. R. Selvaraju et al., *Grad-CAM: Visual Explanations
        from Deep Networks via Gradient-based Localization*, ICCV 2017, arXiv 1610.02391. Raises
        :class:`~fer_cli.errors.ModelError` for a network without feature maps.
        """
        with torch.no_grad():
            feature_map = self.features(pixels)
        if feature_map.dim() != 4:
            raise ModelError(
                "Grad-CAM needs the feature maps of a convolutional encoder, B×C×h×w, and this one gives "
                f"{'×'.join(map(str, feature_map.shape))}: it has none.",
                hint="Leave saliency out, or train with a convolutional --backbone.",
            )
        with torch.enable_grad():
            feature_map = feature_map.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(logit(self.pool(feature_map)), feature_map)
        places = tuple(axis for axis in (1, 2, 3) if axis != self.channels)
        weights = gradient.mean(dim=places, keepdim=True)
        return (weights * feature_map).sum(dim=self.channels)[0].relu().detach()

    def _faster_statistics(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BATCH_NORM_MOMENTUM


class MobileNetV3(Encoder):
    """A torchvision MobileNetV3 up to its average pool."""

    def __init__(self, backbone: str):
        super().__init__()
        network = getattr(torchvision.models, backbone)(weights=None)
        self.features = network.features
        self.avgpool = network.avgpool
        self.width = network.classifier[0].in_features
        self._faster_statistics()


class SmallResNet(Encoder):
    """A ResNet (He et al. 2016, arXiv 1512.03385) for pictures of 48 to 112 pixels, a ResNet-18 or a ResNet-10.

    Its stem is one 3×3 convolution of stride 2 without a pool, and its four stages of two blocks, or one, have
    :data:`STAGES` channels in place of 64 to 512: 3.7 or 1.1 million parameters, and at 64 pixels 325 or 95 million
    multiplications a picture.
    """

    def __init__(self, name: str = RESNET18_SMALL) -> None:
        super().__init__()
        before = STAGES[name][0]
        stem = nn.Conv2d(3, before, 3, stride=2, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
        for width in STAGES[name]:
            first = BasicBlock(width, width)
            if width != before:
                shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride=2, bias=False), nn.BatchNorm2d(width))
                first = BasicBlock(before, width, stride=2, downsample=shortcut)
            layers += [first, *(BasicBlock(width, width) for _ in range(BLOCKS[name] - 1))]
            before = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.width = before
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, BasicBlock):
                # Each block begins as the identity: Goyal et al. 2017, arXiv 1706.02677.
                nn.init.zeros_(module.bn2.weight)
        self._faster_statistics()


#: The note's layers.
HIDDEN_SIZES = (256, 128, 64, 32)
#: A layer's width, and the widths of a head's layers, as a stored configuration may have them.
Width = Annotated[int, Meta(ge=1, le=65536)]
HiddenSizes = Annotated[list[Width], Meta(max_length=32)]
#: The part of a head's inputs that is dropped, as a stored configuration may have it.
Dropout = Annotated[float, Meta(ge=0, lt=1)]
#: The standard deviation of the weights of an output layer that begins with logits near zero.
SMALL_OUTPUT = 0.01


def make_head(width: int, hidden_sizes: Sequence[int], classes: int, dropout: float = 0.0) -> nn.Sequential:
    """``width`` → ``hidden_sizes`` → ``classes``, with ReLU between; ``dropout`` of every layer's inputs.

    Linear layers have the even places, so that heads with and without dropout have weights of the same names.
    """
    widths = [width, *hidden_sizes]
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [_Dropped(inward, outward, dropout), nn.ReLU()]
    return nn.Sequential(*layers, _Dropped(widths[-1], classes, dropout))


class _Dropped(nn.Linear):
    """A linear layer that drops a part of its inputs in training."""

    def __init__(self, inward: int, outward: int, dropout: float):
        super().__init__(inward, outward)
        self.dropout = dropout

    def forward(self, values: Tensor) -> Tensor:
        """B×outward."""
        return super().forward(nn.functional.dropout(values, self.dropout, self.training))


#: The smallest divisor of a standardised number, as a share of the mean standard deviation.
LEAST_DEVIATION = 0.1
#: The rounding of an embedding in float32, as a share of its largest number.
ROUNDING = 1e-5


class Standardise(nn.Module):
    """Standardisation of B×``width`` embeddings by the training's mean and standard deviation, which are not trained.

    As ``sklearn.preprocessing.StandardScaler``: without it the embeddings of a network that was not trained on faces
    differ by thousandths of their size, and a head sees nearly the same numbers for every face.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, embeddings: Tensor) -> None:
        """Take the statistics of N×``width`` embeddings.

        What hardly varies in training is divided by :data:`LEAST_DEVIATION` of the mean standard deviation: divided by
        its own, a number that is dead in training would drown all others in a face that wakes it, and rounding would
        pass for a feature. Where all that differs between faces is rounding, only the mean is taken off.
        """
        values = embeddings.double()
        std = values.std(dim=0, correction=0)
        nothing = bool(std.mean() <= ROUNDING * values.abs().max())
        self.mean.copy_(values.mean(dim=0))
        self.std.copy_(torch.ones_like(std) if nothing else std.clamp(min=float(LEAST_DEVIATION * std.mean())))

    def forward(self, embeddings: Tensor) -> Tensor:
        """B×``width``."""
        return (embeddings - self.mean) / self.std


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """He's initialisation of a linear layer; other layers are left as they are.

    torch's own shrinks what passes through five layers with ReLU to next to nothing, and a head of such does not begin
    to learn.
    """
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


@torch.no_grad()
def small_output(head: nn.Sequential) -> None:
    """Begin with logits near zero, all classes alike, so that the first steps are not spent on unlearning chance."""
    last = cast(nn.Linear, head[-1])
    nn.init.normal_(last.weight, std=SMALL_OUTPUT)
    nn.init.zeros_(last.bias)


class TimmEncoder(Encoder):
    """The network ``name`` of timm without its classifier, for pictures of ``image_size`` where it must know.

    Normalisation and width are what timm says of the network. Raises :class:`~fer_cli.errors.ModelError` for a name
    that timm does not list, or a network that cannot be built or does not say how wide its embeddings are.
    """

    def __init__(self, name: str, image_size: int | None = None):
        super().__init__()
        require_listed(name)
        self.network: Any = _create(name, image_size)
        # Networks with a layer after the pool give as many numbers as that has.
        width = getattr(self.network, "head_hidden_size", None) or getattr(self.network, "num_features", None)
        if not isinstance(width, int) or width < 1:
            raise ModelError(
                f"{TIMM}{name} does not say how wide its embeddings are (num_features is {width!r}).",
                hint="Type another --backbone.",
            )
        self.width = width
        about = pretrained_cfg(name)
        self.mean, self.std = tuple(map(float, about["mean"])), tuple(map(float, about["std"]))
        # Attention and windows are built for one size; ONNX Runtime gains nothing by them.
        self.convolutional = self.traceable = not about["fixed_input_size"]
        self.channels = 3 if getattr(self.network, "output_fmt", "NCHW") == "NHWC" else 1
        self._faster_statistics()

    def features(self, pixel_values: Tensor) -> Tensor:
        """The last feature maps, B×C×h×w (B×h×w×C of some), or the tokens of a transformer, B×N×C."""
        return self.network.forward_features(pixel_values)

    def pool(self, feature_map: Tensor) -> Tensor:
        """The embeddings, B×``width``."""
        return self.network.forward_head(feature_map, pre_logits=True)


@cache
def _names() -> list[str]:
    import timm

    return timm.list_models()


def require_listed(name: str) -> None:
    """Raise :class:`~fer_cli.errors.ModelError`, with the nearest names, where timm lists no network ``name``.

    It may end in the name of weights: ``resnet18.a1_in1k``.
    """
    import timm

    network, _, weights = name.partition(".")
    if network not in _names():
        near = get_close_matches(network[:100], _names(), n=3)
        raise ModelError(
            f"timm {timm.__version__} has no network called '{name[:100]}'.",
            hint=f"Type --backbone with {' or '.join(f'{TIMM}{each}' for each in near)}."
            if near
            else "timm.list_models() in Python lists the names.",
        )
    tags = [each for each in timm.list_models(network, pretrained=True) if each.partition(".")[0] == network]
    if weights and name not in tags:
        near = get_close_matches(name[:100], tags, n=3, cutoff=0)
        raise ModelError(
            f"timm has no weights called '{name[:100]}'.",
            hint=f"Type --backbone {TIMM}{network}"
            + (f", or with {' or '.join(f'{TIMM}{each}' for each in near)}." if near else "."),
        )


@cache
def pretrained_cfg(name: str) -> dict[str, Any]:
    """What timm says of a network: ``mean``, ``std``, ``input_size`` (3, H, W), ``fixed_input_size``, ``classifier``.

    Raises as :func:`require_listed` does.
    """
    require_listed(name)
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(name)
    return found.to_dict() if found is not None else {**_UNKNOWN}


#: Of a network that timm has no settings of.
_UNKNOWN = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "input_size": (3, 224, 224),
    "fixed_input_size": False,
    "classifier": None,
    "hf_hub_id": None,
}


def published_weights(name: str, image_size: int | None = None) -> dict[str, Tensor]:
    """The weights that timm publishes for ``name``, as :class:`TimmEncoder` names them.

    They are taken from the Hub's cache, or else from the Hub. Raises :class:`~fer_cli.errors.ModelError` where there
    are none, or they can be neither found nor downloaded.
    """
    require_listed(name)
    hush()
    place = pretrained_cfg(name).get("hf_hub_id")
    hint = (
        "Type --encoder PATH with a file of them (.safetensors or .pth, named as timm's), --encoder RUN with a trained "
        "run, or --encoder scratch to train without."
    )
    if not place and not pretrained_cfg(name).get("url"):
        raise ModelError(f"timm publishes no weights for {TIMM}{name}.", hint=hint)
    try:
        network = _create(name, image_size, pretrained=True)
    except ModelError:
        raise
    except Exception as error:  # the Hub's errors, the network's, timm's and the disk's
        raise ModelError(
            f"The weights of {TIMM}{name} cannot be had: {place or pretrained_cfg(name)['url']} was looked for "
            f"in the Hugging Face Hub's cache and on the Hub ({type(error).__name__}: {first_line(error)[:200]}).",
            hint=f"Type the line again where there is a network. {hint}",
        ) from error
    return {f"network.{key}": tensor for key, tensor in network.state_dict().items()}


def weights_of_file(name: str, tensors: dict[str, Tensor], source: str, image_size: int | None) -> dict[str, Tensor]:
    """The weights of a state dict named as timm's, without its classifier, as :class:`TimmEncoder` names them.

    Position embeddings of another size are resampled by timm's own filter. Raises
    :class:`~fer_cli.errors.ModelError`, naming what does not fit.
    """
    network = _create(name, image_size)
    own = network.state_dict()
    classifier = pretrained_cfg(name).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    kept = {
        key: tensor
        for key, tensor in tensors.items()
        if key in own or not any(key.startswith(f"{head}.") for head in heads)
    }
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is not None and {key: tensor.shape for key, tensor in kept.items()} != {
        key: tensor.shape for key, tensor in own.items()
    }:
        # What a filter made for timm's own files raises on others, load_into says better.
        with suppress(Exception):
            kept = convert(kept, network)
    load_into(network, kept, source, hint="Type the --backbone that they were trained with.")
    return {f"network.{key}": tensor for key, tensor in network.state_dict().items()}


def _create(name: str, image_size: int | None, *, pretrained: bool = False) -> nn.Module:
    """The network without its classifier; raises :class:`~fer_cli.errors.ModelError` where timm cannot build it."""
    import timm

    settings: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    if pretrained_cfg(name)["fixed_input_size"] and image_size:
        settings["img_size"] = image_size
    try:
        return timm.create_model(name, **settings)
    except Exception as error:  # whatever a network raises that takes no size, or not this one
        if pretrained:
            raise
        raise ModelError(
            f"timm cannot build {name} for pictures of {image_size} pixels ({type(error).__name__}: "
            f"{first_line(error)[:200]}).",
            hint=f"Type --size {pretrained_cfg(name)['input_size'][-1]}, or another --backbone.",
        ) from error
