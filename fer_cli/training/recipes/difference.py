"""The recipe of Difference of Embeddings."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Interval

from fer_cli.errors import UsageError
from fer_cli.models import BEST, FACES, FEATURES, IMAGENET, SCRATCH, Features
from fer_cli.options import Panel
from fer_cli.training.recipes.base import BuildContext, Note, Recipe

if TYPE_CHECKING:
    import pandas as pd

    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.models.backbones import StartingPoint
    from fer_cli.models.difference import DifferenceModel
    from fer_cli.models.preprocessing import Preprocessing

#: What is said of an encoder's starting weights and its network in every recipe.
ENCODER = "Starting weights: auto, faces, imagenet, scratch, a run, a file."
BACKBONE = "mobilenet_v3_large or _small, timm/NAME, vggface2."


@dataclass(frozen=True)
class NoteDifference(Note):
    """The note's: ImageNet's encoder, and four hidden layers on the embeddings as they are."""

    encoder: str = IMAGENET
    hidden: tuple[int, ...] = (256, 128, 64, 32)
    dropout: float = 0.0
    standardise: bool = False
    neutrals: int = 1


@dataclass(frozen=True, kw_only=True)
class DifferenceRecipe(Recipe):
    """A MobileNetV3 embeds the face and the same person's neutral face; a head classifies their difference."""

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
        return {
            features: dataclasses.replace(self, features=features, pairs_only=True, ablation=False)
            for features in reversed(FEATURES)
        }

    def sides(self, dataset: "PreparedDataset") -> "dict[str, pd.DataFrame]":
        """The fold's rows; of those, the pairs where the head or the comparison needs them."""
        return dataset.split(self.fold, paired=self.paired or self.pairs_only)

    def resolved(self) -> "DifferenceRecipe":
        """The recipe with the encoder that ``auto`` comes to here."""
        if self.encoder != BEST:
            return self
        from fer_cli.models.backbones import best_start

        return dataclasses.replace(self, encoder=best_start(self.backbone))

    def preprocessing(self, size: int, crop: Mapping[str, Any], parts: Mapping[str, Path]) -> "Preprocessing":
        """As the encoder's starting weights saw their pictures."""
        return preprocessing_of(self._start(), size, crop, grey=self.grey)

    def input_size(self, parts: Mapping[str, Path]) -> int | None:
        """That of the pictures that the starting weights were trained on."""
        return self._start().size

    def build(self, context: BuildContext) -> "DifferenceModel":
        """The model for the classes, its encoder initialised as asked."""
        return difference_model(
            context, self._start(), self, features=self.features, tune=self.tune_encoder, neutrals=self.neutrals
        )

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The weights that the encoder starts from, if they were trained before."""
        return [*parts.values(), *starting_file(self.encoder)]

    def _start(self) -> "StartingPoint":
        from fer_cli.models.backbones import starting_point

        return starting_point(self.encoder, self.backbone)


def starting_file(encoder: str) -> list[Path]:
    """The folder or file that ``encoder`` names, if it names one."""
    if encoder == FACES:
        from fer_cli.pretrained import packaged_model

        folder = packaged_model()
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
