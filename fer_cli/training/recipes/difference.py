"""The recipe of Difference of Embeddings."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.models.choices import FEATURES, IMAGENET, SCRATCH, Backbone, Features
from fer_cli.options import Panel
from fer_cli.training.recipes.base import BuildContext, Note, Recipe

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.models.difference import DifferenceModel


@dataclass(frozen=True, kw_only=True)
class DifferenceRecipe(Recipe):
    """A MobileNetV3 embeds the face and the same person's neutral face; a head classifies their difference."""

    name: ClassVar[str] = "difference"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train difference",
        "fer train difference --ablation --cv",
        "fer train difference --features target --encoder scratch --size 112",
        "fer train difference --encoder runs/classifier-ferplus --tune-encoder",
    )
    published: ClassVar[Mapping[str, type]] = {"note": Note}

    features: Annotated[
        Features,
        Doc("Input of the head."),
        Panel("Model"),
    ] = "both"
    ablation: Annotated[bool, Doc("Train and compare all three, on the same pairs."), Panel("Model")] = False
    pairs_only: Annotated[bool, Doc("Skip faces without a neutral picture."), Panel("Data")] = False
    encoder: Annotated[str, Doc("Starting weights: imagenet, scratch, a run, or a file."), Panel("Model")] = IMAGENET
    tune_encoder: Annotated[bool, Doc("Train the encoder too; scratch implies it."), Panel("Model")] = False
    backbone: Annotated[
        Backbone | None,
        Doc("Encoder. Default: the starting weights'."),
        Panel("Model"),
    ] = None

    @property
    def title(self) -> str:
        """An ablation is called so."""
        return f"{self.name}-ablation" if self.ablation else self.name

    @property
    def paired(self) -> bool:
        """Whether each face comes with the same person's neutral face."""
        return self.features != "target"

    def variants(self) -> dict[str, Recipe]:
        """With ``ablation`` a recipe each of :data:`~fer_cli.models.choices.FEATURES`, on the same pairs."""
        if not self.ablation:
            return {"": self}
        return {
            features: dataclasses.replace(self, features=features, pairs_only=True, ablation=False)
            for features in reversed(FEATURES)
        }

    def sides(self, dataset: "PreparedDataset") -> "dict[str, pd.DataFrame]":
        """The fold's rows; of those, the pairs where the head or the comparison needs them."""
        return dataset.split(self.fold, paired=self.paired or self.pairs_only)

    def build(self, context: BuildContext) -> "DifferenceModel":
        """The model for the classes, its encoder initialised as asked."""
        from fer_cli.models.encoder import starting_encoder

        backbone, weights = starting_encoder(self.encoder, self.backbone)
        return difference_model(
            context, backbone, weights, features=self.features, tune=self.tune_encoder, source=self.encoder
        )

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The weights that the encoder starts from, if they were trained before."""
        return [*parts.values(), *starting_file(self.encoder)]


def starting_file(encoder: str) -> list[Path]:
    """The folder or file that ``encoder`` names, if it names one."""
    return [Path(encoder)] if encoder not in (IMAGENET, SCRATCH) else []


def difference_model(
    context: BuildContext, backbone: str, weights, *, features: Features, tune: bool, source: str
) -> "DifferenceModel":
    """A model of ``features`` whose encoder has the ``weights`` of ``source``; without any, it is trained."""
    from fer_cli.models.difference import DifferenceConfig, DifferenceModel
    from fer_cli.models.encoder import load_encoder

    model = DifferenceModel(
        DifferenceConfig(backbone=backbone, features=features, tune_encoder=tune or weights is None, **context.labels)
    )
    if weights is not None:
        load_encoder(model.encoder, weights, source)
    return model
