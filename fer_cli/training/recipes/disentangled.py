"""The recipe of Disentangled Difference of Embeddings, in two stages."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Interval

from fer_cli.errors import DatasetError, ModelError, UsageError
from fer_cli.models import BEST, NO_IDENTITY, SUBJECTS, VGGFACE2, Backbone, Disentangling
from fer_cli.options import Panel
from fer_cli.runs.run import Run
from fer_cli.training.recipes.base import BuildContext, GradientRecipe, Recipe, preprocessing_of, starting_file
from fer_cli.training.recipes.difference import BACKBONE, NoteDifference, difference_model

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.models.backbones import StartingPoint
    from fer_cli.models.identity import IdentityModel
    from fer_cli.models.preprocessing import Preprocessing

#: Sub-runs inside a run, by what they train.
STAGE_1, IDENTITY = "stage1", "identity"
#: The shared settings that the identity encoder is trained without.
_EXPRESSIONS = frozenset(
    (
        *("extra_data", "soft_labels", "sampling", "logit_adjustment", "posthoc_adjustment", "select"),
        *("refit", "tta", "encoder_lr", "layer_decay", "freeze_epochs"),
    )
)
#: The default weight of each penalty against the cross-entropy.
WEIGHTS = {"concat": 0.0, "adversarial": 0.1, "orthogonal": 1.0}


@dataclass(frozen=True)
class NoteDisentangled(NoteDifference):
    """The note's: the published identity network, and the head of Difference of Embeddings in both stages."""

    identity: str = VGGFACE2


@dataclass(frozen=True, kw_only=True)
class DisentangledRecipe(GradientRecipe):
    """First an emotion encoder, with a frozen identity encoder, then the difference on that emotion encoder."""

    name: ClassVar[str] = "disentangled"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train disentangled",
        "fer train disentangled --stage 1 --identity subjects",
        "fer train disentangled --stage 2 --encoder runs/disentangled-stage1-ckplus-fold0",
        "fer train disentangled --cv --encoder scratch --identity subjects --disentangle adversarial",
    )
    published: ClassVar[Mapping[str, type]] = {"note": NoteDisentangled}
    earlier: ClassVar[Mapping[str, Any]] = {"hidden": [256, 128, 64, 32], "dropout": 0.0, "standardise": False}

    stage: Annotated[
        int | None,
        Interval(ge=1, le=2),
        Doc("1: emotion encoder, from single faces; 2: difference, from pairs. Default: both."),
        Panel("Model"),
    ] = None
    encoder: Annotated[
        str | None,
        Doc("Stage 1: auto (default), faces, imagenet, scratch, a run or a file. Stage 2: a run of stage 1."),
        Panel("Model"),
    ] = None
    identity: Annotated[
        str,
        Doc(
            "Identity encoder: vggface2, subjects (trained first), auto (the first that is here), a run, a file, none."
        ),
        Panel("Model"),
    ] = BEST
    identity_margin: Annotated[
        float,
        Interval(ge=0, lt=1),
        Doc("With subjects, the margin of cosines between people in training (CosFace); 0: plain cross-entropy."),
        Panel("Model"),
    ] = 0.0
    disentangle: Annotated[
        Disentangling,
        Doc("How stage 1 keeps identity out of the emotion encoder."),
        Panel("Model"),
    ] = "concat"
    disentangle_weight: Annotated[
        float | None,
        Ge(0),
        Doc("Weight of that penalty. Default: 0.1 for adversarial, 1 for orthogonal."),
        Panel("Model"),
    ] = None
    backbone: Annotated[str | None, Doc(BACKBONE), Panel("Model")] = None
    hidden: Annotated[tuple[int, ...], Doc("A hidden layer's width; repeatable. Default: linear."), Panel("Model")] = ()
    dropout: Annotated[float, Interval(ge=0, lt=1), Doc("Dropout in the heads."), Panel("Model")] = 0.5
    standardise: Annotated[bool, Doc("Standardise embeddings; begin with small logits."), Panel("Model")] = True
    neutrals: Annotated[int, Ge(1), Doc("Neutral pictures of a person averaged."), Panel("Model")] = 1

    @property
    def title(self) -> str:
        """Stage 1 is called so."""
        return f"{self.name}-stage1" if self.stage == 1 else self.name

    @property
    def paired(self) -> bool:
        """Stage 2 compares a face with the same person's neutral face."""
        return self.stage != 1

    def resolved(self) -> "DisentangledRecipe":
        """The recipe with the encoder and the identity encoder that ``auto`` comes to here."""
        from fer_cli.models.backbones import best_start
        from fer_cli.models.weights import find

        found: dict[str, Any] = {}
        if self.stage != 2 and self.encoder in (None, BEST):
            found["encoder"] = best_start(self.backbone)
        if self.stage != 2 and self.identity == BEST:
            found["identity"] = SUBJECTS if find(VGGFACE2).place() is None else VGGFACE2
        return dataclasses.replace(self, **found) if found else self

    def preprocessing(self, size: int, crop: Mapping[str, Any], parts: Mapping[str, Path]) -> "Preprocessing":
        """As the emotion encoder's starting weights saw their pictures, or stage 1 did."""
        return preprocessing_of(self._start(parts), size, crop, grey=self.grey)

    def input_size(self, parts: Mapping[str, Path]) -> int | None:
        """That of the pictures that the starting weights were trained on."""
        return self._start(parts).size

    def prerequisites(self) -> dict[str, Recipe]:
        """Stage 1 before both, and before stage 1 the identity encoder that is trained on the subjects at hand."""
        if self.stage is None:
            return {STAGE_1: dataclasses.replace(self, stage=1)}
        if self.stage == 1 and self.identity == SUBJECTS:
            shared = dataclasses.fields(GradientRecipe)
            common = {field.name: getattr(self, field.name) for field in shared}
            # What is about expressions, or about one training's encoder, has no part in telling people apart.
            defaults = {field.name: field.default for field in shared if field.name in _EXPRESSIONS}
            return {IDENTITY: IdentityRecipe(**{**common, **defaults}, margin=self.identity_margin)}
        return {}

    def ancestors(self, parts: Mapping[str, Path]) -> list[Path]:
        """The runs trained before in this training, and the weights it was told to start from."""
        folders = list(parts.values())
        if self.stage == 2:
            # Stage 2 needs more of stage 1 than its weights.
            folders.append(Run.open(self._stage_1(parts)).path)
        if self.stage == 1:
            folders += starting_file(self.encoder or BEST)
            folders += [Path(self.identity)] if self.identity not in (BEST, VGGFACE2, SUBJECTS, NO_IDENTITY) else []
        return folders

    def build(self, context: BuildContext) -> Any:
        """Stage 1's model, or stage 2's with the encoder of stage 1."""
        return self._build_stage_1(context) if self.stage == 1 else self._build_stage_2(context)

    def extra_inputs(self, rows: "pd.DataFrame", context: BuildContext) -> "dict[str, Tensor]":
        """The subjects' indices, which the adversary learns."""
        if self.stage != 1 or self.disentangle != "adversarial":
            return {}
        import torch

        index = {name: place for place, name in enumerate(context.subjects)}
        if rows["subject"].isna().any() or len(index) < 2:
            raise DatasetError(
                "--disentangle adversarial needs to know who is shown, and this dataset does not say.",
                hint="Type --disentangle concat or orthogonal.",
            )
        return {"subjects": torch.tensor([index[name] for name in rows["subject"]])}

    def _build_stage_1(self, context: BuildContext) -> Any:
        from fer_cli.models.backbones import load_encoder, require_embeddings
        from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
        from fer_cli.models.encoder import small_output
        from fer_cli.models.preprocessing import IMAGENET_COLOURS

        start = self._start(context.parts)
        weights = start.weights(context.size)
        network, identity = self._identity(context.parts)
        weight = self.disentangle_weight
        model = DisentangledModel(
            DisentangledConfig(
                backbone=start.backbone,
                image_size=context.size,
                normalisation=None if start.normalisation == IMAGENET_COLOURS else start.normalisation,
                hidden_sizes=self.hidden,
                dropout=self.dropout,
                identity=network,
                disentangle=self.disentangle,
                disentangle_weight=WEIGHTS[self.disentangle] if weight is None else weight,
                subjects=len(context.subjects),
                **context.labels,
            )
        )
        require_embeddings(model.encoder, context.size, start.backbone)
        if weights is not None:
            load_encoder(model.encoder, weights, start.source)
        if identity is not None:
            load_encoder(model.identity, identity, self.identity)
        if self.standardise:
            small_output(model.head)
        return model

    def _start(self, parts: Mapping[str, Path]) -> "StartingPoint":
        """Where the emotion encoder begins: in stage 1 as asked, else with stage 1's."""
        from fer_cli.models.backbones import starting_point

        if self.stage == 1:
            return starting_point(self.encoder or BEST, self.backbone)
        return starting_point(str(self._stage_1(parts)), None)

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
                    hint=f"{error.hint}; or train an identity encoder on the training subjects with --identity "
                    "subjects, or type --identity PATH, or --identity none.",
                ) from error
        return identity_weights(parts.get(IDENTITY, Path(self.identity)))

    def _build_stage_2(self, context: BuildContext) -> Any:
        start = self._start(context.parts)
        return difference_model(context, start, self, features="both", tune=False, neutrals=self.neutrals)

    def _stage_1(self, parts: Mapping[str, Path]) -> Path:
        """The run of stage 1: the one just trained, the one named, or this fold's in the cross-validation named."""
        if STAGE_1 in parts:
            return parts[STAGE_1]
        if self.encoder is None or not Path(self.encoder).is_dir():
            raise UsageError(
                f"Stage 2 starts from a run of stage 1, and {self.encoder or 'none'} is not a folder."
                if self.encoder
                else "Stage 2 starts from a run of stage 1, and none was named.",
                hint="Type fer train disentangled --stage 1 first, or --encoder RUN, or leave --stage out for both.",
            )
        of_fold = Path(self.encoder) / f"fold{self.fold}"
        return of_fold if of_fold.is_dir() else Path(self.encoder)


#: Every this many-th sequence (or still) of a subject chooses the epoch, or the last of a subject who has fewer.
HELD_OUT = 5
#: What the cosines of a training with a margin are multiplied by.
SCALE = 24.0
#: What to type where no identity encoder can be trained.
OTHER_WAYS = "Type --identity vggface2, --identity PATH or --identity none."


@dataclass(frozen=True, kw_only=True)
class IdentityRecipe(GradientRecipe):
    """A small encoder learns to tell the training subjects apart, whatever they express."""

    name: ClassVar[str] = "identity"
    trained_alone: ClassVar[bool] = False

    backbone: Annotated[Backbone, Doc("The encoder's network.")] = "mobilenet_v3_small"
    margin: Annotated[float, Interval(ge=0, lt=1), Doc("Margin of the cosines; 0: logits of a linear layer.")] = 0.0

    @property
    def logit_margin(self) -> float:
        """The margin of the scaled cosines."""
        return SCALE * self.margin

    def sides(self, dataset: "PreparedDataset") -> "dict[str, pd.DataFrame]":
        """All pictures of the training subjects, neutral ones too, labelled by subject.

        Every fifth sequence of each chooses the epoch, a picture of no sequence counting as one: whole, for of two
        frames a moment apart the one says nothing about how well the other was learned. Nobody else is seen, and
        ``test`` is empty. Raises :class:`~fer_cli.errors.DatasetError` where fewer than two subjects are named, or none
        has two sequences.
        """
        import pandas as pd

        named = dataset.split(self.fold, paired=False)["train"]["subject"].dropna().unique()
        if len(named) < 2:
            raise DatasetError(
                f"{dataset.path} does not say who is shown, so an identity encoder cannot be trained on it.",
                hint=OTHER_WAYS,
            )
        rows = dataset.metadata[dataset.metadata["subject"].isin(named)]
        rows = rows.assign(label=rows["subject"]).sort_values(["subject", "file_name"])
        recordings = rows["sequence"].fillna(rows["file_name"]).groupby(rows["subject"])
        count = recordings.transform("nunique")
        place = recordings.transform(lambda names: pd.factorize(names)[0]) % HELD_OUT
        held_out = (count > 1) & (place == count.clip(upper=HELD_OUT) - 1)
        if not held_out.any():
            raise DatasetError(
                f"{dataset.path} has one picture or sequence of each subject: there is none to validate on.",
                hint=OTHER_WAYS,
            )
        return {"train": rows[~held_out], "val": rows[held_out], "test": rows.iloc[:0]}

    def classes(self, dataset: "PreparedDataset", sides: "Mapping[str, pd.DataFrame]") -> tuple[str, ...]:
        """The training subjects, sorted."""
        return tuple(sorted(sides["train"]["label"].unique()))

    def build(self, context: BuildContext) -> "IdentityModel":
        """The model for the subjects, from nothing."""
        from fer_cli.models.identity import IdentityConfig, IdentityModel

        scale = {"scale": SCALE} if self.margin else {}
        return IdentityModel(IdentityConfig(backbone=self.backbone, **scale, **context.labels))
