"""Identity: networks that tell who is shown, and a small one trained to tell the subjects at hand apart."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models.choices import BACKBONES, VGGFACE2
from fer_cli.models.encoder import Encoder, backbone_of, weights_from
from fer_cli.models.vggface2 import VGGFace2Encoder, load_published


class IdentityConfig(PretrainedConfig):
    """Configuration of :class:`IdentityModel`: its ``backbone``; the subjects are ``id2label``, in order."""

    model_type = "fer-identity"

    def __init__(self, backbone: str = "mobilenet_v3_small", **kwargs: Any):
        self.backbone = backbone
        super().__init__(**kwargs)


class IdentityModel(PreTrainedModel):
    """An encoder with a linear classifier of subjects, for those who have no published identity weights."""

    config_class = IdentityConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"
    #: It classifies single faces.
    paired = False

    def __init__(self, config: IdentityConfig):
        super().__init__(config)
        self.encoder = Encoder(config.backbone)
        self.classifier = nn.Linear(self.encoder.width, config.num_labels)
        self.post_init()

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """No part of it is kept frozen."""
        return {}

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        """Say who B faces belong to; ``logits`` B×subjects, and with ``labels`` the cross-entropy ``loss``."""
        logits = self.classifier(self.encoder(pixel_values))
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
    if name not in BACKBONES:
        raise ModelError(f"There is no identity network '{name}'.", mend=f"Type {VGGFACE2} or {', '.join(BACKBONES)}.")
    return Encoder(name)


def identity_weights(path: Path) -> tuple[str, dict[str, Tensor]]:
    """An identity encoder's network and weights, from a run's folder or a ``.safetensors`` file.

    Raises :class:`~fer_cli.errors.ModelError` if there are none.
    """
    if path.suffix == ".pkl":
        raise ModelError(
            f"{path} is a pickle, which is not loaded as it is.",
            mend=f"Type: fer weights import {path}, then --identity {VGGFACE2}.",
        )
    if path.suffix == ".safetensors" and path.is_file() and "layer4.0.conv1.weight" in _names(path):
        return VGGFACE2, load_published(path)
    weights = weights_from(path, option="--identity", others="vggface2, subjects, none")
    return backbone_of(weights, str(path)), weights


def _names(path: Path) -> set[str]:
    try:
        return set(load_file(path))
    except Exception as error:  # whatever a file that is no weights makes a reader raise
        raise ModelError(f"{path} cannot be read as weights ({type(error).__name__}).") from error


AutoConfig.register(IdentityConfig.model_type, IdentityConfig)
AutoModelForImageClassification.register(IdentityConfig, IdentityModel)
