"""The classifier of single pictures: an encoder, dropout, and a head, trained end to end."""

from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.models.backbones import make_encoder
from fer_cli.models.base import EncoderModel
from fer_cli.models.encoder import (
    BackboneName,
    Dropout,
    HiddenSizes,
    ImageSize,
    initialise,
    make_head,
    small_output,
)


class _Stored(TypedDict):
    backbone: BackboneName
    image_size: NotRequired[ImageSize]
    hidden_sizes: HiddenSizes
    dropout: Dropout
    tune_encoder: bool
    id2label: dict[str, str]


class ClassifierConfig(PretrainedConfig):
    """Configuration of :class:`ClassifierModel`.

    ``backbone`` is the encoder's network, ``image_size`` the side of the pictures that a vision transformer is built
    for. ``hidden_sizes`` are the head's layers, none for a linear one. ``dropout`` is the part of the embedding that is
    set to zero in training. ``tune_encoder`` False keeps the encoder frozen: no gradient, and BatchNorm in evaluation
    mode. The classes are ``id2label``, in order.
    """

    model_type = "fer-classifier"
    #: The fields that are read of a stored configuration.
    stored = _Stored

    def __init__(
        self,
        backbone: str = "mobilenet_v3_large",
        hidden_sizes: tuple[int, ...] | list[int] = (),
        dropout: float = 0.2,
        tune_encoder: bool = True,
        image_size: int | None = None,
        **kwargs: Any,
    ):
        self.backbone = backbone
        self.image_size = image_size
        self.hidden_sizes = list(hidden_sizes)
        self.dropout = dropout
        self.tune_encoder = tune_encoder
        super().__init__(**kwargs)


class ClassifierModel(EncoderModel):
    """A classifier of single pictures as a ``transformers`` model: ``encoder``, ``dropout``, ``head``.

    >>> from fer_cli.models import ClassifierModel  # doctest: +SKIP
    >>> model = ClassifierModel.from_pretrained("runs/classifier-ferplus-fold0")  # doctest: +SKIP
    """

    config_class = ClassifierConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"
    saliency_method = "Grad-CAM"

    def __init__(self, config: ClassifierConfig):
        super().__init__(config)
        self.encoder = make_encoder(config.backbone, config.image_size)
        self.dropout = nn.Dropout(config.dropout)
        self.head = make_head(self.encoder.width, config.hidden_sizes, self.config.num_labels)
        self.post_init()
        self.encoder.requires_grad_(config.tune_encoder)

    def forward(
        self, pixel_values: Tensor | None = None, embeddings: Tensor | None = None, labels: Tensor | None = None
    ) -> ImageClassifierOutput:
        """Classify B faces.

        ``pixel_values`` are B×3×H×W, normalised; in their place ``embeddings``, B×width, may hold what the encoder made
        of them before. ``labels`` are B class indices, or B×classes probabilities. Returns ``logits``, B×classes, and
        with labels the cross-entropy ``loss``.
        """
        if embeddings is None:
            with torch.set_grad_enabled(self.config.tune_encoder and torch.is_grad_enabled()):
                embeddings = self.encoder(pixel_values)
        logits = self.head(self.dropout(embeddings))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def saliency(self, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
        """Grad-CAM of the face for the class ``index``, h×w."""
        return self.encoder.grad_cam(pixels, lambda embeddings: self(embeddings=embeddings).logits[0, index])

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # The encoder comes initialised from its library.
        if any(module is layer for layer in self.head):
            initialise(module)
        if module is self.head[-1]:
            small_output(self.head)
