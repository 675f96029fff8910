"""Models that others published or saved: any image classification of the Hugging Face Hub, or of a folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from fer_cli.errors import ModelError
from fer_cli.labels import EXPRESSIONS, expression
from fer_cli.models.classifier import MODEL_TYPES, Classifier
from fer_cli.models.device import choose_device
from fer_cli.models.quiet import hush

#: The crop that such a model is given, which its files do not tell: that of :class:`~fer_cli.dataset.preparation`.
SIZE, MARGIN = 224, 0.15


@dataclass(frozen=True)
class ProcessorPreprocessing:
    """A model's own image processor, called as :class:`~fer_cli.models.preprocessing.Preprocessing` is.

    ``size`` is that of the pictures that come out of it, in pixels.
    """

    processor: Any
    size: int
    face_crop: dict[str, Any] = field(default_factory=lambda: {"size": SIZE, "margin": MARGIN, "detector": "auto"})

    def __call__(self, crops: Tensor) -> Tensor:
        """B×3×size×size float32 for B×3×H×W uint8 crops."""
        return self.processor(images=list(crops), return_tensors="pt")["pixel_values"]


def load_published(source: str | Path, device: str = "auto") -> tuple[Classifier, str]:
    """The image classification model called ``source``, and a line on what became of its labels.

    ``source`` is a folder that ``save_pretrained`` wrote, or a name of the Hub such as ``organisation/name``, which is
    downloaded once into the Hub's own cache; no code that comes with it is run. Labels are given the vocabulary's names
    where they mean one of them; others keep their own. Raises :class:`~fer_cli.errors.ModelError` if it cannot be had
    or classifies no images.
    """
    hush()
    # A folder's name can look like one of the Hub; what is here is what is meant.
    name = str(source)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type in MODEL_TYPES:
            return Classifier.load(Path(source), device), "labels are the vocabulary's"
        model = AutoModelForImageClassification.from_pretrained(name, config=config, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise _cannot_be_had(source, error) from error
    labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    classes = vocabulary(labels)
    try:
        size = processor(images=[torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)], return_tensors="pt")["pixel_values"]
    except Exception as error:  # a processor is whatever its file says it is
        raise ModelError(f"The image processor of {source} does not work: {str(error).splitlines()[0]}") from error
    classifier = Classifier(model, ProcessorPreprocessing(processor, size.shape[-1]), choose_device(device), classes)
    return classifier, _about(labels, classes)


def vocabulary(labels: tuple[str, ...]) -> tuple[str, ...]:
    """``labels`` by the vocabulary's names where they mean one of them, in order.

    Where two mean the same, the first has its name.

    >>> vocabulary(("Happy", "sad", "boredom"))
    ('happiness', 'sadness', 'boredom')
    """
    names: list[str] = []
    for label in labels:
        name = expression(label) or label
        names.append(label if name in names else name)
    return tuple(names)


def _about(labels: tuple[str, ...], classes: tuple[str, ...]) -> str:
    known = [f"{label} → {name}" if label != name else name for label, name in zip(labels, classes, strict=True)
             if name in EXPRESSIONS]  # fmt: skip
    own = [name for name in classes if name not in EXPRESSIONS]
    parts = ["labels " + (", ".join(known) or "none of the vocabulary's")]
    if own:
        parts.append(f"kept under their own names: {', '.join(own[:10])}" + (" …" if len(own) > 10 else ""))
    return "; ".join(parts)


def _cannot_be_had(source: str | Path, error: Exception) -> ModelError:
    if Path(source).exists():
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return ModelError(
            f"{source} cannot be loaded as an image classification model: {reason}",
            mend="It needs what save_pretrained writes: config.json, model.safetensors, preprocessor_config.json.",
        )
    return ModelError(
        f"{source} is no folder here, is not in the Hub's cache, and cannot be downloaded ({type(error).__name__}).",
        mend="Look at its name and at the network; or, where there is a network, type "
        f"hf download {source} --local-dir FOLDER, and here --model FOLDER.",
    )
