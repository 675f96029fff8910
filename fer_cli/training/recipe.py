"""What a training is asked to do. The fields of a recipe are the flags of its ``fer train`` command."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_doc import Doc

from fer_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What every model's recipe has. Importable without torch, so that ``--help`` is quick.

    A model's own recipe adds its options and says how its network is built.
    """

    #: What a person types after ``fer train``.
    name: ClassVar[str]
    #: Lines that a person could type, for ``--help``.
    examples: ClassVar[tuple[str, ...]] = ()

    fold: Annotated[int, Doc("The test fold. The next one round chooses the epoch; the others train.")] = 0
    epochs: Annotated[int, Doc("Passes over the training folds.")] = 30
    batch_size: Annotated[int, Doc("Faces, or pairs of faces, a step.")] = 32
    lr: Annotated[
        float, Doc("Highest learning rate: warmed up over a tenth of the steps, then lowered by a cosine.")
    ] = 1e-3
    size: Annotated[
        int | None, Doc("Side of the pictures that the network sees, in pixels. Default: the dataset's crops.")
    ] = None
    seed: Annotated[int, Doc("Seed of the weights, the order and the augmentation.")] = 0

    def __post_init__(self):
        for flag, value, least in (
            ("--fold", self.fold, 0),
            ("--epochs", self.epochs, 1),
            # BatchNorm has no statistics of one.
            ("--batch-size", self.batch_size, 2),
            ("--size", self.size or 32, 32),
            ("--seed", self.seed, 0),
        ):
            if value < least:
                raise UsageError(f"{flag} {value}: at least {least} is needed.")
        if not 0 < self.lr <= 1:
            raise UsageError(f"{'--lr'} {self.lr}: a number above 0 and at most 1 is needed.")

    @property
    @abstractmethod
    def paired(self) -> bool:
        """Whether each face comes with the same person's neutral face."""

    @abstractmethod
    def build(self, classes: tuple[str, ...]) -> Any:
        """The network, a ``transformers.PreTrainedModel``, with its starting weights."""

    def ancestors(self) -> list[str]:
        """The folders of runs whose weights this training starts from."""
        return []
