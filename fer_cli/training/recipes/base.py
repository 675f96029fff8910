"""The recipe: all that a person can set of a training. Its fields are the options of its ``fer train`` command."""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_doc import Doc
from annotated_types import Ge, Gt, Interval, Le

from fer_cli import pretrained
from fer_cli.errors import DatasetError, UsageError
from fer_cli.extras import is_installed, missing
from fer_cli.models import BEST, IMAGENET, SCRATCH, TestTime
from fer_cli.options import Panel, check_bounds
from fer_cli.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.dataset.tensors import BatchedDataset
    from fer_cli.models.backbones import StartingPoint
    from fer_cli.models.preprocessing import Preprocessing


LOGGERS = ("tensorboard", "wandb", "mlflow", "none")
_OPTIMISATION = Panel("Optimisation")


@dataclass(frozen=True)
class BuildContext:
    """The data's part in how a network is built, the recipe's being its fields.

    ``classes`` in order; ``size`` of the pictures in pixels; the training ``subjects``; and by their names the folders
    of the runs (``parts``) that the recipe's :meth:`~Recipe.prerequisites` were trained into.
    """

    classes: tuple[str, ...]
    size: int
    subjects: tuple[str, ...] = ()
    parts: Mapping[str, Path] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, Any]:
        """The classes as a model's configuration takes them."""
        return {
            "id2label": dict(enumerate(self.classes)),
            "label2id": {name: index for index, name in enumerate(self.classes)},
        }


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """The settings that all models share, and what training asks of a model's recipe.

    Importable without torch, so that ``--help`` is quick. A model's own recipe adds its options and says how its
    network is built. Most are of :class:`GradientRecipe`; another has a :meth:`solve`.
    """

    #: The name of the model, and of its command if it is ``trained_alone`` and not only as a part of another.
    name: ClassVar[str]
    trained_alone: ClassVar[bool] = True
    #: Lines that a person could type, for ``--help``.
    examples: ClassVar[tuple[str, ...]] = ()
    #: Published settings by name, each a dataclass whose fields are defaults in place of ours.
    published: ClassVar[Mapping[str, type]] = {}

    #: What trainings of before had in the place of settings that they do not name, and that have other defaults now.
    earlier: ClassVar[Mapping[str, Any]] = {}

    #: Settings of trainings by gradient descent, where others ask for them.
    soft_labels: ClassVar[bool] = False
    refit: ClassVar[bool] = False
    tta: ClassVar[str] = "none"

    fold: Annotated[int, Ge(0), Doc("Test fold; the next one validates."), Panel("Data")] = 0
    extra_data: Annotated[tuple[str, ...], Doc("Dataset that trains too; may be repeated."), Panel("Data")] = ()
    size: Annotated[int | None, Ge(32), Doc("Input size. Default: the start's, or the crops'."), Panel("Data")] = None
    seed: Annotated[int, Interval(ge=0, lt=1 << 32), Doc("Seed of weights, order, augmentation."), Panel("Compute")] = 0

    def __post_init__(self) -> None:
        check_bounds(self)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def title(self) -> str:
        """The name that the folder of its run begins with."""
        return self.name

    @property
    def paired(self) -> bool:
        """Whether each face comes with the same person's neutral face."""
        return False

    @abstractmethod
    def build(self, context: BuildContext) -> Any:
        """The network, a ``transformers.PreTrainedModel``, with its starting weights."""

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The mean and the standard deviation that red, green and blue (0 to 1) are normalised by."""
        from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

        return IMAGENET_MEAN, IMAGENET_STD

    def resolved(self) -> "Recipe":
        """The recipe with ``auto`` replaced by what it comes to here; the line that trains it again says that."""
        return self

    def preprocessing(self, size: int, crop: Mapping[str, Any], parts: Mapping[str, Path]) -> "Preprocessing":
        """How a crop of the dataset (``crop``: its size and margin) becomes the network's input of ``size`` pixels."""
        from fer_cli.models.preprocessing import Preprocessing

        return Preprocessing(size, *self.normalisation, face_crop=crop)

    def input_size(self, parts: Mapping[str, Path]) -> int | None:
        """The side of the pictures that the starting weights were made for; None for that of the crops."""
        return None

    def prerequisites(self) -> "dict[str, Recipe]":
        """Recipes that must be trained first, on the same data, by the name of the folder inside this one's run."""
        return {}

    def variants(self) -> "dict[str, Recipe]":
        """The recipes that this one comes to, by name, where a comparison of several was asked for; else itself."""
        return {"": self}

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The folders and files of weights that this training starts from, and that may have seen subjects."""
        return list(parts.values())

    def sides(self, dataset: "PreparedDataset") -> "dict[str, pd.DataFrame]":
        """The rows to train on, to choose the epoch by and to test on: ``train``, ``val``, ``test``."""
        return dataset.split(self.fold, paired=self.paired)

    def classes(self, dataset: "PreparedDataset", sides: "Mapping[str, pd.DataFrame]") -> tuple[str, ...]:
        """The classes to tell apart, in order.

        Raises :class:`~fer_cli.errors.DatasetError` if the training rows do not show one of them.
        """
        shown = set().union(*(rows["label"] for rows in sides.values()))
        untaught = shown.difference(sides["train"]["label"])
        if untaught:
            raise DatasetError(
                f"The training folds show no {', '.join(sorted(untaught))}, which other folds would test.",
                hint="Type another --fold, or prepare the dataset with fewer --folds.",
            )
        return tuple(name for name in dataset.protocol.classes if name in shown)

    def extra_inputs(self, rows: "pd.DataFrame", context: BuildContext) -> "dict[str, Tensor]":
        """Further inputs of the network for the training ``rows``, by name."""
        return {}

    def solve(self, model: Any, train: "BatchedDataset", val: "BatchedDataset", progress: Progress) -> "Solution":
        """Fit ``model``, by a solver in place of gradient descent, to what is ``train``, and choose by ``val``.

        Both are datasets of the model's inputs and ``labels``, as :func:`~fer_cli.embeddings.inputs.model_inputs` makes
        them. Raises ``NotImplementedError`` for recipes that descend.
        """
        raise NotImplementedError(f"{type(self).__name__} is trained by gradient descent")


@dataclass(frozen=True)
class Solution:
    """What a solver chose on the validation rows: the ``rule``, what was ``best`` by it, and every one ``tried``."""

    rule: str
    best: Mapping[str, float]
    tried: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class GradientRecipe(Recipe):
    """The settings of trainings by gradient descent, with transformers' Trainer."""

    # Settings here, of which other recipes have one value: a constant of the class to type checkers.
    soft_labels: Annotated[bool, Doc("Learn from the votes for each label."), Panel("Data")] = False  # type: ignore[misc]
    sampling: Annotated[Literal["natural", "sqrt", "balanced"], Doc("How often classes are drawn."), Panel("Data")] = (
        "natural"
    )
    epochs: Annotated[int, Ge(1), Doc("Passes over the training folds."), _OPTIMISATION] = 30
    select: Annotated[Literal["loss", "accuracy", "uar"], Doc("Best epoch by."), _OPTIMISATION] = "loss"
    patience: Annotated[int, Ge(0), Doc("Epochs without gain to stop; 0: off."), _OPTIMISATION] = 10
    refit: Annotated[bool, Doc("Then train anew, on validation rows too."), _OPTIMISATION] = False  # type: ignore[misc]
    # BatchNorm has no statistics of one.
    batch_size: Annotated[int, Ge(2), Doc("Faces, or pairs, per step and process."), _OPTIMISATION] = 32
    accumulate: Annotated[int, Ge(1), Doc("Gradient accumulation steps."), _OPTIMISATION] = 1
    lr: Annotated[float, Gt(0), Le(1), Doc("Peak learning rate."), _OPTIMISATION] = 1e-3
    encoder_lr: Annotated[float, Gt(0), Le(10), Doc("Encoder's rate, in units of --lr."), _OPTIMISATION] = 1.0
    layer_decay: Annotated[float, Gt(0), Le(1), Doc("A layer's rate by the next one's."), _OPTIMISATION] = 1.0
    freeze_epochs: Annotated[int, Ge(0), Doc("Epochs before the encoder trains."), _OPTIMISATION] = 0
    ema: Annotated[float, Interval(ge=0, lt=1), Doc("Average of weights: decay; 0: off."), _OPTIMISATION] = 0.0
    schedule: Annotated[
        Literal["cosine", "constant", "step"],
        Doc("Learning-rate schedule; step divides it by 5 every 10 epochs."),
        _OPTIMISATION,
    ] = "cosine"
    warmup: Annotated[float, Interval(ge=0, lt=1), Doc("Share of steps with a rising rate."), _OPTIMISATION] = 0.1
    optimizer: Annotated[Literal["adamw", "adam", "sgd"], Doc("adamw, adam, or sgd (momentum 0.9)."), _OPTIMISATION] = (
        "adamw"
    )
    weight_decay: Annotated[float, Ge(0), Doc("Of weights, not norms or biases."), _OPTIMISATION] = 0.01
    clip: Annotated[float, Ge(0), Doc("Maximum gradient norm; 0 disables."), _OPTIMISATION] = 1.0
    label_smoothing: Annotated[float, Interval(ge=0, lt=1), Doc("Label smoothing."), _OPTIMISATION] = 0.0
    class_weights: Annotated[bool, Doc("Weight the loss by inverse class frequency."), _OPTIMISATION] = False
    logit_adjustment: Annotated[float, Ge(0), Doc("Balance logits; 1: fully."), _OPTIMISATION] = 0.0
    posthoc_adjustment: Annotated[float, Ge(0), Doc("Likewise, after training."), _OPTIMISATION] = 0.0
    augment: Annotated[
        Literal["auto", "none", "light", "paper", "wild"],
        Doc("auto: light, or none if the encoder is frozen."),
        Panel("Augmentation"),
    ] = "auto"
    views: Annotated[int, Ge(1), Doc("Views a picture that it embeds."), Panel("Augmentation")] = 8
    mixup: Annotated[float, Ge(0), Doc("MixUp's alpha, single pictures."), Panel("Augmentation")] = 0.0
    cutmix: Annotated[float, Ge(0), Doc("CutMix's alpha, likewise."), Panel("Augmentation")] = 0.0
    erasing: Annotated[
        float | None,
        Interval(ge=0, le=1),
        Doc("Probability to erase a part. Default: --augment's."),
        Panel("Augmentation"),
    ] = None
    randaugment: Annotated[int, Ge(0), Le(10), Doc("RandAugment's operations on a picture."), Panel("Augmentation")] = 0
    grey: Annotated[bool, Doc("Train and predict without colours."), Panel("Data")] = False
    tta: Annotated[TestTime, Doc("Views to average."), Panel("Model")] = "none"  # type: ignore[misc]
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Doc("auto: bfloat16 where the device is faster with it."),
        Panel("Compute"),
    ] = "auto"
    workers: Annotated[str, Doc("Processes that load: N or auto."), Panel("Compute")] = "auto"
    compile: Annotated[bool, Doc("Compile the network with torch.compile."), Panel("Compute")] = False
    # Not --log: torchrun takes that for the beginning of an option of its own.
    logger: Annotated[
        tuple[str, ...], Doc("tensorboard, wandb, mlflow or none; may be repeated."), Panel("Compute")
    ] = ("none",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze_epochs >= self.epochs:
            raise UsageError(
                f"--freeze-epochs {self.freeze_epochs}: the training has {self.epochs} epochs, and the encoder would "
                "never train.",
                hint="Type fewer, or freeze it for good where the model has such an option.",
            )
        strange = sorted(set(self.logger).difference(LOGGERS))
        if strange:
            raise UsageError(f"--logger {strange[0]}: not a place to log to.", hint=f"Type {', '.join(LOGGERS)}.")
        if self.workers != "auto" and not re.fullmatch("[0-9]{1,3}", self.workers):
            raise UsageError(f"--workers {self.workers}: no number of processes.", hint="Type auto, 0 or a number.")
        for option, alpha in (("--mixup", self.mixup), ("--cutmix", self.cutmix)):
            if alpha and self.paired:
                raise UsageError(
                    f"{option} {alpha:g}: a mixture of two people has no neutral face to be compared with.",
                    hint=f"Leave {option} out, or train a model of single pictures.",
                )

    def require_loggers(self) -> None:
        """Raise :class:`~fer_cli.errors.UsageError`, with what to type, where what ``logger`` names is missing."""
        for name in self.logger:
            if name != "none" and not is_installed(name):
                error = missing(name, f"--logger {name}", UsageError)
                # A run's stored settings may ask for what nobody typed here.
                error.hint += ", or --logger none"
                raise error

    @property
    def logit_margin(self) -> float:
        """What training takes off the logit of the right class, so that it has to be higher than the others by it."""
        return 0.0

    def preprocessing(self, size: int, crop: Mapping[str, Any], parts: Mapping[str, Path]) -> "Preprocessing":
        """How a crop of the dataset (``crop``: its size and margin) becomes the network's input of ``size`` pixels."""
        from fer_cli.models.preprocessing import Preprocessing

        return Preprocessing(size, *self.normalisation, face_crop=crop, grey=self.grey)


class EncoderRecipe(GradientRecipe):
    """The recipe of a model with one encoder: its fields ``encoder`` and ``backbone`` say what that begins with."""

    encoder: str
    backbone: str | None

    def resolved(self) -> Self:
        """The recipe with the encoder that ``auto`` comes to here."""
        if self.encoder != BEST:
            return self
        from fer_cli.models.backbones import best_start

        found: dict[str, Any] = {"encoder": best_start(self.backbone)}
        return dataclasses.replace(self, **found)

    def preprocessing(self, size: int, crop: Mapping[str, Any], parts: Mapping[str, Path]) -> "Preprocessing":
        """As the encoder's starting weights saw their pictures."""
        return preprocessing_of(self._start(), size, crop, grey=self.grey)

    def input_size(self, parts: Mapping[str, Path]) -> int | None:
        """That of the pictures that the starting weights were trained on."""
        return self._start().size

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The weights that the encoder starts from, if they were trained before."""
        return [*parts.values(), *starting_file(self.encoder)]

    def _start(self) -> "StartingPoint":
        from fer_cli.models.backbones import starting_point

        return starting_point(self.encoder, self.backbone)


def starting_file(encoder: str) -> list[Path]:
    """The folder or file that ``encoder`` names, if it names one."""
    if encoder in pretrained.NAMES:
        folder = pretrained.packaged_model(encoder)
        return [] if folder is None else [folder]
    return [Path(encoder)] if encoder not in (BEST, IMAGENET, SCRATCH) else []


def preprocessing_of(
    start: "StartingPoint", size: int, crop: Mapping[str, Any], *, grey: bool = False
) -> "Preprocessing":
    """The preprocessing of a dataset's crops (``crop``: their size and margin) for an encoder that begins at ``start``.

    Normalised as its weights take it, and ``grey`` where the run was whose encoder it is.
    """
    from fer_cli.models.preprocessing import Preprocessing

    before = start.preprocessing
    return Preprocessing(size, *start.normalisation, face_crop=crop, grey=grey or (before is not None and before.grey))


@dataclass(frozen=True)
class Note:
    """The note's: Adam at torch's own rate, batch 32, 30 epochs, cross-entropy, and nothing else."""

    epochs: int = 30
    patience: int = 0
    batch_size: int = 32
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: float = 0.0
    optimizer: str = "adam"
    weight_decay: float = 0.0
    clip: float = 0.0
    augment: str = "none"


@dataclass(frozen=True)
class Wild:
    """Ours for single pictures of unknown people, as FER+, RAF-DB and AffectNet have them by the ten thousand.

    Long training at large batches with averaged weights, MixUp and erasing; classes half balanced afterwards, for such
    corpora show happiness twenty times as often as disgust. Chosen on FER+'s validation split: docs/pretrained.md.
    """

    epochs: int = 50
    patience: int = 0
    batch_size: int = 128
    lr: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    optimizer: str = "adamw"
    weight_decay: float = 0.05
    ema: float = 0.999
    augment: str = "light"
    erasing: float = 0.25
    mixup: float = 0.2
    posthoc_adjustment: float = 0.5
    select: str = "accuracy"
    tta: str = "flip"
