"""Objective and optimizer: the loss, class balance, decay and learning rates by layer, and the schedule by steps."""

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler
from transformers import PreTrainedModel

from fer_cli.errors import UsageError
from fer_cli.options import flag
from fer_cli.training.recipes.base import GradientRecipe

#: To which power of its frequency a class is drawn more rarely, by the name of ``--sampling``.
POWERS = {"natural": 0.0, "sqrt": 0.5, "balanced": 1.0}


class TrainingLoss(nn.Module):
    """The cross-entropy of B×C logits with B class indices or B×C probabilities, as the recipe has it in training.

    ``class_weights``, C, weigh the classes. With ``frequencies``, C, the recipe's ``logit_adjustment`` times their
    logarithms is added to the logits, so that the model's own logits are those of balanced classes: A. K. Menon et al.,
    *Long-tail learning via logit adjustment*, ICLR 2021, arXiv 2007.07314, equation 10. The recipe's ``logit_margin``
    is taken off the right class's logit: CosFace's ``s·m`` (H. Wang et al., CVPR 2018, arXiv 1801.09414, equation 4).
    """

    class_weights: Tensor | None
    adjustment: Tensor | None

    def __init__(self, recipe: GradientRecipe, class_weights: Tensor | None = None, frequencies: Tensor | None = None):
        super().__init__()
        self._smoothing, self._margin = recipe.label_smoothing, recipe.logit_margin
        adjustment = None
        if recipe.logit_adjustment and frequencies is not None:
            adjustment = recipe.logit_adjustment * (frequencies / frequencies.sum()).log()
        self.register_buffer("class_weights", class_weights)
        self.register_buffer("adjustment", adjustment)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of the batch."""
        if self.adjustment is not None:
            logits = logits + self.adjustment
        if self._margin:
            right = nn.functional.one_hot(labels, logits.shape[1]) if labels.dim() == 1 else labels
            logits = logits - self._margin * right
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        if weights is None or labels.dim() == 1:
            return nn.functional.cross_entropy(logits, labels, weight=weights, label_smoothing=self._smoothing)
        # torch divides by the number of samples here, and by the sum of their weights where labels are indices.
        total = nn.functional.cross_entropy(
            logits, labels, weight=weights, label_smoothing=self._smoothing, reduction="sum"
        )
        return total / (labels.to(weights) @ weights).sum()


@torch.no_grad()
def adjust_output(layer: nn.Linear, frequencies: Tensor, strength: float) -> None:
    """Take ``strength`` times the logarithms of the classes' ``frequencies``, C, off the logits that ``layer`` gives.

    Menon et al. (above), equation 9: of a model that was trained on classes as they come it makes one of classes that
    are equally frequent, wholly at 1.
    """
    prior = (frequencies / frequencies.sum()).to(layer.bias)
    layer.bias.sub_(strength * prior.log())


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
        super().__init__(weights.tolist(), len(labels), replacement=True, generator=torch.Generator())
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw as for this epoch, counted from 0."""
        self.generator.manual_seed((self._seed << 20) + epoch)


OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "adamw": (torch.optim.AdamW, {}),
    "adam": (torch.optim.Adam, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
}
#: The step schedule of ViT-SE's author.
STEP_EPOCHS, STEP_FACTOR = 10, 0.2
#: The parameters of vision transformers that are matrices by their shape alone.
_NOT_DECAYED = ("cls_token", "mask_token", "position_embeddings", "pos_embed")


def decayed_parameters(model: nn.Module) -> list[str]:
    """The names of the weights of linear and convolutional layers, which alone weight decay falls on.

    Not the scales of BatchNorm and LayerNorm, biases, class token and position embeddings: as
    ``param_groups_weight_decay`` of timm. transformers' own rule goes by names, and torchvision gives its BatchNorm
    none.
    """
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and name.rpartition(".")[2] not in _NOT_DECAYED
    ]


def trained_encoder(model: PreTrainedModel) -> nn.Module | None:
    """The part of ``model`` below its head, if it has one that is trained."""
    encoder = model.base_model
    if encoder is model or not any(parameter.requires_grad for parameter in encoder.parameters()):
        return None
    return encoder


def parameter_groups(model: PreTrainedModel, recipe: GradientRecipe, decayed: Iterable[str]) -> list[dict[str, Any]]:
    """The groups of trained parameters that an optimizer takes: ``params``, ``lr`` and ``weight_decay`` of each.

    The head learns at the recipe's rate. The encoder's last layer learns at that times ``encoder_lr`` and
    ``layer_decay``, each layer before it at ``layer_decay`` times the rate of the next: H. Bao et al., *BEiT*, arXiv
    2106.08254, appendix.
    """
    decayed = set(decayed)
    encoder = trained_encoder(model)
    prefix = f"{model.base_model_prefix}."
    depth = {} if encoder is None else layer_depths(name for name, _ in encoder.named_parameters())
    layers = max(depth.values(), default=-1) + 1
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = 1.0
            if depth and name.startswith(prefix):
                factor = recipe.encoder_lr * recipe.layer_decay ** (layers - depth[name.removeprefix(prefix)])
            groups.setdefault((factor, name in decayed), []).append(parameter)
    return [
        {"params": parameters, "lr": recipe.lr * factor, "weight_decay": recipe.weight_decay if decays else 0.0}
        for (factor, decays), parameters in groups.items()
    ]


def layer_depths(names: Iterable[str]) -> dict[str, int]:
    """The depth from 0 of each of an encoder's parameters, given their ``names`` in the order of its layers.

    A layer is what shares a name up to its first number (``features.3.``, ``blocks.3.``, ``layer2.1.``). What comes
    before the first such layer, a stem or the embedding of patches, is the first layer; what has no number after that,
    a last norm, belongs to the layer before it.
    """
    depths: dict[str, int] = {}
    layer, depth = "", 0
    for name in names:
        numbered = re.match(r".*?(?<![^.])[0-9]+\.", name)
        if numbered and numbered[0] != layer:
            depth += bool(depths)
            layer = numbered[0]
        depths[name] = depth
    return depths


def refuse_without_encoder(model: PreTrainedModel, recipe: GradientRecipe) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` where an option says how to train an encoder that is not trained."""
    if trained_encoder(model) is not None:
        return
    for name, unused in (("encoder_lr", 1.0), ("layer_decay", 1.0), ("freeze_epochs", 0)):
        if getattr(recipe, name) != unused:
            raise UsageError(
                f"{flag(name)} {getattr(recipe, name):g}: the encoder of this model is not trained.",
                hint="Leave it out, or train the encoder: --tune-encoder, or no --freeze-encoder.",
            )
