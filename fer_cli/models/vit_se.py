"""ViT-SE: a Vision Transformer whose image embedding passes a squeeze-and-excitation gate before it is classified.

M. Aouayeb et al., *Learning Vision Transformer with Squeeze and Excitation for Facial Expression Recognition*,
arXiv 2107.03107.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, cast

import torch
from msgspec import Meta
from torch import Tensor, nn
from transformers import (
    PretrainedConfig,
    ViTConfig,
    ViTModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models import GATES, POOLINGS, TINY_VIT, VIT_B16, VIT_B16_REVISION, Gate, Pooling
from fer_cli.models.base import TrainedModel
from fer_cli.models.encoder import Width
from fer_cli.models.loading import first_line, foreign_config, load_foreign, load_own

#: A ViT that trains in minutes on a CPU: for trying things out, not for results.
TINY: dict[str, Any] = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 192}


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
    gate's (:class:`~fer_cli.models.vit_se.SqueezeExcitation`). The classes are ``id2label``, in order.
    """

    model_type = "fer-vit-se"
    #: The fields that are read of a stored configuration.
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
    input_modalities = ("image",)  # type: ignore[assignment]  # as transformers' own models have it
    _supports_sdpa = True
    saliency_method = "attention rollout"

    def __init__(self, config: ViTSEConfig):
        super().__init__(config)
        if config.pooling not in POOLINGS:
            raise ModelError(f"pooling '{config.pooling}' is none of {', '.join(POOLINGS)}.")
        self.vit = ViTModel(config.vit, add_pooling_layer=config.pooling == "pooler")
        vit: Any = config.vit
        width = vit.pooler_output_size if config.pooling == "pooler" else vit.hidden_size
        self.gate = SqueezeExcitation(width, reduction=config.se_reduction, gate=config.se_gate)
        self.classifier = nn.Linear(width, self.config.num_labels)
        self.post_init()

    @property
    def output_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        return self.classifier

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        """Classify B faces, ``pixel_values`` B×3×H×W, normalised.

        Position embeddings are interpolated where H and W are not those that the transformer was configured for.
        Returns ``logits``, B×classes, and with ``labels`` (B class indices) the cross-entropy ``loss``.
        """
        logits = self.classifier(self.features(pixel_values))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def features(self, pixels: Tensor) -> Tensor:
        """The gated image embeddings of B faces, B×D."""
        output = self.vit(pixels, interpolate_pos_encoding=True)
        pooled = output.pooler_output if self.config.pooling == "pooler" else output.last_hidden_state[:, 0]
        return self.gate(pooled)

    @torch.no_grad()
    def saliency(self, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
        """How much of each patch of a face reaches the class token beyond what the least of them does: h×w.

        Each layer's attention, the mean over its heads, is averaged with the identity (its residual connection), and
        the layers are multiplied: S. Abnar and W. Zuidema, *Quantifying Attention Flow in Transformers*, ACL 2020,
        arXiv 2005.00928. It is of no class in particular: ``index`` and ``neutral`` are not used.
        """
        before = self.vit.config._attn_implementation
        # Only the plain implementation gives its attentions away.
        self.vit.set_attn_implementation("eager")
        try:
            attentions = self.vit(pixels, interpolate_pos_encoding=True, output_attentions=True).attentions
        finally:
            self.vit.set_attn_implementation(before)
        flow = attention_rollout(torch.stack([layer[0] for layer in attentions]))
        # Every patch reaches the class token a little, which hides what reaches it more.
        return (flow - flow.min()).reshape(pixels.shape[-2] // self.config.vit.patch_size, -1)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=self.config.vit.initializer_range)
            nn.init.zeros_(module.bias)


def attention_rollout(attentions: Tensor) -> Tensor:
    """The rollout of ``attentions``, layers×heads×tokens×tokens, from the first token to the others."""
    identity = torch.eye(attentions.shape[-1], device=attentions.device)
    flow = identity
    for layer in attentions.mean(dim=1):
        flow = (layer + identity) / 2 @ flow
    return flow[0, 1:]


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
    whole: Any = _config(backbone)
    config: ViTConfig = getattr(whole, "vit", whole)
    config.image_size = size
    return config


def pretrained_vit(backbone: str, *, pooling: str) -> ViTModel:
    """The ViT called ``backbone`` with its weights; its pooler too where ``pooling`` asks for it.

    Raises :class:`~fer_cli.errors.ModelError` if it cannot be had, or has no pooler where one is asked for.
    """
    config: Any = _config(backbone)
    wanted = pooling == "pooler"
    hint = "Type --pooling class-token." if wanted else ""
    try:
        if config.model_type == ViTConfig.model_type:
            settings = {"add_pooling_layer": wanted, **_pinned(backbone)}
            return load_foreign(ViTModel, backbone, config, part=True, hint=hint, **settings)
        if wanted and config.pooling != pooling:
            raise ModelError(f"The ViT {backbone} has no trained pooler.", hint=hint)
        if Path(backbone).is_dir():
            return cast(ViTSEModel, load_own(Path(backbone), ViTSEModel)).vit
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
            f"{backbone} is a {config.model_type} model, not a ViT.", hint="Type --backbone with a ViT or its folder."
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
        hint="Type --no-pretrained to train without its weights (with --backbone tiny for a trial), --backbone FOLDER "
        "with a ViT saved by transformers, or fetch it where there is a network: "
        "fer weights fetch vit-base-patch16-224-in21k.",
    )


_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class SqueezeExcitation(nn.Module):
    """Scales each number of an embedding by a gate computed from all of them.

    ``gate`` is ``sigmoid``, as in the paper, whose gates lie between 0 and 1, or ``relu``, whose gates have no upper
    bound. ``reduction`` divides the width of the layer between. Input and output B×``width``.
    """

    def __init__(self, width: int, *, reduction: int = 4, gate: str = "sigmoid"):
        super().__init__()
        if gate not in GATES:
            raise ModelError(f"There is no gate '{gate}'.", hint=f"The gates are {', '.join(GATES)}.")
        if not 1 <= reduction <= width:
            raise ModelError(f"A gate cannot reduce {width} numbers {reduction} times.")
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)
        self.activation = _ACTIVATIONS[gate]()

    def gates(self, embedding: Tensor) -> Tensor:
        """The gates of a batch of embeddings, B×``width``."""
        return self.activation(self.excite(self.squeeze(embedding).relu()))

    def forward(self, embedding: Tensor) -> Tensor:
        """The gated embeddings."""
        return embedding * self.gates(embedding)
