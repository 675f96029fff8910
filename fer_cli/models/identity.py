"""Identity: networks that tell who is shown, and a small one trained to tell the subjects at hand apart."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models import BACKBONES, SMALL_RESNETS, VGGFACE2, Backbone
from fer_cli.models.backbones import backbone_of, encoder_part, make_encoder, weights_file
from fer_cli.models.base import TrainedModel
from fer_cli.models.encoder import MobileNetV3
from fer_cli.models.loading import read_weights, require_fit
from fer_cli.models.vggface2 import VGGFace2Encoder, is_published, published_part


class _Stored(TypedDict):
    backbone: Backbone
    id2label: dict[str, str]
    scale: NotRequired[float | None]


class IdentityConfig(PretrainedConfig):
    """Configuration of :class:`IdentityModel`: its ``backbone``; the subjects are ``id2label``, in order.

    With a ``scale`` its logits are so many times the cosines between the embedding and the subjects' weights.
    """

    model_type = "fer-identity"
    #: The fields that are read of a stored configuration.
    stored = _Stored

    def __init__(self, backbone: str = "mobilenet_v3_small", scale: float | None = None, **kwargs: Any):
        self.backbone = backbone
        self.scale = scale
        super().__init__(**kwargs)


class IdentityModel(TrainedModel):
    """An encoder with a linear classifier of subjects, for those who have no published identity weights."""

    config_class = IdentityConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"
    identifies = True
    convolutional = True

    def __init__(self, config: IdentityConfig):
        super().__init__(config)
        self.encoder = MobileNetV3(config.backbone)
        self.classifier = nn.Linear(self.encoder.width, self.config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        """Say who B faces belong to; ``logits`` B×subjects, and with ``labels`` the cross-entropy ``loss``."""
        embeddings = self.encoder(pixel_values)
        if self.config.scale is None:
            logits = self.classifier(embeddings)
        else:
            normalize = nn.functional.normalize
            logits = self.config.scale * nn.functional.linear(normalize(embeddings), normalize(self.classifier.weight))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def identity_network(name: str) -> nn.Module:
    """The identity encoder called ``name``: ``vggface2``, or one of the backbones.

    Its input is B×3×S×S with ImageNet's normalisation; ``width`` says how many numbers it gives.
    """
    if name == VGGFACE2:
        return VGGFace2Encoder()
    if name not in (*BACKBONES, *SMALL_RESNETS):
        raise ModelError(f"There is no identity network '{name}'.", hint=f"Type {VGGFACE2} or {', '.join(BACKBONES)}.")
    return make_encoder(name)


def identity_weights(path: Path) -> tuple[str, dict[str, Tensor]]:
    """An identity encoder's network and all of its weights, from a run's folder or a file of weights.

    Raises :class:`~fer_cli.errors.ModelError` if there are none, or not all, or some are not finite.
    """
    if path.suffix == ".pkl":
        raise ModelError(
            f"{path} is a pickle, which is not loaded as it is.",
            hint=f"Type: fer weights import {path}, then --identity {VGGFACE2}.",
        )
    tensors = read_weights(weights_file(path, option="--identity", others="vggface2, subjects, none"))
    if is_published(tensors):
        return VGGFACE2, published_part(tensors, str(path))
    weights = encoder_part(tensors)
    name = backbone_of(weights, str(path))
    require_fit(identity_network(name), weights, str(path))
    return name, weights
