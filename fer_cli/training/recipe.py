"""What a training is asked to do. The fields of a recipe are the flags of its ``fer train`` command."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_doc import Doc

from fer_cli.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from fer_cli.dataset.prepared import PreparedDataset


@dataclass(frozen=True)
class Start:
    """What a network is built from, beside its recipe.

    ``classes`` in order; ``size`` of the pictures in pixels; the training ``subjects``; and the folders of the runs
    that the recipe's :meth:`~Recipe.prerequisites` came to, by their names.
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
    """What every model's recipe has. Importable without torch, so that ``--help`` is quick.

    A model's own recipe adds its options and says how its network is built.
    """

    #: What a person types after ``fer train``.
    name: ClassVar[str]
    #: Lines that a person could type, for ``--help``.
    examples: ClassVar[tuple[str, ...]] = ()
    #: Published settings by name, each a dataclass whose fields are defaults in place of ours.
    published: ClassVar[Mapping[str, type]] = {}

    fold: Annotated[int, Doc("The test fold. The next one round chooses the epoch; the others train.")] = 0
    epochs: Annotated[int, Doc("Passes over the training folds, at most.")] = 30
    patience: Annotated[
        int, Doc("Stop after this many epochs without a lower loss on the validation fold; 0: never.")
    ] = 10
    batch_size: Annotated[int, Doc("Faces, or pairs of faces, a step and process.")] = 32
    accumulate: Annotated[int, Doc("Steps whose gradients are summed before the weights are changed.")] = 1
    lr: Annotated[float, Doc("Highest learning rate.")] = 1e-3
    schedule: Annotated[
        Literal["cosine", "constant", "step"],
        Doc("How the learning rate falls: by a cosine, not at all, or to a fifth every 10 epochs."),
    ] = "cosine"
    warmup: Annotated[float, Doc("Part of the steps over which the learning rate first rises.")] = 0.1
    optimizer: Annotated[
        Literal["adamw", "adam", "sgd"], Doc("What changes the weights; sgd has a momentum of 0.9.")
    ] = "adamw"
    weight_decay: Annotated[
        float,
        Doc("Weight decay of linear and convolutional layers (Adam's and SGD's as L2, AdamW's decoupled)."),
    ] = 0.01
    clip: Annotated[float, Doc("Longest gradient; 0: any.")] = 1.0
    label_smoothing: Annotated[float, Doc("Part of a label that is spread over all classes.")] = 0.0
    class_weights: Annotated[bool, Doc("Weigh classes by how rare they are among the training faces.")] = False
    augment: Annotated[
        Literal["auto", "none", "light", "paper"],
        Doc(
            "How training pictures are varied. light: mirrored, slightly tilted, shifted, lighter or darker. paper: as "
            "ViT-SE's author. auto: light where the network that sees them is trained, none where it is frozen."
        ),
    ] = "auto"
    views: Annotated[
        int, Doc("With --augment and a frozen encoder: how many augmented views of each picture are embedded.")
    ] = 8
    size: Annotated[
        int | None,
        Doc(
            "Side of the pictures that the network sees, in pixels. Default: that of the run it starts from, else the "
            "dataset's crops."
        ),
    ] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Doc("auto: bfloat16 where the device computes it faster (GPUs that have it, CPUs with AMX), else float32."),
    ] = "auto"
    compile: Annotated[bool, Doc("Compile the network with torch.compile: slower to start, faster after.")] = False
    # Not --log: torchrun takes that for the beginning of an option of its own.
    logger: Annotated[
        tuple[str, ...],
        Doc("Where the course is logged: tensorboard (into the run), wandb or mlflow (where installed), none."),
    ] = ("tensorboard",)
    seed: Annotated[int, Doc("Seed of the weights, the order and the augmentation.")] = 0

    def __post_init__(self):
        for flag, value, least in (
            ("--fold", self.fold, 0),
            ("--epochs", self.epochs, 1),
            ("--patience", self.patience, 0),
            # BatchNorm has no statistics of one.
            ("--batch-size", self.batch_size, 2),
            ("--accumulate", self.accumulate, 1),
            ("--size", self.size or 32, 32),
            ("--views", self.views, 1),
            ("--seed", self.seed, 0),
            ("--weight-decay", self.weight_decay, 0),
            ("--clip", self.clip, 0),
        ):
            if not value >= least:
                raise UsageError(f"{flag} {value}: at least {least} is needed.")
        if self.seed >= 1 << 32:
            raise UsageError(f"--seed {self.seed}: a number below {1 << 32} is needed.")
        if not 0 < self.lr <= 1:
            raise UsageError(f"{'--lr'} {self.lr}: a number above 0 and at most 1 is needed.")
        for flag, value in (("--warmup", self.warmup), ("--label-smoothing", self.label_smoothing)):
            if not 0 <= value < 1:
                raise UsageError(f"{flag} {value}: a number from 0 to below 1 is needed.")
        strange = sorted(set(self.logger).difference(LOGS))
        if strange:
            raise UsageError(f"--logger {strange[0]}: not a place to log to.", mend=f"Type {', '.join(LOGS)}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def title(self) -> str:
        """What the folder of its run is called after."""
        return self.name

    @property
    @abstractmethod
    def paired(self) -> bool:
        """Whether each face comes with the same person's neutral face."""

    @abstractmethod
    def build(self, start: Start) -> Any:
        """The network, a ``transformers.PreTrainedModel``, with its starting weights."""

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What is subtracted from the pictures' red, green and blue (0 to 1), and what they are divided by."""
        from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

        return IMAGENET_MEAN, IMAGENET_STD

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
                mend="Type another --fold, or prepare the dataset with fewer --folds.",
            )
        return tuple(name for name in dataset.protocol.classes if name in shown)

    def beside(self, rows: "pd.DataFrame", start: Start) -> "dict[str, Tensor]":
        """Further inputs of the network for the training ``rows``, by name."""
        return {}


LOGS = ("tensorboard", "wandb", "mlflow", "none")
