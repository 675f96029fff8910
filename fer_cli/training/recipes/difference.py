"""The recipe of Difference of Embeddings."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Interval

from fer_cli.errors import UsageError
from fer_cli.models import BEST, FEATURES, IMAGENET, Features
from fer_cli.options import Panel
from fer_cli.training.recipes.base import BuildContext, EncoderRecipe, Note, Recipe

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.models.backbones import StartingPoint
    from fer_cli.models.difference import DifferenceModel

#: What is said of an encoder's starting weights and its network in every recipe.
ENCODER = "Starting weights: auto, faces, faces-quick, imagenet, scratch, a run, a file."
BACKBONE = "mobilenet_v3_large or _small, resnet18_small, resnet10_small, timm/NAME, vggface2."


class PairRecipe(Recipe):
    """The recipe of a model that sees a face, its difference from a neutral face, or both: its field ``features``.

    ``ablation`` asks for all three on the same pairs, and ``pairs_only`` skips faces without a neutral picture.
    """

    features: str
    ablation: bool
    pairs_only: bool

    @property
    def title(self) -> str:
        """An ablation is called so."""
        return f"{self.name}-ablation" if self.ablation else self.name

    @property
    def paired(self) -> bool:
        """Whether each face comes with the same person's neutral face."""
        return self.features != "target"

    def variants(self) -> dict[str, Recipe]:
        """With ``ablation`` a recipe each of :data:`~fer_cli.models.FEATURES`, on the same pairs."""
        if not self.ablation:
            return {"": self}
        pairs: dict[str, Any] = {"pairs_only": True, "ablation": False}
        return {
            features: dataclasses.replace(self, **{"features": features, **pairs}) for features in reversed(FEATURES)
        }

    def sides(self, dataset: "PreparedDataset") -> "dict[str, pd.DataFrame]":
        """The fold's rows; of those, the pairs where the head or the comparison needs them."""
        return dataset.split(self.fold, paired=self.paired or self.pairs_only)


@dataclass(frozen=True)
class NoteDifference(Note):
    """The note's: ImageNet's encoder, and four hidden layers on the embeddings as they are."""

    encoder: str = IMAGENET
    hidden: tuple[int, ...] = (256, 128, 64, 32)
    dropout: float = 0.0
    standardise: bool = False
    neutrals: int = 1


@dataclass(frozen=True, kw_only=True)
class DifferenceRecipe(PairRecipe, EncoderRecipe):
    """An encoder embeds the face and the same person's neutral face; a head classifies their difference."""

    name: ClassVar[str] = "difference"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train difference",
        "fer train difference --ablation --cv",
        "fer train difference --features target --encoder scratch --size 112",
        "fer train difference --encoder runs/classifier-ferplus --tune-encoder",
        "fer train difference --backbone timm/resnet18 --encoder imagenet",
    )
    published: ClassVar[Mapping[str, type]] = {"note": NoteDifference}
    earlier: ClassVar[Mapping[str, Any]] = {"hidden": [256, 128, 64, 32], "dropout": 0.0, "standardise": False}

    features: Annotated[
        Features,
        Doc("Input of the head."),
        Panel("Model"),
    ] = "both"
    ablation: Annotated[bool, Doc("Train and compare all three, on the same pairs."), Panel("Model")] = False
    pairs_only: Annotated[bool, Doc("Skip faces without a neutral picture."), Panel("Data")] = False
    encoder: Annotated[str, Doc(ENCODER), Panel("Model")] = BEST
    tune_encoder: Annotated[bool, Doc("Train the encoder too; scratch implies it."), Panel("Model")] = False
    backbone: Annotated[str | None, Doc(BACKBONE), Panel("Model")] = None
    hidden: Annotated[tuple[int, ...], Doc("A hidden layer's width; repeatable. Default: linear."), Panel("Model")] = ()
    dropout: Annotated[float, Interval(ge=0, lt=1), Doc("Dropout in the head."), Panel("Model")] = 0.5
    standardise: Annotated[bool, Doc("Standardise embeddings; begin with small logits."), Panel("Model")] = True
    neutrals: Annotated[int, Ge(1), Doc("Neutral pictures of a person averaged."), Panel("Model")] = 1

    def build(self, context: BuildContext) -> "DifferenceModel":
        """The model for the classes, its encoder initialised as asked."""
        return difference_model(
            context, self._start(), self, features=self.features, tune=self.tune_encoder, neutrals=self.neutrals
        )


def difference_model(
    context: BuildContext, start: "StartingPoint", head: Any, *, features: Features, tune: bool, neutrals: int
) -> "DifferenceModel":
    """A model of ``features`` whose encoder begins at ``start``; from no weights it is trained.

    ``head`` is the recipe with the head's ``hidden``, ``dropout`` and ``standardise``. Raises
    :class:`~fer_cli.errors.ModelError` for an encoder that cannot embed pictures of the size.
    """
    from fer_cli.models.backbones import load_encoder, require_embeddings
    from fer_cli.models.difference import DifferenceConfig, DifferenceModel
    from fer_cli.models.encoder import small_output

    weights = start.weights(context.size)
    tune = tune or weights is None
    if neutrals > 1 and tune:
        raise UsageError(
            f"--neutrals {neutrals}: the embeddings of several neutral pictures are averaged once, before training, "
            "and an encoder that is trained changes them.",
            hint="Leave out --neutrals, or --tune-encoder and --encoder scratch.",
        )
    model = DifferenceModel(
        DifferenceConfig(
            backbone=start.backbone,
            image_size=context.size,
            features=features,
            tune_encoder=tune,
            hidden_sizes=head.hidden,
            dropout=head.dropout,
            standardise=head.standardise and not tune,
            neutrals=neutrals,
            **context.labels,
        )
    )
    require_embeddings(model.encoder, context.size, start.backbone)
    if weights is not None:
        load_encoder(model.encoder, weights, start.source)
    if head.standardise:
        small_output(model.head)
    return model
