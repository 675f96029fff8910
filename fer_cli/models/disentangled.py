"""Stage 1 of Disentangled Difference of Embeddings: an emotion encoder and a frozen identity encoder.

A head classifies the expression of one face from both embeddings. What identity explains it can take from the identity
branch, so that the emotion encoder need not carry it. Stage 2 is :class:`~fer_cli.models.difference.DifferenceModel` on
this emotion encoder, frozen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Self, TypedDict

import torch
from msgspec import Meta
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models import DISENTANGLINGS, Disentangling, IdentityNetwork
from fer_cli.models.backbones import make_encoder
from fer_cli.models.base import TrainedModel
from fer_cli.models.encoder import (
    HIDDEN_SIZES,
    BackboneName,
    Dropout,
    Encoder,
    HiddenSizes,
    ImageSize,
    initialise,
    make_head,
)
from fer_cli.models.identity import identity_network
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

#: The mean and the standard deviation of red, green and blue (0 to 1).
Colours = Annotated[list[Annotated[float, Meta(ge=0, le=10)]], Meta(min_length=3, max_length=3)]
Normalisation = Annotated[list[Colours], Meta(min_length=2, max_length=2)]


class _Stored(TypedDict):
    backbone: BackboneName
    image_size: NotRequired[ImageSize]
    normalisation: NotRequired[Normalisation | None]
    identity: IdentityNetwork | None
    hidden_sizes: HiddenSizes
    dropout: NotRequired[Dropout]
    disentangle: Disentangling
    disentangle_weight: float
    subjects: Annotated[int, Meta(ge=0, le=1_000_000)]
    id2label: dict[str, str]


class DisentangledConfig(PretrainedConfig):
    """Configuration of :class:`DisentangledModel`.

    ``backbone`` is the emotion encoder's network, ``image_size`` the side of the pictures that a vision transformer is
    built for, ``normalisation`` the mean and the standard deviation of the pictures' colours, None for ImageNet's,
    which the identity encoder takes. ``hidden_sizes`` are the head's layers, ``dropout`` the part of each one's inputs
    that is dropped in training. ``identity`` names the identity encoder's network, or is None for no identity branch.
    ``disentangle`` says what is
    done besides concatenating the two embeddings: ``concat`` nothing, ``adversarial`` a classifier of the training
    ``subjects`` (their number) on the emotion embedding whose gradient is reversed, ``orthogonal`` a penalty on what
    the two embeddings have in common; ``disentangle_weight`` weighs it against the cross-entropy.
    """

    model_type = "fer-disentangled"
    #: The fields that are read of a stored configuration.
    stored = _Stored

    def __init__(
        self,
        backbone: str = "mobilenet_v3_large",
        identity: str | None = "vggface2",
        hidden_sizes: tuple[int, ...] | list[int] = HIDDEN_SIZES,
        disentangle: str = "concat",
        disentangle_weight: float = 1.0,
        subjects: int = 0,
        image_size: int | None = None,
        normalisation: Sequence[Sequence[float]] | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        self.backbone = backbone
        self.image_size = image_size
        self.normalisation = None if normalisation is None else [list(each) for each in normalisation]
        self.dropout = dropout
        self.identity = identity
        self.hidden_sizes = list(hidden_sizes)
        self.disentangle = disentangle
        self.disentangle_weight = disentangle_weight
        self.subjects = subjects
        super().__init__(**kwargs)


@dataclass
class DisentangledOutput(ImageClassifierOutput):
    """``penalty`` is what training adds to the cross-entropy, weighted already; None outside training."""

    penalty: Tensor | None = None


class DisentangledModel(TrainedModel):
    """Stage 1 as a ``transformers`` model: ``encoder`` (trained), ``identity`` (frozen), ``head``."""

    config_class = DisentangledConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"
    saliency_method = "Grad-CAM"
    if TYPE_CHECKING:
        encoder: Encoder

    def __init__(self, config: DisentangledConfig):
        super().__init__(config)
        if config.disentangle not in DISENTANGLINGS:
            raise ModelError(f"disentangle '{config.disentangle}' is none of {', '.join(DISENTANGLINGS)}.")
        if config.disentangle == "orthogonal" and config.identity is None:
            raise ModelError(
                "--disentangle orthogonal compares two embeddings, and there is no identity encoder.",
                hint="Type another --identity than none, or --disentangle concat or adversarial.",
            )
        self.encoder = make_encoder(config.backbone, config.image_size)
        self.identity: Any = None if config.identity is None else identity_network(config.identity)
        if self.identity is not None and config.normalisation is not None:
            self.identity.register_forward_pre_hook(partial(_as_imagenet, config.normalisation))
        width = self.encoder.width + (self.identity.width if self.identity is not None else 0)
        self.head = make_head(width, config.hidden_sizes, self.config.num_labels, config.dropout)
        if config.disentangle == "adversarial":
            self.adversary = make_head(self.encoder.width, (config.hidden_sizes or HIDDEN_SIZES)[:1], config.subjects)
        self.post_init()
        self._freeze()

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """The identity encoder, by the name of the input that can stand in for what it computes."""
        return {} if self.identity is None else {"identity_embeddings": self.identity}

    @property
    def convolutional(self) -> bool:  # type: ignore[override]  # an answer of the encoders', not set
        """Whether the encoders are networks of convolutions, which ONNX Runtime runs faster than torch on a CPU."""
        return self.encoder.convolutional

    @property
    def traceable(self) -> bool:  # type: ignore[override]
        """Whether torch's older ONNX exporter reads it, which the encoders decide."""
        return self.encoder.traceable and (self.identity is None or self.identity.traceable)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, which leaves the identity encoder frozen and its BatchNorm in evaluation mode."""
        super().train(mode)
        # Here too because from_pretrained makes every parameter trainable.
        self._freeze()
        return self

    def forward(
        self,
        pixel_values: Tensor,
        identity_embeddings: Tensor | None = None,
        subjects: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> DisentangledOutput:
        """Classify B faces, ``pixel_values`` B×3×H×W, normalised.

        ``identity_embeddings``, B×width, may hold what the identity encoder made of the faces before. ``subjects``, B
        indices of the training subjects, are what the ``adversarial`` penalty needs in training; ``labels`` are B class
        indices. Returns ``logits``, B×classes, with labels the ``loss``, and in training the ``penalty``.
        """
        emotion = self.encoder(pixel_values)
        if self.identity is not None and identity_embeddings is None:
            identity_embeddings = self._identify(pixel_values)
        logits = self._classify(emotion, identity_embeddings)
        penalty = self._penalty(emotion, identity_embeddings, subjects) if self.training else None
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits, labels) + (0 if penalty is None else penalty)
        return DisentangledOutput(loss=loss, logits=logits, penalty=penalty)

    def saliency(self, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
        """Grad-CAM by the emotion encoder for the class ``index``, h×w; ``neutral`` is not used."""
        identity = None if self.identity is None else self._identify(pixels)
        return self.encoder.grad_cam(pixels, lambda emotion: self._classify(emotion, identity)[0, index])

    @torch.no_grad()
    def _identify(self, pixels: Tensor) -> Tensor:
        return self.identity(pixels)

    def _classify(self, emotion: Tensor, identity: Tensor | None) -> Tensor:
        return self.head(emotion if identity is None else torch.cat([emotion, identity], dim=1))

    def _penalty(self, emotion: Tensor, identity: Tensor | None, subjects: Tensor | None) -> Tensor | None:
        if self.config.disentangle == "adversarial":
            if subjects is None:
                raise ValueError("subjects: the adversary learns to tell them apart")
            logits = self.adversary(_ReversedGradient.apply(emotion))
            return self.config.disentangle_weight * nn.functional.cross_entropy(logits, subjects)
        if self.config.disentangle == "orthogonal" and identity is not None:
            return self.config.disentangle_weight * shared_part(emotion, identity)
        return None

    def _freeze(self) -> None:
        if self.identity is not None:
            self.identity.requires_grad_(False)
            self.identity.eval()

    def _init_weights(self, module: nn.Module) -> None:
        # The encoders come initialised from their libraries.
        heads = (self.head, getattr(self, "adversary", ()))
        if any(module is layer for head in heads for layer in head):
            initialise(module)


def _as_imagenet(normalisation: list[list[float]], module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Pictures normalised by ``normalisation`` as ImageNet's, which identity encoders take."""
    mean, std, own_mean, own_std = (
        inputs[0].new_tensor(each)[:, None, None] for each in (*normalisation, IMAGENET_MEAN, IMAGENET_STD)
    )
    return (inputs[0] * std + mean - own_mean) / own_std


class _ReversedGradient(torch.autograd.Function):
    """The identity whose gradient is reversed: Y. Ganin and V. Lempitsky, ICML 2015, arXiv 1409.7495."""

    @staticmethod
    def forward(ctx: Any, embedding: Tensor) -> Tensor:
        return embedding.view_as(embedding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def shared_part(one: Tensor, other: Tensor) -> Tensor:
    """How much two embeddings of the same B faces vary together, 0 (not at all) to 1; their widths may differ.

    The squared Frobenius norm of the correlation of the centred embeddings, each of length one: the difference loss of
    K. Bousmalis et al., *Domain Separation Networks*, NIPS 2016, arXiv 1608.06019, divided by B².
    """
    one, other = (nn.functional.normalize(part - part.mean(dim=0), dim=1) for part in (one, other))
    # The same as the norm of one.T @ other, by way of B×B matrices.
    return ((one @ one.T) * (other @ other.T)).sum() / len(one) ** 2
