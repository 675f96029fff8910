"""The recipe of ViT-SE."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Gt, Le

from fer_cli.models import TINY_VIT, VIT_B16, Gate, Pooling
from fer_cli.options import Panel
from fer_cli.training.recipes.base import BuildContext, GradientRecipe, Note, Wild

if TYPE_CHECKING:
    from fer_cli.models.vit_se import ViTSEModel


@dataclass(frozen=True)
class NoteViTSE(Note):
    """The note's ViT-SE: a gate of ReLU on the pooler's output."""

    pooling: str = "pooler"
    se_reduction: int = 4
    se_gate: str = "relu"


@dataclass(frozen=True)
class PaperViTSE:
    """ViT-SE's author's, from the code after the paper (arXiv 2107.03107)."""

    epochs: int = 30
    patience: int = 0
    batch_size: int = 8
    lr: float = 1e-4
    schedule: str = "step"
    warmup: float = 0.0
    optimizer: str = "adamw"
    clip: float = 0.0
    augment: str = "paper"
    pooling: str = "class-token"
    se_reduction: int = 2
    se_gate: str = "sigmoid"


@dataclass(frozen=True)
class WildViTSE(Wild):
    """As for other networks, at the rates that a pretrained transformer bears."""

    batch_size: int = 64
    lr: float = 2e-4
    layer_decay: float = 0.75


@dataclass(frozen=True, kw_only=True)
class ViTSERecipe(GradientRecipe):
    """A Vision Transformer whose image embedding passes a squeeze-and-excitation gate, then a linear classifier."""

    name: ClassVar[str] = "vit-se"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train vit-se",
        "fer train vit-se --recipe paper --cv",
        "fer train vit-se --no-pretrained --backbone tiny --size 64 --lr 1e-3  # a trial",
    )
    published: ClassVar[Mapping[str, type]] = {"note": NoteViTSE, "paper": PaperViTSE, "wild": WildViTSE}

    # Higher rates undo what a pretrained transformer knows.
    lr: Annotated[float, Gt(0), Le(1), Doc("Peak learning rate."), Panel("Optimisation")] = 1e-4
    backbone: Annotated[str, Doc(f"ViT: a Hub name, a folder, or {TINY_VIT} for trials."), Panel("Model")] = VIT_B16
    pretrained: Annotated[bool, Doc("Start from the published weights."), Panel("Model")] = True
    pooling: Annotated[Pooling, Doc("Image embedding that the gate takes."), Panel("Model")] = "class-token"
    se_reduction: Annotated[int, Ge(1), Doc("Reduction of the gate's inner layer."), Panel("Model")] = 4
    se_gate: Annotated[Gate, Doc("Activation of the gate."), Panel("Model")] = "sigmoid"

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """As the published ViT was trained."""
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def build(self, context: BuildContext) -> "ViTSEModel":
        """The model for the classes, its transformer initialised as asked."""
        from fer_cli.models.vit_se import ViTSEConfig, ViTSEModel, pretrained_vit, vit_config

        pretrained = self.pretrained and self.backbone != TINY_VIT
        vit = pretrained_vit(self.backbone, pooling=self.pooling) if pretrained else None
        model = ViTSEModel(
            ViTSEConfig(
                vit=vit.config if vit is not None else vit_config(self.backbone, context.size),
                pooling=self.pooling,
                se_reduction=self.se_reduction,
                se_gate=self.se_gate,
                **context.labels,
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
