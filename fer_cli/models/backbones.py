"""Backbones by name, and their starting weights: what was published, the packaged model's, a run's, or a file's."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn
from transformers.initialization import no_init_weights

from fer_cli import pretrained
from fer_cli.documents import read_document
from fer_cli.errors import ModelError
from fer_cli.models import (
    BACKBONES,
    BEST,
    FACES,
    IMAGENET,
    RESNET10_SMALL,
    RESNET18_SMALL,
    SCRATCH,
    SMALL_RESNETS,
    TIMM,
    VGGFACE2,
)
from fer_cli.models.base import WEIGHTS
from fer_cli.models.encoder import (
    BackboneName,
    Encoder,
    ImageSize,
    MobileNetV3,
    SmallResNet,
    TimmEncoder,
    pretrained_cfg,
    published_weights,
    weights_of_file,
)
from fer_cli.models.loading import CONFIG, first_line, load_into, read_weights
from fer_cli.models.preprocessing import FILE, Preprocessing
from fer_cli.models.vggface2 import VGGFace2Backbone, load_published, published_part
from fer_cli.models.weights import ALL, find

#: What ``--encoder`` takes besides a run and a file.
WORDS = (BEST, *pretrained.NAMES, IMAGENET, SCRATCH)
#: How many channels the widest layer has of each network that is known by its weights.
WIDTHS = {"mobilenet_v3_large": 960, "mobilenet_v3_small": 576, RESNET18_SMALL: 272, RESNET10_SMALL: 208}
#: Networks without weights of ImageNet, and what to type in their place.
_NOT_OF_IMAGENET = {
    VGGFACE2: "--encoder auto for those that fer weights import made, or scratch",
    RESNET18_SMALL: f"--encoder {FACES} for the packaged model's, or scratch",
    RESNET10_SMALL: f"--encoder {pretrained.QUICK} for the packaged model's, or scratch",
}


class _Network(TypedDict):
    """Of a stored configuration, what tells which network its encoder is."""

    backbone: NotRequired[BackboneName]
    image_size: NotRequired[ImageSize]


def make_encoder(backbone: str, image_size: int | None = None) -> Encoder:
    """The encoder called ``backbone``, its weights random.

    ``mobilenet_v3_large`` or ``_small`` of torchvision, ``resnet18_small``, ``resnet10_small``, ``timm/NAME``, or
    ``vggface2``.
    ``image_size`` is the side of its pictures, which vision transformers are built for. Raises
    :class:`~fer_cli.errors.ModelError` for another name.
    """
    # Without memory there is nothing to initialise, and to go through the motions takes longer than all the rest.
    with no_init_weights() if torch.get_default_device().type == "meta" else nullcontext():
        if backbone in BACKBONES:
            return MobileNetV3(backbone)
        if backbone in SMALL_RESNETS:
            return SmallResNet(backbone)
        if backbone.startswith(TIMM):
            return TimmEncoder(backbone.removeprefix(TIMM), image_size)
        if backbone == VGGFACE2:
            return VGGFace2Backbone()
    raise ModelError(
        f"There is no backbone '{backbone[:100]}'.",
        hint=f"The backbones are {', '.join((*BACKBONES, *SMALL_RESNETS))}, {TIMM}NAME (any network of timm) and "
        f"{VGGFACE2}.",
    )


@dataclass(frozen=True)
class StartingPoint:
    """Where an encoder starts: the network ``backbone`` and the ``source`` of its weights, a word or a ``path``."""

    source: str
    backbone: str
    path: Path | None = None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How the run saw its pictures whose encoder this is; None where it comes from no run."""
        if self.path is None or not (self.path / FILE).is_file():
            return None
        return Preprocessing.load(self.path)

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The mean and standard deviation of its input: the run's, else the network's own."""
        before = self.preprocessing
        if before is not None:
            return before.mean, before.std
        # Built without memory for its weights, only to ask it.
        with torch.device("meta"):
            encoder = make_encoder(self.backbone, self.size)
        return encoder.mean, encoder.std

    @property
    def size(self) -> int | None:
        """The side of the pictures that its weights were trained on, where that is known of others than torchvision's.

        Those of ImageNet keep the size of the crops, as the note's do.
        """
        before = self.preprocessing
        if before is not None:
            return before.size
        if self.source == SCRATCH:
            return None
        if self.backbone.startswith(TIMM):
            return int(pretrained_cfg(self.backbone.removeprefix(TIMM))["input_size"][-1])
        return 224 if self.backbone == VGGFACE2 else None

    def weights(self, image_size: int | None = None) -> dict[str, Tensor] | None:
        """The encoder's weights for pictures of ``image_size``, by its own names; None for random ones.

        Raises :class:`~fer_cli.errors.ModelError` if they cannot be had or read.
        """
        if self.source == SCRATCH:
            return None
        if self.path is None:
            return _published(self.backbone, image_size)
        return _of_file(self.path, self.backbone, image_size)

    def start(self, encoder: nn.Module, image_size: int | None = None) -> bool:
        """Give ``encoder`` its weights, all of them or none; whether there were any.

        Raises :class:`~fer_cli.errors.ModelError`, naming the layers that do not fit.
        """
        weights = self.weights(image_size)
        if weights is not None:
            load_encoder(encoder, weights, self.source)
        return weights is not None


def starting_point(source: str, backbone: str | None) -> StartingPoint:
    """The encoder that ``source`` (a word of :data:`WORDS`, a run's folder, a file) and ``backbone`` name.

    ``backbone`` None is that of the weights, and the large MobileNetV3 where there are none. Raises
    :class:`~fer_cli.errors.ModelError` if there is no such network, or nothing at that path.
    """
    if source == BEST:
        source = best_start(backbone)
    if source in pretrained.NAMES:
        folder = pretrained.packaged_model(source)
        if folder is None:
            raise ModelError(
                f"This installation of fer has no packaged model {source}.",
                hint="Type --encoder imagenet, scratch, or a run's folder.",
            )
        return StartingPoint(source, backbone or _backbone_in(folder, source), folder)
    if source in (IMAGENET, SCRATCH):
        name = backbone or BACKBONES[0]
        if source == IMAGENET and name in _NOT_OF_IMAGENET:
            raise ModelError(
                f"--encoder imagenet: {name} has no weights of ImageNet.", hint=f"Type {_NOT_OF_IMAGENET[name]}."
            )
        return StartingPoint(source, name)
    path = Path(source)
    weights_file(path, option="--encoder", others=", ".join(WORDS))
    return StartingPoint(source, backbone or _backbone_in(path, source), path)


def best_start(backbone: str | None) -> str:
    """The word of :data:`WORDS` that ``auto`` comes to: the packaged model, or what is published of ``backbone``.

    Without ``backbone`` and a packaged model ImageNet's weights are taken if they are here. Raises
    :class:`~fer_cli.errors.ModelError` where they are not.
    """
    if backbone == RESNET10_SMALL and pretrained.packaged_model(pretrained.QUICK) is not None:
        return pretrained.QUICK
    if backbone not in (None, RESNET18_SMALL):
        return BEST if backbone == VGGFACE2 else IMAGENET
    if pretrained.packaged_model() is not None:
        return FACES
    if ALL[BACKBONES[0]].place() is not None:
        return IMAGENET
    raise ModelError(
        f"--encoder auto: this installation has no packaged model, and the ImageNet weights of {BACKBONES[0]} are not "
        "in torch's cache.",
        hint="Type --encoder imagenet where there is a network, --encoder PATH with a .pth file, --encoder RUN with a "
        "trained run, or --encoder scratch to train without.",
    )


def starting_encoder(source: str, backbone: str | None) -> tuple[str, dict[str, Tensor] | None]:
    """The backbone and the weights that ``source`` names, None for random ones; raises as :func:`starting_point`."""
    start = starting_point(source, backbone)
    return start.backbone, start.weights(start.size)


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


def weights_from(
    path: Path, *, option: str = "--encoder", others: str = ", ".join((IMAGENET, SCRATCH))
) -> dict[str, Tensor]:
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
    """Which of torchvision's backbones an encoder's ``weights`` are of, by the width of their widest layer.

    Raises :class:`~fer_cli.errors.ModelError` if they are of none.
    """
    widest = max((tensor.shape[0] for tensor in weights.values() if tensor.dim()), default=0)
    for backbone, width in WIDTHS.items():
        if width == widest:
            return backbone
    raise ModelError(
        f"{source} holds the weights of none of the encoders {', '.join(WIDTHS)}.",
        hint=f"If they are of another network, type --backbone {TIMM}NAME or --backbone {VGGFACE2}.",
    )


def load_encoder(encoder: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Give ``encoder`` the weights, all of them or none.

    Raises :class:`~fer_cli.errors.ModelError`, naming the layers that do not fit.
    """
    load_into(encoder, weights, source, hint="Type the --backbone that they were trained with.")


def encoder_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's own names out of a model's (``encoder.features…``) or torchvision's (``features…``)."""
    own = {name: tensor for name, tensor in state.items() if name.startswith("encoder.")}
    if own:
        return {name.removeprefix("encoder."): tensor for name, tensor in own.items()}
    return {name: tensor for name, tensor in state.items() if name.startswith("features.")}


@torch.no_grad()
def require_embeddings(encoder: Encoder, size: int, backbone: str) -> None:
    """Have ``encoder`` embed a picture of ``size`` pixels a side, before a training counts on it.

    torchvision's, which are known, are not asked. Raises :class:`~fer_cli.errors.ModelError` where it cannot, or gives
    another number of numbers than its ``width``.
    """
    if backbone in BACKBONES:
        return
    training = encoder.training
    try:
        made = encoder.eval()(torch.zeros(1, 3, size, size))
    except Exception as error:  # whatever layer first finds the picture too small or of the wrong size
        raise ModelError(
            f"{backbone} cannot embed pictures of {size} pixels ({type(error).__name__}: {first_line(error)[:200]}).",
            hint="Type a larger --size, or another --backbone.",
        ) from error
    finally:
        encoder.train(training)
    if made.shape != (1, encoder.width):
        raise ModelError(
            f"{backbone} is an encoder of unknown width: it was to give 1×{encoder.width} numbers for a picture, and "
            f"gave {'×'.join(map(str, made.shape))}.",
            hint="Type another --backbone.",
        )


def _published(backbone: str, image_size: int | None) -> dict[str, Tensor]:
    if backbone in BACKBONES:
        return imagenet_weights(backbone)
    if backbone == VGGFACE2:
        return load_published(find(VGGFACE2).fetch())
    return published_weights(backbone.removeprefix(TIMM), image_size)


def _of_file(path: Path, backbone: str, image_size: int | None) -> dict[str, Tensor]:
    """A model's own encoder, or a file's weights by the names of whoever published them."""
    tensors = read_weights(weights_file(path, option="--encoder", others=", ".join(WORDS)))
    if any(name.startswith("encoder.") for name in tensors):
        return encoder_part(tensors)
    if backbone.startswith(TIMM):
        return weights_of_file(backbone.removeprefix(TIMM), tensors, str(path), image_size)
    if backbone == VGGFACE2:
        return published_part(tensors, str(path))
    return encoder_part(tensors)


def _backbone_in(path: Path, source: str) -> str:
    """The network of a model's folder, by its configuration, or of a file, by its weights."""
    if (path / CONFIG).is_file():
        stored = read_document(path / CONFIG, _Network, ModelError)
        if "backbone" in stored:
            return stored["backbone"]
    return backbone_of(weights_from(path, others=", ".join(WORDS)), source)
