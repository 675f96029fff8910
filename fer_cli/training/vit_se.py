"""The recipe of ViT-SE."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.models.choices import TINY_VIT, VIT_B16, Gate, Pooling
from fer_cli.training.published import NoteViTSE, PaperViTSE
from fer_cli.training.recipe import Recipe, Start

if TYPE_CHECKING:
    from fer_cli.models.vit_se import ViTSEModel


@dataclass(frozen=True, kw_only=True)
class ViTSERecipe(Recipe):
    """A Vision Transformer whose image embedding passes a squeeze-and-excitation gate, then a linear classifier."""

    name: ClassVar[str] = "vit-se"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train vit-se",
        "fer train vit-se --recipe paper --cv",
        "fer train vit-se --no-pretrained --backbone tiny --size 64 --lr 1e-3   # a trial",
    )
    published: ClassVar[Mapping[str, type]] = {"note": NoteViTSE, "paper": PaperViTSE}

    # Higher rates undo what a pretrained transformer knows.
    lr: Annotated[float, Doc("Highest learning rate.")] = 1e-4
    backbone: Annotated[
        str,
        Doc(f"The ViT: a name of the Hugging Face Hub, a folder, or {TINY_VIT}, a small one for trials."),
    ] = VIT_B16
    pretrained: Annotated[bool, Doc("Start from the ViT's published weights, or from nothing.")] = True
    pooling: Annotated[
        Pooling, Doc("What the gate sees: the class token after the last layer, or the pooler's output.")
    ] = "class-token"
    se_reduction: Annotated[int, Doc("How much narrower the gate's inner layer is.")] = 4
    se_gate: Annotated[Gate, Doc("sigmoid bounds the gates by 0 and 1, relu does not.")] = "sigmoid"

    @property
    def paired(self) -> bool:
        """It classifies single faces."""
        return False

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """As the published ViT was trained."""
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def build(self, start: Start) -> "ViTSEModel":
        """The model for the classes, its transformer initialised as asked."""
        from fer_cli.models.vit_se import ViTSEConfig, ViTSEModel, pretrained_vit, vit_config

        pretrained = self.pretrained and self.backbone != TINY_VIT
        vit = pretrained_vit(self.backbone, pooling=self.pooling) if pretrained else None
        model = ViTSEModel(
            ViTSEConfig(
                vit=vit.config if vit is not None else vit_config(self.backbone, start.size),
                pooling=self.pooling,
                se_reduction=self.se_reduction,
                se_gate=self.se_gate,
                **start.labels,
            )
        )
        if vit is not None:
            own = model.vit.state_dict()
            # A pooler that is not asked for stays behind.
            model.vit.load_state_dict({name: tensor for name, tensor in vit.state_dict().items() if name in own})
        return model

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The folder that the transformer starts from, if it is one."""
        return [Path(self.backbone)] if self.pretrained and Path(self.backbone).exists() else []
