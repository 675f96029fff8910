"""The recipe of an identity encoder that knows the training subjects and nobody else."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.errors import DatasetError
from fer_cli.models.choices import Backbone
from fer_cli.training.recipe import Recipe, Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from fer_cli.dataset.prepared import PreparedDataset
    from fer_cli.models.identity import IdentityModel

#: Every this many-th sequence (or still) of a subject chooses the epoch, or the last of a subject who has fewer.
HELD_OUT = 5
#: What to type where no identity encoder can be trained.
OTHER_WAYS = "Type --identity vggface2, --identity PATH or --identity none."


@dataclass(frozen=True, kw_only=True)
class IdentityRecipe(Recipe):
    """A small encoder learns to tell the training subjects apart, whatever they express."""

    name: ClassVar[str] = "identity"

    backbone: Annotated[Backbone, Doc("The encoder's network.")] = "mobilenet_v3_small"

    @property
    def paired(self) -> bool:
        """It sees single faces."""
        return False

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
                f"{dataset.path} has one picture or sequence of each subject, by which none can be told again.",
                hint=OTHER_WAYS,
            )
        return {"train": rows[~held_out], "val": rows[held_out], "test": rows.iloc[:0]}

    def classes(self, dataset: "PreparedDataset", sides: "Mapping[str, pd.DataFrame]") -> tuple[str, ...]:
        """The training subjects, sorted."""
        return tuple(sorted(sides["train"]["label"].unique()))

    def build(self, start: Start) -> "IdentityModel":
        """The model for the subjects, from nothing."""
        from fer_cli.models.identity import IdentityConfig, IdentityModel

        return IdentityModel(IdentityConfig(backbone=self.backbone, **start.labels))
