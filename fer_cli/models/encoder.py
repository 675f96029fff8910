"""Encoders, from an image to an embedding, and the head, from an embedding to the classes.

MobileNetV3 (Howard et al. 2019, arXiv 1905.02244) as torchvision builds it, its features and average pool without the
classifier: 960 numbers an image for ``mobilenet_v3_large``, 576 for ``mobilenet_v3_small``.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import torchvision
from msgspec import Meta
from torch import Tensor, nn

from fer_cli.errors import ModelError
from fer_cli.models.base import WEIGHTS
from fer_cli.models.choices import BACKBONES, IMAGENET, SCRATCH
from fer_cli.models.loading import load_into, read_weights
from fer_cli.models.weights import ALL

#: torchvision's MobileNetV3 updates BatchNorm's running statistics by 0.01 a step, which suits the many steps of
#: ImageNet; in the few hundred steps of a face corpus they would hardly leave their initial values.
BATCH_NORM_MOMENTUM = 0.1
#: How many numbers an embedding has.
WIDTHS = {"mobilenet_v3_large": 960, "mobilenet_v3_small": 576}


class Encoder(nn.Module):
    """A torchvision MobileNetV3 up to its average pool.

    Input B×3×H×W, normalised; output B×``width``.
    """

    #: Whether torch's older ONNX exporter reads it.
    traceable = True

    def __init__(self, backbone: str):
        super().__init__()
        if backbone not in BACKBONES:
            raise ModelError(f"There is no backbone '{backbone}'.", hint=f"The backbones are {', '.join(BACKBONES)}.")
        network = getattr(torchvision.models, backbone)(weights=None)
        self.features = network.features
        self.avgpool = network.avgpool
        self.width: int = network.classifier[0].in_features
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BATCH_NORM_MOMENTUM

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
        from Deep Networks via Gradient-based Localization*, ICCV 2017, arXiv 1610.02391.
        """
        with torch.no_grad():
            feature_map = self.features(pixels)
        with torch.enable_grad():
            feature_map = feature_map.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(logit(self.pool(feature_map)), feature_map)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        return (weights * feature_map).sum(dim=1)[0].relu().detach()


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights for ``backbone``, downloaded once into torch's own cache and checked by its hash.

    Raises :class:`~fer_cli.errors.ModelError` where they can be neither found nor downloaded.
    """
    weights = ALL[backbone]
    try:
        return encoder_part(read_weights(weights.place() or weights.fetch()))
    except ModelError as error:
        raise ModelError(
            f"The ImageNet weights of {backbone} cannot be had: {error.message}",
            hint=f"Type fer weights fetch {backbone} where there is a network, or --encoder PATH with its .pth file, "
            "--encoder RUN with a trained run, or --encoder scratch to train without.",
        ) from error


def starting_encoder(source: str, backbone: str | None) -> tuple[str, dict[str, Tensor] | None]:
    """The backbone and the weights that ``source`` names: ``imagenet``, ``scratch`` (None), a folder or a file.

    ``backbone`` None is that of the weights, and the large one where there are none. Raises
    :class:`~fer_cli.errors.ModelError` if the weights cannot be had.
    """
    if source == SCRATCH:
        return backbone or BACKBONES[0], None
    if source == IMAGENET:
        return backbone or BACKBONES[0], imagenet_weights(backbone or BACKBONES[0])
    weights = weights_from(Path(source))
    return backbone or backbone_of(weights, source), weights


def weights_from(path: Path, *, option: str = "--encoder", others: str = f"{IMAGENET}, {SCRATCH}") -> dict[str, Tensor]:
    """The encoder's weights in a file (.safetensors, or a .pth state dict named as torchvision's) or a model's folder.

    No pickle is run: a .pth is read by torch's own reader of plain tensors. Raises as :func:`weights_file` and
    :func:`~fer_cli.models.loading.read_weights` do.
    """
    return encoder_part(read_weights(weights_file(path, option=option, others=others)))


def weights_file(path: Path, *, option: str, others: str) -> Path:
    """The file of weights that ``path`` names: itself, or the one in a model's folder.

    ``option`` and ``others`` are the flag that named the path and what else it takes, for the
    :class:`~fer_cli.errors.ModelError` that is raised if there is none.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.exists():
        raise ModelError(
            f"There are no weights at {file}.",
            hint=f"{option} takes {others}, a run's folder, or a .safetensors or .pth file.",
        )
    return file


def backbone_of(weights: dict[str, Tensor], source: str) -> str:
    """Which of the backbones an encoder's ``weights`` are of, by the width of their widest layer.

    Raises :class:`~fer_cli.errors.ModelError` if they are of none.
    """
    widest = max((tensor.shape[0] for tensor in weights.values() if tensor.dim()), default=0)
    for backbone, width in WIDTHS.items():
        if width == widest:
            return backbone
    raise ModelError(f"{source} holds the weights of none of the encoders {', '.join(BACKBONES)}.")


def load_encoder(encoder: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Give ``encoder`` the weights, all of them or none.

    Raises :class:`~fer_cli.errors.ModelError`, naming the layers that do not fit.
    """
    load_into(encoder, weights, source, hint="Type the --backbone that they were trained with.")


def encoder_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's own names out of a model's (``encoder.features…``) or torchvision's (``features…``)."""
    return {
        name.removeprefix("encoder."): tensor
        for name, tensor in state.items()
        if isinstance(tensor, Tensor) and name.removeprefix("encoder.").startswith("features.")
    }


#: The note's layers.
HIDDEN_SIZES = (256, 128, 64, 32)
#: A layer's width, and the widths of a head's layers, as a stored configuration may have them.
Width = Annotated[int, Meta(ge=1, le=65536)]
HiddenSizes = Annotated[list[Width], Meta(max_length=32)]


def make_head(width: int, hidden_sizes: Sequence[int], classes: int) -> nn.Sequential:
    """``width`` → ``hidden_sizes`` → ``classes``, with ReLU between."""
    widths = [width, *hidden_sizes]
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.Linear(inward, outward), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """He's initialisation of a linear layer; other layers are left as they are.

    torch's own shrinks what passes through five layers with ReLU to next to nothing, and a head of such does not begin
    to learn.
    """
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
