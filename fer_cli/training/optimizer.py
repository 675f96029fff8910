"""Objective and optimizer: loss, teachers, class balance, decay and learning rates by layer, the schedule by steps."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler
from transformers import PreTrainedModel

from fer_cli.errors import ModelError, UsageError
from fer_cli.models.inference import Classifier
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.options import flag
from fer_cli.runs.run import Run
from fer_cli.training.recipes.base import GradientRecipe
from fer_cli.training.recipes.classifier import ClassifierRecipe

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


class Teachers:
    """Teachers of knowledge distillation, which label a student's pictures: G. Hinton et al. 2015, arXiv 1503.02531.

    Each sample's label becomes ``1 - weight`` of its own and ``weight`` of the mean of the models' probabilities, as
    their logits give them, for the very picture that is learned from, augmented and mixed: L. Beyer et al., *Knowledge
    distillation: A good teacher is patient and consistent*, CVPR 2022, arXiv 2106.05237. ``mix`` mixes a batch's
    pictures and labels before. The models are the ``recipe``'s; classes that are not learned are passed over. Raises
    :class:`~fer_cli.errors.ModelError` for one of pairs, that lacks one of the ``classes``, that sees its pictures
    otherwise than by ``preprocessing``, or whose logits were balanced after training where the recipe balances its own.
    """

    def __init__(
        self,
        recipe: ClassifierRecipe,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        device: torch.device,
        mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ):
        self._weight, self._mix = recipe.teacher_weight, mix
        folders = recipe.teacher_folders()
        self._models = [_teacher(folder, classes, preprocessing, device) for folder in folders]
        for folder in folders if recipe.posthoc_adjustment else []:
            if Run.open(folder).card["recipe"].get("posthoc_adjustment"):
                raise ModelError(
                    f"--teacher {folder}: its logits were balanced after training already, and --posthoc-adjustment "
                    f"{recipe.posthoc_adjustment:g} would balance again what is learned from them.",
                    hint="Type --posthoc-adjustment 0.",
                )
        #: Of each model, the places of its classes in the order of ours.
        self._places = [[model.classes.index(name) for name in classes] for model in self._models]

    @torch.no_grad()
    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The B×3×S×S normalised pictures, mixed, and their labels, B×C, for labels of B indices or B×C shares."""
        if self._mix is not None:
            pixels, labels = self._mix(pixels, labels)
        if labels.dim() == 1:
            labels = nn.functional.one_hot(labels, len(self._places[0]))
        taught = [
            model.model(pixel_values=pixels).logits[:, places].float().softmax(dim=1)
            for model, places in zip(self._models, self._places, strict=True)
        ]
        return pixels, torch.lerp(labels.float(), torch.stack(taught).mean(dim=0), self._weight)


def _teacher(folder: Path, classes: tuple[str, ...], preprocessing: Preprocessing, device: torch.device) -> Classifier:
    model = Classifier.load(folder, str(device))
    if model.paired:
        raise ModelError(f"--teacher {folder}: it compares pairs.", hint="Name a model of single pictures.")
    if missing := set(classes).difference(model.classes):
        raise ModelError(
            f"--teacher {folder}: its classes are {', '.join(model.classes)}, without {', '.join(sorted(missing))}.",
            hint="Name a model that was trained on all classes to learn.",
        )
    own = model.preprocessing
    for what, its, ours in (
        ("pictures of", f"{own.size} pixels", f"{preprocessing.size} pixels"),
        ("a margin of", own.face_crop.get("margin"), preprocessing.face_crop.get("margin")),
        ("pictures", *("without colours" if each.grey else "in colour" for each in (own, preprocessing))),
        ("colours normalised by", *(f"{each.mean}, {each.std}" for each in (own, preprocessing))),
    ):
        if its != ours:
            raise ModelError(
                f"--teacher {folder}: it was trained on {what} {its}, and this training has {ours}.",
                hint="Give both the same --size, --grey, --encoder, and fer prepare --margin.",
            )
    return model


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
