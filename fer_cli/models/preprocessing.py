"""From a crop's pixels to what a network takes, and how that is stored beside the network's weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional
from transformers import ViTImageProcessor

from fer_cli.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize to ``size`` pixels a side, scale to 0–1, subtract ``mean`` and divide by ``std`` (RGB).

    ``face_crop`` holds the ``size`` and ``margin`` of the crops that the model was trained on, so that a picture met
    later is cropped in the same way. It is saved as a ``preprocessor_config.json`` which
    ``transformers.AutoImageProcessor`` opens too.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    face_crop: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, crops: Tensor) -> Tensor:
        """B×3×size×size float32 for B×3×H×W uint8 crops."""
        return self.normalise(self.resize(crops))

    def resize(self, crops: Tensor) -> Tensor:
        """The crops at the network's size, uint8 as before, averaged over what a smaller pixel covers."""
        if crops.shape[-2:] == (self.size, self.size):
            return crops
        return functional.resize(crops, [self.size, self.size], antialias=True)

    def normalise(self, crops: Tensor) -> Tensor:
        """The crops as the network takes them."""
        scaled = functional.to_dtype(crops, torch.float32, scale=True)
        # Convolutions run up to twice as fast on this order of memory; the numbers are the same.
        return functional.normalize(scaled, list(self.mean), list(self.std)).contiguous(
            memory_format=torch.channels_last
        )

    def save(self, folder: Path) -> None:
        """Write ``preprocessor_config.json`` into ``folder``."""
        ViTImageProcessor(
            size={"height": self.size, "width": self.size},
            resample=2,
            image_mean=list(self.mean),
            image_std=list(self.std),
            face_crop=dict(self.face_crop),
        ).save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> "Preprocessing":
        """Read what :meth:`save` wrote.

        Raises :class:`~fer_cli.errors.ModelError` if there is none or it does not say what is needed.
        """
        try:
            stored = ViTImageProcessor.get_image_processor_dict(folder, local_files_only=True)[0]
            return cls(
                int(stored["size"]["height"]),
                tuple(map(float, stored["image_mean"])),
                tuple(map(float, stored["image_std"])),
                dict(stored["face_crop"]),
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{folder / 'preprocessor_config.json'} does not say how pictures were prepared: {error!r}."
            ) from error
