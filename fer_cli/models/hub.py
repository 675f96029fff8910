"""Models that others published or saved: any image classification of the Hugging Face Hub, or of a folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from fer_cli.errors import ModelError
from fer_cli.labels import EXPRESSIONS, expression
from fer_cli.models.base import WEIGHTS, own_model
from fer_cli.models.device import choose_device
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import CONFIG, first_line, foreign_config, load_foreign
from fer_cli.models.preprocessing import FILE as PREPROCESSING
from fer_cli.models.preprocessing import MAX_SIDE

#: The crop that such a model is given, which its files do not tell: that of :class:`~fer_cli.dataset.plan`.
SIZE, MARGIN = 224, 0.15
#: What of a published run is downloaded.
OWN_FILES = (CONFIG, WEIGHTS, PREPROCESSING, "run.json", "neutral.safetensors", "README.md", "SHA256SUMS")
#: Types of published networks of convolutions.
CONVOLUTIONAL = frozenset(
    ("convnext", "convnextv2", "efficientnet", "mobilenet_v1", "mobilenet_v2", "regnet", "resnet")
)


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


def fetch_own(source: str) -> Path | None:
    """The folder, in the Hub's cache, of the model called ``source`` there if it is one of fer's own; else None.

    It is downloaded once: its weights as safetensors, and JSON; nothing that could be run. ``source`` may name a branch
    or a commit, as in ``organisation/name@revision``. Raises :class:`~fer_cli.errors.ModelError` if it cannot be had.
    """
    name, revision = split_revision(source)
    try:
        if own_model(foreign_config(name, **({"revision": revision} if revision else {})).model_type) is None:
            return None
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(OWN_FILES)))
    except ModelError:
        raise
    except Exception as error:  # transformers' errors, the Hub's, the network's, and the disk's
        raise _cannot_be_had(source, error) from error


def split_revision(source: str) -> tuple[str, str | None]:
    """A name of the Hub and the revision that is asked for, if any.

    >>> split_revision("organisation/name@v1")
    ('organisation/name', 'v1')
    """
    # A folder's name may have that sign; no name of the Hub has.
    name, sign, revision = source.partition("@")
    return (name, revision) if sign and not Path(source).exists() else (source, None)


def load_published(source: str | Path, device: str = "auto") -> tuple[Classifier, str]:
    """The image classification model called ``source``, and a line on what became of its labels.

    ``source`` is a folder that ``save_pretrained`` wrote, or a name of the Hub such as ``organisation/name``, with
    ``@revision`` if another than the newest is meant, which is
    downloaded once into the Hub's own cache; no code that comes with it is run. Labels are given the vocabulary's names
    where they mean one of them; others keep their own. Raises :class:`~fer_cli.errors.ModelError` if it cannot be had
    or classifies no images.
    """
    # A folder's name can look like one of the Hub; what is here is what is meant.
    name, revision = split_revision(str(source))
    pinned: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        config = foreign_config(name, **pinned)
        if own_model(config.model_type) is not None:
            folder = Path(source) if Path(source).is_dir() else fetch_own(str(source))
            if folder is not None:
                return Classifier.load(folder, device), "labels are the vocabulary's"
        labels = _labels(config, name)
        model = adopt(load_foreign(AutoModelForImageClassification, name, config, **pinned))
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False, **pinned)
    except ModelError:
        raise
    except Exception as error:  # transformers' errors, the Hub's, the network's, and the disk's
        raise _cannot_be_had(source, error) from error
    classes = vocabulary(labels)
    # It is called as a Preprocessing is.
    preprocessing: Any = ProcessorPreprocessing(processor, _size(processor, name))
    return Classifier(model, preprocessing, choose_device(device), classes), _about(labels, classes)


def adopt(model: PreTrainedModel) -> PreTrainedModel:
    """Have a model that others published answer what a :class:`~fer_cli.models.base.TrainedModel` does."""
    attributes = {"paired": False, "traceable": False, "convolutional": model.config.model_type in CONVOLUTIONAL}
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def _labels(config: Any, name: str) -> tuple[str, ...]:
    """The model's labels, in order, where they are such that one of them is right."""
    count = config.num_labels
    if count < 2 or config.problem_type == "regression":
        shown = ", ".join(str(label)[:40] for label in list(config.id2label.values())[:5])
        raise ModelError(
            f"{name} gives a number for {shown or 'nothing'}, not probabilities of classes: expressions are told apart "
            "by two labels at least.",
            hint="Type --model with a model that has a label for each expression.",
        )
    return tuple(str(config.id2label[index]) for index in range(count))


def _size(processor: Any, name: str) -> int:
    """The side of the pictures that ``processor`` makes, once it has shown that it makes some."""
    sizes = [dict(getattr(processor, kind, None) or {}) for kind in ("size", "crop_size", "pad_size")]
    sides = [side for size in sizes for side in size.values() if side is not None]
    if any(not isinstance(side, int) or not 1 <= side <= MAX_SIDE for side in sides):
        raise ModelError(f"The image processor of {name} makes pictures of {sides} pixels; {MAX_SIDE} are the most.")
    black, white = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), torch.full((3, SIZE, SIZE), 255, dtype=torch.uint8)
    try:
        made = processor(images=[black, white], return_tensors="pt")["pixel_values"]
        sound = bool(torch.isfinite(made).all()) and bool((made[0] != made[1]).flatten(1).any(1).all())
    except Exception as error:  # a processor is whatever its file says it is
        raise ModelError(f"The image processor of {name} does not work: {first_line(error)}") from error
    if not sound:
        raise ModelError(
            f"The image processor of {name} makes no numbers of a picture, or the same of each: see image_mean and "
            "image_std in its preprocessor_config.json."
        )
    return made.shape[-1]


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
    renamed = [f"{label} → {name}" if label != name else name for label, name in zip(labels, classes, strict=True)
             if name in EXPRESSIONS]  # fmt: skip
    own = [name for name in classes if name not in EXPRESSIONS]
    parts = ["labels " + (", ".join(renamed) or "none of the vocabulary's")]
    if own:
        parts.append(f"kept under their own names: {', '.join(own[:10])}" + (" …" if len(own) > 10 else ""))
    return "; ".join(parts)


def _cannot_be_had(source: str | Path, error: Exception) -> ModelError:
    if Path(source).exists():
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return ModelError(
            f"{source} cannot be loaded as an image classification model: {reason}",
            hint="It needs what save_pretrained writes: config.json, model.safetensors, preprocessor_config.json.",
        )
    return ModelError(
        f"{source} is no folder here, is not in the Hub's cache, and cannot be downloaded ({type(error).__name__}).",
        hint="Look at its name and at the network; or, where there is a network, type "
        f"hf download {source} --local-dir FOLDER, and here --model FOLDER.",
    )
