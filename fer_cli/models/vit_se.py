"""ViT-SE: a Vision Transformer whose image embedding passes a squeeze-and-excitation gate before it is classified.

M. Aouayeb et al., *Learning Vision Transformer with Squeeze and Excitation for Facial Expression Recognition*,
arXiv 2107.03107.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import torch
from msgspec import Meta
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PretrainedConfig,
    ViTConfig,
    ViTModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models.choices import POOLINGS, TINY_VIT, VIT_B16, VIT_B16_REVISION, Gate, Pooling
from fer_cli.models.gate import SqueezeExcitation
from fer_cli.models.head import Width
from fer_cli.models.loading import TrainedModel, first_line, foreign_config, load_foreign, load_own

#: A ViT that trains in minutes on a CPU: for trying things out, not for results.
TINY = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 192}


class _StoredViT(TypedDict, total=False):
    """What is read of a stored transformer's configuration; what is absent is as transformers has it."""

    hidden_size: Width
    num_hidden_layers: Annotated[int, Meta(ge=1, le=1000)]
    num_attention_heads: Width
    intermediate_size: Width
    hidden_act: str
    hidden_dropout_prob: Annotated[float, Meta(ge=0, le=1)]
    attention_probs_dropout_prob: Annotated[float, Meta(ge=0, le=1)]
    initializer_range: float
    layer_norm_eps: Annotated[float, Meta(gt=0, lt=1)]
    image_size: Width
    patch_size: Width
    num_channels: Literal[3]
    qkv_bias: bool
    pooler_output_size: Width | None
    pooler_act: str


class _Stored(TypedDict):
    vit: _StoredViT
    pooling: Pooling
    se_reduction: Width
    se_gate: Gate
    id2label: dict[str, str]


class ViTSEConfig(PretrainedConfig):
    """Configuration of :class:`ViTSEModel`.

    ``vit`` configures the transformer. ``pooling`` says which of its outputs is the image embedding: the
    ``class-token`` after the last layer norm, or the ``pooler``'s output. ``se_reduction`` and ``se_gate`` are the
    gate's (:class:`~fer_cli.models.gate.SqueezeExcitation`). The classes are ``id2label``, in order.
    """

    model_type = "fer-vit-se"
    #: What is read of a stored configuration.
    stored = _Stored
    sub_configs = {"vit": ViTConfig}  # noqa: RUF012 (transformers declares it so)

    def __init__(
        self,
        vit: ViTConfig | dict[str, Any] | None = None,
        pooling: str = "class-token",
        se_reduction: int = 4,
        se_gate: str = "sigmoid",
        **kwargs: Any,
    ):
        self.vit = vit if isinstance(vit, ViTConfig) else ViTConfig(**(vit or {}))
        self.pooling = pooling
        self.se_reduction = se_reduction
        self.se_gate = se_gate
        super().__init__(**kwargs)


class ViTSEModel(TrainedModel):
    """ViT-SE as a ``transformers`` model: ``vit``, ``gate``, ``classifier``."""

    config_class = ViTSEConfig
    base_model_prefix = "vit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _supports_sdpa = True
    #: It classifies single faces.
    paired = False

    def __init__(self, config: ViTSEConfig):
        super().__init__(config)
        if config.pooling not in POOLINGS:
            raise ModelError(f"pooling '{config.pooling}' is none of {', '.join(POOLINGS)}.")
        self.vit = ViTModel(config.vit, add_pooling_layer=config.pooling == "pooler")
        width = config.vit.pooler_output_size if config.pooling == "pooler" else config.vit.hidden_size
        self.gate = SqueezeExcitation(width, reduction=config.se_reduction, gate=config.se_gate)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """No part of it is kept frozen."""
        return {}

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        """Classify B faces, ``pixel_values`` B×3×H×W, normalised.

        Position embeddings are interpolated where H and W are not those that the transformer was configured for.
        Returns ``logits``, B×classes, and with ``labels`` (B class indices) the cross-entropy ``loss``.
        """
        output = self.vit(pixel_values, interpolate_pos_encoding=True)
        pooled = output.pooler_output if self.config.pooling == "pooler" else output.last_hidden_state[:, 0]
        logits = self.classifier(self.gate(pooled))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=self.config.vit.initializer_range)
            nn.init.zeros_(module.bias)


def vit_config(backbone: str, size: int) -> ViTConfig:
    """The configuration of the ViT called ``backbone``, to start from nothing on pictures of ``size`` pixels.

    ``backbone`` is a name of the Hub, a folder, or ``tiny``; the published ViT needs no network. Raises
    :class:`~fer_cli.errors.ModelError` if it cannot be had or is no ViT.
    """
    if backbone == TINY_VIT:
        return ViTConfig(**TINY, image_size=size)
    if backbone == VIT_B16:
        # ViT-B/16 is what transformers configures by default.
        return ViTConfig(image_size=size)
    config = _config(backbone)
    config = getattr(config, "vit", config)
    config.image_size = size
    return config


def pretrained_vit(backbone: str, *, pooling: str) -> ViTModel:
    """The ViT called ``backbone`` with its weights; its pooler too where ``pooling`` asks for it.

    Raises :class:`~fer_cli.errors.ModelError` if it cannot be had, or has no pooler where one is asked for.
    """
    config = _config(backbone)
    wanted = pooling == "pooler"
    mend = "Type --pooling class-token." if wanted else ""
    try:
        if config.model_type == ViTConfig.model_type:
            settings = {"add_pooling_layer": wanted, **_pinned(backbone)}
            return load_foreign(ViTModel, backbone, config, part=True, mend=mend, **settings)
        if wanted and config.pooling != pooling:
            raise ModelError(f"The ViT {backbone} has no trained pooler.", mend=mend)
        if Path(backbone).is_dir():
            return load_own(Path(backbone), {ViTSEConfig.model_type: ViTSEModel}).vit
        return load_foreign(ViTSEModel, backbone, config).vit
    except ModelError:
        raise
    except Exception as error:  # transformers' errors, the Hub's, the network's, and the disk's
        raise _cannot_be_had(backbone, error) from error


def _config(backbone: str) -> PretrainedConfig:
    try:
        config = foreign_config(backbone, **_pinned(backbone))
    except ModelError:
        raise
    except Exception as error:  # transformers' errors, the Hub's, the network's, and the disk's
        raise _cannot_be_had(backbone, error) from error
    if config.model_type not in (ViTConfig.model_type, ViTSEConfig.model_type):
        raise ModelError(
            f"{backbone} is a {config.model_type} model, not a ViT.", mend="Type --backbone with a ViT or its folder."
        )
    return config


def _pinned(backbone: str) -> dict[str, str]:
    return {"revision": VIT_B16_REVISION} if backbone == VIT_B16 else {}


def _cannot_be_had(backbone: str, error: Exception) -> ModelError:
    if Path(backbone).exists():
        return ModelError(f"The ViT in {backbone} cannot be loaded: {first_line(error)}")
    return ModelError(
        f"The ViT {backbone} is neither a folder here nor in the Hub's cache, and cannot be downloaded: "
        f"{first_line(error)}",
        mend="Type --no-pretrained to train without its weights (with --backbone tiny for a trial), --backbone FOLDER "
        "with a ViT saved by transformers, or fetch it where there is a network: "
        "fer weights fetch vit-base-patch16-224-in21k.",
    )


AutoConfig.register(ViTSEConfig.model_type, ViTSEConfig)
AutoModelForImageClassification.register(ViTSEConfig, ViTSEModel)
