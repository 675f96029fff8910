"""The base of our models, which answer what is asked of them, and the finding of a model by its type."""

from collections.abc import Callable, Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Self, cast

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

import fer_cli.models
from fer_cli.documents import write_seen

if TYPE_CHECKING:
    from fer_cli.models.encoder import Encoder

WEIGHTS = "model.safetensors"
#: Every model of ours that has been defined, by its configuration's ``model_type``.
_MODELS: dict[str, type["TrainedModel"]] = {}


class TrainedModel(PreTrainedModel):
    """The base of our models. A subclass that names its ``config_class`` is known to transformers' Auto classes.

    Its file of weights names the subjects, by corpus, that it has ``seen`` in training. What is asked of a model
    elsewhere it answers itself, by the attributes and methods here.
    """

    seen: Mapping[str, list[str]] = {}
    #: Whether a face is compared with the same person's neutral face.
    paired = False
    #: Whether the classes are people, not expressions.
    identifies = False
    #: Whether it is a network of convolutions, which ONNX Runtime runs faster than torch on a CPU.
    convolutional = False
    #: Whether torch's older and faster ONNX exporter reads it.
    traceable = True
    #: The name of the method of :meth:`saliency`.
    saliency_method = ""
    _encoder_frozen = False
    # For type checkers alone: transformers reads the annotations of a class.
    if TYPE_CHECKING:
        #: The configuration, of the class that ``config_class`` names.
        config: Any
        config_class: Any
        encoder: Any
        head: nn.Sequential

        post_init: Callable[[], None]
        to: Any

    def __init_subclass__(cls, **settings: Any):
        super().__init_subclass__(**settings)  # type: ignore[no-untyped-call]
        config = vars(cls).get("config_class")
        if config is not None:
            _MODELS[config.model_type] = cls
            AutoConfig.register(config.model_type, config, exist_ok=True)
            AutoModelForImageClassification.register(config, cls, exist_ok=True)

    @property
    def temperature(self) -> float:
        """What calibration divides the logits by before the softmax; 1 where nothing was calibrated."""
        return float(getattr(self.config, "softmax_temperature", 1.0))

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """The parts that are not trained, by the name of the input that can stand in for what each computes."""
        return {}

    @property
    def output_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        return cast(nn.Linear, self.head[-1])

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze the encoder for a while, or train it again: no gradient, and BatchNorm in evaluation mode."""
        self._encoder_frozen = frozen
        self.base_model.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, which leaves an encoder that :meth:`freeze_encoder` froze in evaluation mode."""
        super().train(mode)
        if self._encoder_frozen:
            self.base_model.eval()
        return self

    def features(self, pixels: Tensor) -> Tensor:
        """The embeddings that the classifier sees of B faces, ``pixels`` B×3×S×S, normalised: B×D."""
        return self.encoder(pixels)

    def saliency(self, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
        """Where in a face the evidence for class ``index`` lies: h×w, 0 or more, coarser than the picture.

        ``pixels`` is 1×3×S×S, normalised; ``neutral``, of the same shape, the neutral face of a paired model.
        """
        raise NotImplementedError(f"{type(self).__name__} explains no answer")

    @classmethod
    def from_pretrained(cls, *sources: Any, **settings: Any) -> Any:
        """Load as transformers does, then compute again the buffers that are not stored with weights.

        transformers makes a model without memory and fills in what is stored; what a network of another library
        computes when it is made, and does not store, would stay unset.
        """
        loaded = super().from_pretrained(*sources, **settings)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        unstored = {name for name, _ in model.named_buffers()} - model.state_dict().keys()
        if unstored:
            made = dict(cls(model.config).named_buffers())
            for name in unstored:
                holder, _, own = name.rpartition(".")
                buffer = made[name].to(model.device)
                model.get_submodule(holder).register_buffer(own, buffer, persistent=False)
        return loaded

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **settings: Any) -> None:
        """Save as transformers does, then add what the model has seen to the header of its weights."""
        super().save_pretrained(save_directory, *args, **settings)
        if (Path(save_directory) / WEIGHTS).is_file():
            write_seen(Path(save_directory) / WEIGHTS, self.seen)


class EncoderModel(TrainedModel):
    """The base of models with one ``encoder``, which is frozen unless the configuration's ``tune_encoder`` is set."""

    if TYPE_CHECKING:
        encoder: Encoder

    @property
    def convolutional(self) -> bool:  # type: ignore[override]  # an answer of the encoder's, not set
        """Whether the encoder is a network of convolutions, which ONNX Runtime runs faster than torch on a CPU."""
        return self.encoder.convolutional

    @property
    def traceable(self) -> bool:  # type: ignore[override]
        """Whether torch's older ONNX exporter reads the encoder."""
        return self.encoder.traceable

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """The encoder, where it is frozen, by the name of the input that can stand in for what it computes."""
        return {} if self.config.tune_encoder else {"embeddings": self.encoder}

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, which leaves a frozen encoder's BatchNorm in evaluation mode."""
        if self.config.tune_encoder:
            return super().train(mode)
        # The trainer says so at every step, and to walk through an encoder that stands still would take its time.
        self.training = mode
        for part in self.children():
            if part is not self.encoder:
                part.train(mode)
        # Said here again because from_pretrained makes every parameter trainable.
        trained = next((each.requires_grad for each in self.encoder.parameters()), False)
        if self.encoder.training or trained:
            self.encoder.requires_grad_(False).eval()
        return self


def own_model(model_type: object) -> type[TrainedModel] | None:
    """The model of ours whose configuration has this ``model_type``; None if there is none.

    One that has not been imported yet is looked for by its name: ``fer-vit-se`` in ``fer_cli.models.vit_se``.
    """
    if not isinstance(model_type, str):
        return None
    module = model_type.removeprefix("fer-").replace("-", "_")
    if (
        model_type.startswith("fer-")
        and model_type not in _MODELS
        and module in {each.name for each in iter_modules(fer_cli.models.__path__)}
    ):
        import_module(f"fer_cli.models.{module}")
    return _MODELS.get(model_type)
