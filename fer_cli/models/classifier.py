"""The classifier of single pictures: an encoder, dropout, and a head, trained end to end."""

from typing import Annotated, Any, TypedDict

import torch
from msgspec import Meta
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.models.base import TrainedModel
from fer_cli.models.choices import Backbone
from fer_cli.models.encoder import Encoder, HiddenSizes, initialise, make_head

#: The standard deviation of the output layer's weights before training: all classes begin equally likely.
OUTPUT_STD = 0.01


class _Stored(TypedDict):
    backbone: Backbone
    hidden_sizes: HiddenSizes
    dropout: Annotated[float, Meta(ge=0, lt=1)]
    tune_encoder: bool
    id2label: dict[str, str]


class ClassifierConfig(PretrainedConfig):
    """Configuration of :class:`ClassifierModel`.

    ``hidden_sizes`` are the head's layers, none for a linear one. ``dropout`` is the part of the embedding that is set
    to zero in training. ``tune_encoder`` False keeps the encoder frozen: no gradient, and BatchNorm in evaluation mode.
    The classes are ``id2label``, in order.
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
        **kwargs: Any,
    ):
        self.backbone = backbone
        self.hidden_sizes = list(hidden_sizes)
        self.dropout = dropout
        self.tune_encoder = tune_encoder
        super().__init__(**kwargs)


class ClassifierModel(TrainedModel):
    """A classifier of single pictures as a ``transformers`` model: ``encoder``, ``dropout``, ``head``.

    >>> from fer_cli.models import ClassifierModel  # doctest: +SKIP
    >>> model = ClassifierModel.from_pretrained("runs/classifier-ferplus-fold0")  # doctest: +SKIP
    """

    config_class = ClassifierConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"
    convolutional = True
    saliency_method = "Grad-CAM"

    def __init__(self, config: ClassifierConfig):
        super().__init__(config)
        self.encoder = Encoder(config.backbone)
        self.dropout = nn.Dropout(config.dropout)
        self.head = make_head(self.encoder.width, config.hidden_sizes, config.num_labels)
        self.post_init()
        self.encoder.requires_grad_(config.tune_encoder)

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """The encoder, where it is frozen, by the name of the input that can stand in for what it computes."""
        return {} if self.config.tune_encoder else {"embeddings": self.encoder}

    def train(self, mode: bool = True) -> "ClassifierModel":
        """Switch to training mode, which leaves a frozen encoder's BatchNorm in evaluation mode."""
        super().train(mode)
        if not self.config.tune_encoder:
            # Said here again because from_pretrained makes every parameter trainable.
            self.encoder.requires_grad_(False).eval()
        return self

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
        initialise(module)
        if module is self.head[-1]:
            nn.init.normal_(module.weight, std=OUTPUT_STD)
