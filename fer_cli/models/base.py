"""The base of our models, which answer what is asked of them, and the finding of a model by its type."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

import fer_cli.models
from fer_cli.documents import write_seen

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

    def __init_subclass__(cls, **settings: Any):
        super().__init_subclass__(**settings)
        config = vars(cls).get("config_class")
        if config is not None:
            _MODELS[config.model_type] = cls
            AutoConfig.register(config.model_type, config, exist_ok=True)
            AutoModelForImageClassification.register(config, cls, exist_ok=True)

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """The parts that are not trained, by the name of the input that can stand in for what each computes."""
        return {}

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze the encoder for a while, or train it again: no gradient, and BatchNorm in evaluation mode."""
        self._encoder_frozen = frozen
        self.base_model.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "TrainedModel":
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

    def save_pretrained(self, save_directory: str | Path, **settings: Any) -> None:
        """Save as transformers does, then add what the model has seen to the header of its weights."""
        super().save_pretrained(save_directory, **settings)
        if (Path(save_directory) / WEIGHTS).is_file():
            write_seen(Path(save_directory) / WEIGHTS, self.seen)


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
