"""Encoders: an image in, an embedding out.

MobileNetV3 (Howard et al. 2019, arXiv 1905.02244) as torchvision builds it, its features and average pool without the
classifier: 960 numbers an image for ``mobilenet_v3_large``, 576 for ``mobilenet_v3_small``.
"""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from fer_cli.errors import ModelError
from fer_cli.models.choices import BACKBONES, IMAGENET, SCRATCH
from fer_cli.models.loading import WEIGHTS, load_into, read_weights

#: torchvision's MobileNetV3 updates BatchNorm's running statistics by 0.01 a step, which suits the many steps of
#: ImageNet; in the few hundred steps of a face corpus they would hardly leave their initial values.
BATCH_NORM_MOMENTUM = 0.1


#: How many numbers an embedding has.
WIDTHS = {"mobilenet_v3_large": 960, "mobilenet_v3_small": 576}


class Encoder(nn.Module):
    """A torchvision MobileNetV3 up to its average pool.

    Input B×3×H×W, normalised; output B×``width``.
    """

    def __init__(self, backbone: str):
        super().__init__()
        if backbone not in BACKBONES:
            raise ModelError(f"There is no backbone '{backbone}'.", mend=f"The backbones are {', '.join(BACKBONES)}.")
        network = getattr(torchvision.models, backbone)(weights=None)
        self.features = network.features
        self.avgpool = network.avgpool
        self.width: int = network.classifier[0].in_features
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BATCH_NORM_MOMENTUM

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The embeddings of a batch of images."""
        return torch.flatten(self.avgpool(self.features(pixel_values)), 1)


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights for ``backbone``, downloaded once into torch's own cache and checked by its hash.

    Raises :class:`~fer_cli.errors.ModelError` where they can be neither found nor downloaded.
    """
    weights = torchvision.models.get_model_weights(backbone).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if file.is_file():
        return encoder_part(read_weights(file))
    try:
        # torch writes a line about the download to standard output or error, by its version.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return encoder_part(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"The ImageNet weights of {backbone} are not in {file.parent} and cannot be downloaded: {error}.",
            mend=f"Put {file.name} there (fer weights fetch {backbone} does, where there is a network), or type "
            "--encoder PATH with the file, --encoder RUN with a trained run, or --encoder scratch to train without.",
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
            mend=f"{option} takes {others}, a run's folder, or a .safetensors or .pth file.",
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
    load_into(encoder, weights, source, mend="Type the --backbone that they were trained with.")


def encoder_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's own names out of a model's (``encoder.features…``) or torchvision's (``features…``)."""
    return {
        name.removeprefix("encoder."): tensor
        for name, tensor in state.items()
        if isinstance(tensor, Tensor) and name.removeprefix("encoder.").startswith("features.")
    }
