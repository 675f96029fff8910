"""How training pictures are varied, and how samples become a batch."""

from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from fer_cli.models.preprocessing import Preprocessing


def augmentation() -> v2.Transform:
    """Small changes that leave identity and expression alone: mirroring, tilt, shift, scale, light, contrast.

    They take what is left of misalignment and lighting away from what the network could learn by heart.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(4, translate=(0.03, 0.03), scale=(0.95, 1.05), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
        ]
    )


class Collator:
    """Stacks samples into a batch, as the network takes it."""

    def __init__(self, preprocessing: Preprocessing):
        self._preprocessing = preprocessing

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """``pixel_values`` and, where the samples have them, ``neutral_pixel_values``, B×3×S×S; ``labels``, B."""
        batch = {
            name: self._preprocessing.normalise(torch.stack([sample[name] for sample in samples]))
            for name in samples[0]
            if name != "labels"
        }
        return {**batch, "labels": torch.tensor([sample["labels"] for sample in samples])}
