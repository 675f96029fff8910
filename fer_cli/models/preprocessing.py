"""Preprocessing of a crop's pixels for a network, and its file next to the network's weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import torch
from msgspec import Meta
from torch import Tensor
from torchvision.transforms.v2 import functional
from transformers import ViTImageProcessor

from fer_cli.documents import read_document
from fer_cli.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_COLOURS = (IMAGENET_MEAN, IMAGENET_STD)
#: The longest side that is asked of a picture, in pixels.
MAX_SIDE = 4096
FILE = "preprocessor_config.json"

_Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]


class _Size(TypedDict):
    height: _Side
    width: _Side


class FaceCrop(TypedDict):
    """The crop that a model was trained on, where it is known."""

    size: NotRequired[_Side]
    margin: NotRequired[Annotated[float, Meta(ge=0, le=10)]]
    detector: NotRequired[str]


class _Stored(TypedDict):
    size: _Size
    # Of colours from 0 to 1.
    image_mean: Annotated[list[Annotated[float, Meta(ge=0, le=1)]], Meta(min_length=3, max_length=3)]
    image_std: Annotated[list[Annotated[float, Meta(ge=0.001, le=10)]], Meta(min_length=3, max_length=3)]
    face_crop: FaceCrop
    grey: NotRequired[bool]


@dataclass(frozen=True)
class Preprocessing:
    """Resize to ``size`` pixels a side, scale to 0–1, subtract ``mean`` and divide by ``std`` (RGB).

    ``face_crop`` holds the ``size`` and ``margin`` of the crops that the model was trained on, so that a picture met
    later is cropped in the same way. With ``grey`` a network sees pictures without their colours: one that was trained
    on grey pictures would meet in colours what it has not learned. It is saved as a ``preprocessor_config.json`` which
    ``transformers.AutoImageProcessor`` opens too.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    face_crop: Mapping[str, Any] = field(default_factory=dict)
    grey: bool = False

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
        if self.grey:
            crops = functional.rgb_to_grayscale(crops, num_output_channels=3)
        scaled = functional.to_dtype(crops, torch.float32, scale=True)
        # Convolutions run up to twice as fast on this order of memory; the numbers are the same.
        return functional.normalize(scaled, list(self.mean), list(self.std)).contiguous(
            memory_format=torch.channels_last
        )

    def save(self, folder: Path) -> None:
        """Write ``preprocessor_config.json`` into ``folder``."""
        # What a processor does not know of it keeps.
        further: dict[str, Any] = {"face_crop": dict(self.face_crop), **({"grey": True} if self.grey else {})}
        ViTImageProcessor(
            size={"height": self.size, "width": self.size},
            resample=2,
            image_mean=list(self.mean),
            image_std=list(self.std),
            **further,
        ).save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> "Preprocessing":
        """Read what :meth:`save` wrote.

        Raises :class:`~fer_cli.errors.ModelError` if there is none or it does not say what is needed.
        """
        stored = read_document(folder / FILE, _Stored, ModelError)
        mean, std = (tuple(map(float, stored[name])) for name in ("image_mean", "image_std"))
        return cls(stored["size"]["height"], mean, std, stored["face_crop"], grey=stored.get("grey", False))
