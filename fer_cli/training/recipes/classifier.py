"""The recipe of the classifier of single pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc
from annotated_types import Interval

from fer_cli.models.choices import IMAGENET, Backbone
from fer_cli.options import Panel
from fer_cli.training.recipes.base import BuildContext, Recipe, Wild
from fer_cli.training.recipes.difference import starting_file

if TYPE_CHECKING:
    from fer_cli.models.classifier import ClassifierModel


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """An encoder and a head classify single pictures; no neutral picture is needed."""

    name: ClassVar[str] = "classifier"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train classifier",
        "fer train classifier --recipe wild --data data/ferplus",
        "fer train classifier --encoder scratch --size 64 --tta flip",
    )
    published: ClassVar[Mapping[str, type]] = {"wild": Wild}

    encoder: Annotated[str, Doc("Starting weights: imagenet, scratch, a run, or a file."), Panel("Model")] = IMAGENET
    backbone: Annotated[Backbone | None, Doc("Encoder. Default: the starting weights'."), Panel("Model")] = None
    freeze_encoder: Annotated[bool, Doc("Train the head alone."), Panel("Model")] = False
    hidden: Annotated[
        tuple[int, ...], Doc("Width of a hidden layer of the head; may be repeated."), Panel("Model")
    ] = ()
    dropout: Annotated[float, Interval(ge=0, lt=1), Doc("Dropout before the head."), Panel("Model")] = 0.2

    def build(self, context: BuildContext) -> "ClassifierModel":
        """The model for the classes, its encoder initialised as asked."""
        from fer_cli.models.classifier import ClassifierConfig, ClassifierModel
        from fer_cli.models.encoder import load_encoder, starting_encoder

        backbone, weights = starting_encoder(self.encoder, self.backbone)
        model = ClassifierModel(
            ClassifierConfig(
                backbone=backbone,
                hidden_sizes=self.hidden,
                dropout=self.dropout,
                tune_encoder=not self.freeze_encoder or weights is None,
                **context.labels,
            )
        )
        if weights is not None:
            load_encoder(model.encoder, weights, self.encoder)
        return model

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The weights that the encoder starts from, if they were trained before."""
        return [*parts.values(), *starting_file(self.encoder)]
