"""The recipe of Disentangled Difference of Embeddings, in two stages."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_doc import Doc

from fer_cli.errors import DatasetError, ModelError, UsageError
from fer_cli.models.choices import IMAGENET, NO_IDENTITY, SUBJECTS, VGGFACE2, Backbone, Disentangling
from fer_cli.runs.run import Run
from fer_cli.training.difference import difference_model, starting_file
from fer_cli.training.identity import IdentityRecipe
from fer_cli.training.published import Note
from fer_cli.training.recipe import Recipe, Start

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

#: Sub-runs inside a run, by what they train.
STAGE_1, IDENTITY = "stage1", "identity"
#: What a penalty weighs against the cross-entropy, where nothing else is asked for.
WEIGHTS = {"concat": 0.0, "adversarial": 0.1, "orthogonal": 1.0}


@dataclass(frozen=True, kw_only=True)
class DisentangledRecipe(Recipe):
    """First an emotion encoder beside a frozen identity encoder, then the difference on that emotion encoder."""

    name: ClassVar[str] = "disentangled"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train disentangled",
        "fer train disentangled --stage 1 --identity subjects",
        "fer train disentangled --stage 2 --encoder runs/disentangled-stage1-ckplus-fold0",
        "fer train disentangled --cv --encoder scratch --identity subjects --disentangle adversarial",
    )
    published: ClassVar[Mapping[str, type]] = {"note": Note}

    stage: Annotated[
        int | None,
        Doc("1: the emotion encoder, from single faces. 2: the difference, from pairs. Default: both in turn."),
    ] = None
    encoder: Annotated[
        str | None,
        Doc(
            "Stage 1: where the emotion encoder starts: imagenet (the default), scratch, a run's folder, or a file of "
            "weights. Stage 2: the run of stage 1, by default the latest in ./runs on this dataset and fold."
        ),
    ] = None
    identity: Annotated[
        str,
        Doc(
            "The identity encoder: vggface2 (see fer weights), subjects (a small one, trained first on the training "
            "subjects alone), a run's folder or a file of weights, or none."
        ),
    ] = VGGFACE2
    disentangle: Annotated[
        Disentangling,
        Doc(
            "Stage 1: concat puts the embeddings side by side; adversarial adds a classifier of subjects on the "
            "emotion embedding, with its gradient reversed; orthogonal a penalty on what the embeddings share."
        ),
    ] = "concat"
    disentangle_weight: Annotated[
        float | None, Doc("What that adds weighs against the loss. Default: 0.1 for adversarial, 1 for orthogonal.")
    ] = None
    backbone: Annotated[
        Backbone | None,
        Doc("The emotion encoder's network. Default: that of the weights it starts from, else mobilenet_v3_large."),
    ] = None

    def __post_init__(self):
        super().__post_init__()
        if self.stage not in (None, 1, 2):
            raise UsageError(f"--stage {self.stage}: there are stages 1 and 2.")
        if self.disentangle_weight is not None and not self.disentangle_weight >= 0:
            raise UsageError(f"--disentangle-weight {self.disentangle_weight}: 0 or more is needed.")

    @property
    def title(self) -> str:
        """Stage 1 is called so."""
        return f"{self.name}-stage1" if self.stage == 1 else self.name

    @property
    def paired(self) -> bool:
        """Stage 2 compares a face with the same person's neutral face."""
        return self.stage != 1

    def prerequisites(self) -> dict[str, Recipe]:
        """Stage 1 before both, and before stage 1 the identity encoder that is trained on the subjects at hand."""
        if self.stage is None:
            return {STAGE_1: dataclasses.replace(self, stage=1)}
        if self.stage == 1 and self.identity == SUBJECTS:
            common = {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)}
            return {IDENTITY: IdentityRecipe(**common)}
        return {}

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """What came before in this training, and what it was told to start from."""
        folders = list(parts.values())
        if self.stage == 2:
            # Stage 2 needs more of stage 1 than its weights.
            folders.append(Run.open(self._stage_1(parts)).path)
        if self.stage == 1:
            folders += starting_file(self.encoder or IMAGENET)
            folders += [Path(self.identity)] if self.identity not in (VGGFACE2, SUBJECTS, NO_IDENTITY) else []
        return folders

    def build(self, start: Start) -> Any:
        """Stage 1's model, or stage 2's with the encoder of stage 1."""
        return self._build_stage_1(start) if self.stage == 1 else self._build_stage_2(start)

    def beside(self, rows: "pd.DataFrame", start: Start) -> "dict[str, Tensor]":
        """The subjects' indices, which the adversary learns."""
        if self.stage != 1 or self.disentangle != "adversarial":
            return {}
        import torch

        index = {name: place for place, name in enumerate(start.subjects)}
        if rows["subject"].isna().any() or len(index) < 2:
            raise DatasetError(
                "--disentangle adversarial needs to know who is shown, and this dataset does not say.",
                mend="Type --disentangle concat or orthogonal.",
            )
        return {"subjects": torch.tensor([index[name] for name in rows["subject"]])}

    def _build_stage_1(self, start: Start) -> Any:
        from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
        from fer_cli.models.encoder import load_encoder, starting_encoder

        source = self.encoder or IMAGENET
        backbone, weights = starting_encoder(source, self.backbone)
        network, identity = self._identity(start.parts)
        weight = self.disentangle_weight
        model = DisentangledModel(
            DisentangledConfig(
                backbone=backbone,
                identity=network,
                disentangle=self.disentangle,
                disentangle_weight=WEIGHTS[self.disentangle] if weight is None else weight,
                subjects=len(start.subjects),
                **start.labels,
            )
        )
        if weights is not None:
            load_encoder(model.encoder, weights, source)
        if identity is not None:
            load_encoder(model.identity, identity, self.identity)
        return model

    def _identity(self, parts: Mapping[str, Path]) -> tuple[str | None, "dict[str, Tensor] | None"]:
        """The identity encoder's network and weights."""
        if self.identity == NO_IDENTITY:
            return None, None
        from fer_cli.models.identity import identity_weights
        from fer_cli.models.vggface2 import load_published
        from fer_cli.models.weights import find

        if self.identity == VGGFACE2:
            try:
                return VGGFACE2, load_published(find(VGGFACE2).fetch())
            except ModelError as error:
                raise ModelError(
                    error.message,
                    mend=f"{error.mend}; or train an identity encoder on the training subjects with --identity "
                    "subjects, or type --identity PATH, or --identity none.",
                ) from error
        return identity_weights(parts.get(IDENTITY, Path(self.identity)))

    def _build_stage_2(self, start: Start) -> Any:
        from fer_cli.models.encoder import starting_encoder

        source = str(self._stage_1(start.parts))
        backbone, weights = starting_encoder(source, None)
        return difference_model(start, backbone, weights, features="both", tune=False, source=source)

    def _stage_1(self, parts: Mapping[str, Path]) -> Path:
        """The run of stage 1: the one just trained, the one named, or this fold's in the cross-validation named."""
        if STAGE_1 in parts:
            return parts[STAGE_1]
        if self.encoder is None or not Path(self.encoder).is_dir():
            raise UsageError(
                f"Stage 2 starts from a run of stage 1, and {self.encoder or 'none'} is not a folder."
                if self.encoder
                else "Stage 2 starts from a run of stage 1, and none was named.",
                mend="Type fer train disentangled --stage 1 first, or --encoder RUN, or leave --stage out for both.",
            )
        of_fold = Path(self.encoder) / f"fold{self.fold}"
        return of_fold if of_fold.is_dir() else Path(self.encoder)
