"""The recipe of Difference of Embeddings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.models.choices import Backbone, Features
from fer_cli.training.recipe import Recipe

if TYPE_CHECKING:
    from fer_cli.models.difference import DifferenceModel

IMAGENET, SCRATCH = "imagenet", "scratch"


@dataclass(frozen=True, kw_only=True)
class DifferenceRecipe(Recipe):
    """A MobileNetV3 embeds the face and the same person's neutral face; a head classifies their difference."""

    name: ClassVar[str] = "difference"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train difference",
        "fer train difference --features target --encoder scratch --backbone mobilenet_v3_small --size 112",
        "fer train difference --encoder runs/difference-synthetic-fold0 --tune-encoder --fold 3",
    )

    features: Annotated[
        Features,
        Doc(
            "What the head sees: the difference beside the face's own embedding, the difference alone, or the face "
            "alone (target), which needs no neutral picture."
        ),
    ] = "both"
    encoder: Annotated[
        str,
        Doc("Where the encoder starts: imagenet, scratch, the folder of a run, or a file of weights."),
    ] = IMAGENET
    tune_encoder: Annotated[bool, Doc("Train the encoder too, instead of keeping it frozen. scratch implies it.")] = (
        False
    )
    backbone: Annotated[Backbone, Doc("The encoder's network.")] = "mobilenet_v3_large"

    @property
    def paired(self) -> bool:
        """Whether each face comes with the same person's neutral face."""
        return self.features != "target"

    def build(self, classes: tuple[str, ...]) -> "DifferenceModel":
        """The model for ``classes``, its encoder initialised as asked."""
        from fer_cli.models.difference import DifferenceConfig, DifferenceModel
        from fer_cli.models.encoder import imagenet_weights, load_into, weights_from

        model = DifferenceModel(
            DifferenceConfig(
                backbone=self.backbone,
                features=self.features,
                tune_encoder=self.tune_encoder or self.encoder == SCRATCH,
                id2label=dict(enumerate(classes)),
                label2id={name: index for index, name in enumerate(classes)},
            )
        )
        if self.encoder == IMAGENET:
            load_into(model.encoder, imagenet_weights(self.backbone), "ImageNet")
        elif self.encoder != SCRATCH:
            load_into(model.encoder, weights_from(Path(self.encoder)), self.encoder)
        return model

    def ancestors(self) -> list[str]:
        """The run whose encoder this training starts from, if it is one."""
        return [self.encoder] if self.encoder not in (IMAGENET, SCRATCH) and Path(self.encoder).is_dir() else []
