"""Class imbalance: the loss that takes it into account, and the sampler that evens it out."""

import torch
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler

from fer_cli.training.recipes.base import Recipe

#: To which power of its frequency a class is drawn more rarely, by the name of ``--sampling``.
POWERS = {"natural": 0.0, "sqrt": 0.5, "balanced": 1.0}


class TrainingLoss(nn.Module):
    """The cross-entropy of B×C logits with B class indices or B×C probabilities, as the recipe has it in training.

    ``class_weights``, C, weigh the classes. With ``frequencies``, C, the recipe's ``logit_adjustment`` times their
    logarithms is added to the logits, so that the model's own logits are those of balanced classes: A. K. Menon et al.,
    *Long-tail learning via logit adjustment*, ICLR 2021, arXiv 2007.07314, equation 10.
    """

    def __init__(self, recipe: Recipe, class_weights: Tensor | None = None, frequencies: Tensor | None = None):
        super().__init__()
        self._smoothing = recipe.label_smoothing
        adjustment = None
        if recipe.logit_adjustment and frequencies is not None:
            adjustment = recipe.logit_adjustment * (frequencies / frequencies.sum()).log()
        self.register_buffer("class_weights", class_weights)
        self.register_buffer("adjustment", adjustment)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of the batch."""
        if self.adjustment is not None:
            logits = logits + self.adjustment
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        if weights is None or labels.dim() == 1:
            return nn.functional.cross_entropy(logits, labels, weight=weights, label_smoothing=self._smoothing)
        # torch divides by the number of samples here, and by the sum of their weights where labels are indices.
        total = nn.functional.cross_entropy(
            logits, labels, weight=weights, label_smoothing=self._smoothing, reduction="sum"
        )
        return total / (labels.to(weights) @ weights).sum()


def class_frequencies(labels: Tensor, classes: int, sampling: str) -> Tensor:
    """How often each class is met, C, by ``labels`` (N indices, or N×C probabilities) drawn by ``sampling``."""
    counts = labels.double().sum(dim=0) if labels.dim() == 2 else torch.bincount(labels, minlength=classes).double()
    return (counts ** (1 - POWERS[sampling])).float()


class ClassSampler(WeightedRandomSampler):
    """As many rows as there are, drawn with replacement, those of frequent classes each more rarely.

    A row is drawn in proportion to its class's frequency to the power of minus 1 (``balanced``) or minus ½ (``sqrt``).
    ``labels`` are N class indices. The draw depends on ``seed`` and epoch alone, so that a training that is resumed
    goes on with it.
    """

    def __init__(self, labels: Tensor, sampling: str, seed: int):
        weights = torch.bincount(labels).double()[labels] ** -POWERS[sampling]
        super().__init__(weights, len(labels), replacement=True, generator=torch.Generator())
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw as for this epoch, counted from 0."""
        self.generator.manual_seed((self._seed << 20) + epoch)
