"""Difference of Embeddings: a face and its difference from the same person's neutral face.

One encoder embeds both faces. The embedding of the target minus that of the neutral takes away what the two have in
common, which is the person; a small head classifies that difference and the target's own embedding.
"""

from typing import Annotated, Any, NotRequired, TypedDict, cast

import torch
from msgspec import Meta
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models import FEATURES, Features
from fer_cli.models.backbones import make_encoder
from fer_cli.models.base import EncoderModel
from fer_cli.models.encoder import (
    HIDDEN_SIZES,
    BackboneName,
    Dropout,
    Encoder,
    HiddenSizes,
    ImageSize,
    Standardise,
    initialise,
    make_head,
)


class _Stored(TypedDict):
    backbone: BackboneName
    image_size: NotRequired[ImageSize]
    features: Features
    hidden_sizes: HiddenSizes
    dropout: NotRequired[Dropout]
    standardise: NotRequired[bool]
    neutrals: NotRequired[Annotated[int, Meta(ge=1, le=1000)]]
    tune_encoder: bool
    id2label: dict[str, str]


class DifferenceConfig(PretrainedConfig):
    """Configuration of :class:`DifferenceModel`.

    ``backbone`` is the encoder's network, ``image_size`` the side of the pictures that a vision transformer is built
    for. ``features`` says what the head sees: ``both`` the difference and the target, ``difference`` or ``target``
    alone. With ``standardise`` it sees them standardised by the training's statistics. ``hidden_sizes`` are the head's
    layers (none: a linear classifier), ``dropout`` the part of each one's inputs that is dropped in training.
    ``neutrals`` is how many neutral pictures of a person were averaged. ``tune_encoder`` False keeps the encoder
    frozen: no gradient, and BatchNorm in evaluation mode. The classes are ``id2label``, in order.
    """

    model_type = "fer-difference"
    #: The fields that are read of a stored configuration.
    stored = _Stored

    def __init__(
        self,
        backbone: str = "mobilenet_v3_large",
        features: str = "both",
        hidden_sizes: tuple[int, ...] | list[int] = HIDDEN_SIZES,
        tune_encoder: bool = False,
        image_size: int | None = None,
        dropout: float = 0.0,
        standardise: bool = False,
        neutrals: int = 1,
        **kwargs: Any,
    ):
        self.backbone = backbone
        self.image_size = image_size
        self.features = features
        self.hidden_sizes = list(hidden_sizes)
        self.dropout = dropout
        self.standardise = standardise
        self.neutrals = neutrals
        self.tune_encoder = tune_encoder
        super().__init__(**kwargs)


class DifferenceModel(EncoderModel):
    """Difference of Embeddings as a ``transformers`` model.

    >>> from fer_cli.models import DifferenceModel  # doctest: +SKIP
    >>> model = DifferenceModel.from_pretrained("runs/difference-ckplus-fold0")  # doctest: +SKIP
    """

    config_class: type[PretrainedConfig] = DifferenceConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"
    saliency_method = "Grad-CAM"

    def __init__(self, config: PretrainedConfig):
        super().__init__(config)
        if config.features not in FEATURES:
            raise ModelError(f"features '{config.features}' is none of {', '.join(FEATURES)}.")
        self.encoder = self.make_encoder(config)
        width = self.encoder.width * (2 if config.features == "both" else 1)
        self.standardised = Standardise(width) if config.standardise else nn.Identity()
        self.head = make_head(width, config.hidden_sizes, self.config.num_labels, config.dropout)
        self.post_init()
        self.encoder.requires_grad_(config.tune_encoder)

    @staticmethod
    def make_encoder(config: Any) -> Encoder:
        """The encoder that ``config`` describes, its weights random."""
        return make_encoder(config.backbone, config.image_size)

    @property
    def paired(self) -> bool:  # type: ignore[override]  # an answer of the configuration's, not set
        """Whether a face is compared with its person's neutral face."""
        return self.config.features != "target"

    def forward(
        self,
        pixel_values: Tensor | None = None,
        neutral_pixel_values: Tensor | None = None,
        embeddings: Tensor | None = None,
        neutral_embeddings: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> ImageClassifierOutput:
        """Classify B faces.

        ``pixel_values`` and ``neutral_pixel_values`` are B×3×H×W, normalised; the second holds the same persons'
        neutral faces, in order, and is omitted where ``features`` is ``target``. In their place ``embeddings`` and
        ``neutral_embeddings``, B×width, may hold what the encoder made of them before. ``labels`` are B class indices.
        Returns ``logits``, B×classes, and with labels the cross-entropy ``loss``. Raises ``ValueError`` where a neutral
        face is needed and not given.
        """
        if embeddings is None:
            embeddings, neutral_embeddings = self._embed(pixel_values, neutral_pixel_values)
        logits = self.head(self.standardised(self.compared(embeddings, neutral_embeddings)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def standardise(self, embeddings: Tensor, neutral_embeddings: Tensor | None = None) -> None:
        """Standardise by the statistics of N×width embeddings of the training's faces, and of their neutral faces.

        Nothing is done where the configuration does not say so.
        """
        if self.config.standardise:
            cast(Standardise, self.standardised).fit(
                self.compared(embeddings, neutral_embeddings if self.paired else None)
            )

    def saliency(self, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
        """Grad-CAM of the target face for the class ``index``, h×w."""
        with torch.no_grad():
            neutral_embeddings = None if neutral is None else self.encoder(neutral)

        def logit(embeddings: Tensor) -> Tensor:
            return self(embeddings=embeddings, neutral_embeddings=neutral_embeddings).logits[0, index]

        return self.encoder.grad_cam(pixels, logit)

    def compared(self, target: Tensor, neutral: Tensor | None) -> Tensor:
        """The head's input, by the configuration's ``features``, from B×width embeddings of faces and neutral faces."""
        if not self.paired:
            return target
        if neutral is None:
            raise ValueError("neutral_pixel_values: this model compares a face with the person's neutral face")
        difference = target - neutral
        return difference if self.config.features == "difference" else torch.cat([difference, target], dim=1)

    def _embed(self, target: Tensor | None, neutral: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if target is None:
            raise ValueError("pixel_values: this model takes faces, or their embeddings")
        with torch.set_grad_enabled(self.config.tune_encoder and torch.is_grad_enabled()):
            if neutral is None or not self.paired:
                return self.encoder(target), None
            # One pass over both halves: the same statistics for both where BatchNorm is in training mode.
            return self.encoder(torch.cat([target, neutral])).chunk(2)

    def _init_weights(self, module: nn.Module) -> None:
        # The encoder comes initialised from its library.
        if any(module is layer for layer in self.head):
            initialise(module)
