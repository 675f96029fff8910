"""The recipe of the classifier of single pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc
from annotated_types import Interval

from fer_cli.errors import RunError, UsageError
from fer_cli.models import BEST
from fer_cli.options import Panel
from fer_cli.runs.run import CARD
from fer_cli.training.recipes.base import BuildContext, EncoderRecipe, Wild, starting_file
from fer_cli.training.recipes.difference import BACKBONE, ENCODER

if TYPE_CHECKING:
    from fer_cli.models.classifier import ClassifierModel


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(EncoderRecipe):
    """An encoder and a head classify single pictures; no neutral picture is needed."""

    name: ClassVar[str] = "classifier"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train classifier",
        "fer train classifier --recipe wild --data data/ferplus",
        "fer train classifier --encoder scratch --backbone resnet10_small --teacher faces --size 64 --grey",
    )
    published: ClassVar[Mapping[str, type]] = {"wild": Wild}

    encoder: Annotated[str, Doc(ENCODER), Panel("Model")] = BEST
    backbone: Annotated[str | None, Doc(BACKBONE), Panel("Model")] = None
    freeze_encoder: Annotated[bool, Doc("Train the head alone."), Panel("Model")] = False
    hidden: Annotated[
        tuple[int, ...], Doc("Width of a hidden layer of the head; may be repeated."), Panel("Model")
    ] = ()
    dropout: Annotated[float, Interval(ge=0, lt=1), Doc("Dropout before the head."), Panel("Model")] = 0.2
    teacher: Annotated[
        tuple[str, ...], Doc("Run to distil knowledge from, or faces; may be repeated."), Panel("Model")
    ] = ()
    teacher_weight: Annotated[float, Interval(gt=0, le=1), Doc("Weight of its soft labels."), Panel("Model")] = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher and self.freeze_encoder:
            raise UsageError(
                f"--teacher {self.teacher[0]}: it labels pictures, and a frozen encoder's are seen but once.",
                hint="Leave --freeze-encoder out, or --teacher.",
            )

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The teachers, and the weights that the encoder starts from: the student sees by both."""
        return [*self.teacher_folders(), *super().ancestors(parts)]

    def teacher_folders(self) -> list[Path]:
        """The folders of the models that label the pictures too."""
        folders = []
        for source in self.teacher:
            found = [folder for folder in starting_file(source) if (folder / CARD).is_file()]
            if not found:
                raise RunError(f"--teacher {source}: there is no run.", hint="It takes a run's folder, or faces.")
            folders += found
        return folders

    def build(self, context: BuildContext) -> "ClassifierModel":
        """The model for the classes, its encoder initialised as asked."""
        from fer_cli.models.backbones import load_encoder, require_embeddings
        from fer_cli.models.classifier import ClassifierConfig, ClassifierModel

        start = self._start()
        weights = start.weights(context.size)
        model = ClassifierModel(
            ClassifierConfig(
                backbone=start.backbone,
                image_size=context.size,
                hidden_sizes=self.hidden,
                dropout=self.dropout,
                tune_encoder=not self.freeze_encoder or weights is None,
                **context.labels,
            )
        )
        require_embeddings(model.encoder, context.size, start.backbone)
        if weights is not None:
            load_encoder(model.encoder, weights, start.source)
        return model
