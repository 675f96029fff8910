"""A prepared dataset as a reader sees it: its card, its rows, its folds."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fer_cli.dataset.schema import CARD, METADATA, UNFINISHED, VERSION, CardDocument, Version, read_metadata
from fer_cli.documents import read_document
from fer_cli.errors import DatasetError
from fer_cli.files import as_text
from fer_cli.protocol import Protocol


@dataclass(frozen=True)
class PreparedDataset:
    """A folder that ``fer prepare`` wrote: its ``path``, its ``card`` (``dataset.json``) and its rows.

    ``metadata`` has one row a crop, with the columns of :data:`fer_cli.dataset.schema.COLUMNS`; ``fold`` is a nullable
    integer, every other column a string with NA for what is not known. Where the corpus publishes how raters voted,
    there are the nullable integers of :data:`fer_cli.dataset.schema.VOTE_COLUMNS` too, and rows without a ``label``
    that are there for their votes alone: :meth:`samples` excludes them.

    >>> dataset = PreparedDataset.open("data/ckplus")  # doctest: +SKIP
    >>> dataset.protocol.name  # doctest: +SKIP
    'CK+ 7 classes with contempt, last 3 frames, 10 folds by ID step 10'
    """

    path: Path
    card: dict[str, Any]
    metadata: pd.DataFrame

    @classmethod
    def open(cls, path: Path | str) -> "PreparedDataset":
        """Open the dataset in the folder ``path``.

        Raises :class:`~fer_cli.errors.DatasetError` if it is not one, is unfinished, was written by a later version, or
        holds what no preparation writes, see :func:`fer_cli.dataset.schema.read_metadata`.
        """
        path = Path(path)
        card = _read_card(path)
        metadata = read_metadata(path, folds=card["protocol"]["folds"], size=card["crop"]["size"])
        return cls(path, card, metadata)

    @property
    def name(self) -> str:
        """Name of the dataset: that of its folder."""
        return as_text(self.path.resolve().name)

    @property
    def protocol(self) -> Protocol:
        """The protocol: how samples were chosen and divided."""
        return Protocol.from_dict(self.card["protocol"])

    @property
    def crop(self) -> dict[str, Any]:
        """The settings of the crops: ``size`` in pixels, ``margin``, ``detector``."""
        return dict(self.card["crop"])

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the rows as they are now and of the crops as they were written."""
        digest = hashlib.sha256((self.path / METADATA).read_bytes())
        digest.update(self.card["checksums"]["crops"].encode())
        return digest.hexdigest()

    @cached_property
    def original(self) -> "PreparedDataset":
        """The dataset that this one is a draw of (:mod:`fer_cli.dataset.draws`), with the same crops; else itself.

        Raises :class:`~fer_cli.errors.DatasetError` if it is gone, or is no longer what it was.
        """
        drawn = self.card.get("drawn_from")
        if drawn is None:
            return self
        original = PreparedDataset.open(self.path / drawn["path"])
        if original.fingerprint != drawn["fingerprint"]:
            raise DatasetError(
                f"{original.path.resolve()} has changed since {self.path} was drawn from it.",
                hint=f"Remove {self.path}, and draw it again.",
            )
        return original

    def known_as(self, fingerprint: str) -> "PreparedDataset | None":
        """Whichever has the ``fingerprint``, this dataset or the one that it is a draw of; None if neither has."""
        if fingerprint == self.fingerprint:
            return self
        return self.original if fingerprint == self.card.get("drawn_from", {}).get("fingerprint") else None

    @property
    def without_subject(self) -> int:
        """Number of pictures of the protocol's classes in no fold, though there are folds, for they name nobody."""
        rows = self.metadata[self.metadata["label"].isin(self.protocol.classes)]
        return int(rows["subject"].isna().sum()) if self.protocol.folds else 0

    def samples(self, *, paired: bool) -> pd.DataFrame:
        """The rows that show a class of the protocol; ``paired`` keeps those with a neutral picture to compare with.

        Raises :class:`~fer_cli.errors.DatasetError` if fewer than two classes are left.
        """
        rows = self.metadata[self.metadata["label"].isin(self.protocol.classes)]
        if paired:
            rows = rows[rows["neutral_file_name"].notna()]
        if rows["label"].nunique() < 2:
            shown = ", ".join(sorted(rows["label"].unique())) or "none"
            kind = "pairs" if paired else "pictures"
            raise DatasetError(
                f"{self.path} has {kind} of fewer than two classes ({shown}): there is nothing to tell apart.",
                hint="Type --features target to train on single pictures." if paired else "",
            )
        return rows

    def split(self, fold: int, *, paired: bool) -> dict[str, pd.DataFrame]:
        """The samples to train on, to choose the epoch by, and to test on: ``train``, ``val``, ``test``.

        The test fold is ``fold``, the validation fold the next one round, and a subject is on one side only. Pictures
        that name no subject are on none, for they may show any. A corpus that does not say who is shown has no folds:
        there the owners' split is taken, and fold 0 means it.
        """
        folds = self.protocol.folds
        if not folds:
            return self._owners_split(fold, self.samples(paired=paired))
        if not 0 <= fold < folds:
            raise DatasetError(f"There is no fold {fold} in {self.path}.", hint=f"Its folds are 0 to {folds - 1}.")
        rows = self.samples(paired=paired)
        rows = rows[rows["subject"].notna()]
        validation = (fold + 1) % folds
        sides = {
            "train": rows[~rows["fold"].isin([fold, validation])],
            "val": rows[rows["fold"] == validation],
            "test": rows[rows["fold"] == fold],
        }
        for side, part in sides.items():
            if part.empty:
                raise DatasetError(f"Fold {fold} of {self.path} leaves nothing for {side}.")
        return sides

    def training_rows(self, fold: int, *, paired: bool) -> pd.DataFrame:
        """The rows, labelled or not, that neither test nor validation holds when this is data to train on besides.

        Of a dataset with folds those of all but ``fold`` and the next, of one with its owners' split the training part,
        of another all. Raises :class:`~fer_cli.errors.DatasetError` if there is no such fold.
        """
        rows = self.metadata
        if paired:
            rows = rows[rows["neutral_file_name"].notna()]
        folds = self.protocol.folds
        if folds:
            if fold >= folds:
                raise DatasetError(f"There is no fold {fold} in {self.path}.", hint=f"Its folds are 0 to {folds - 1}.")
            return rows[rows["fold"].notna() & ~rows["fold"].isin([fold, (fold + 1) % folds])]
        return rows[rows["split"] == "train"] if rows["split"].notna().any() else rows

    def trained_subjects(self, fold: int, *, extra: bool) -> set[str]:
        """The subjects that a model of test fold ``fold`` was trained on, or its epoch chosen by, on this dataset.

        With ``extra`` it was data to train on besides. Raises as :meth:`split` does.
        """
        if extra:
            rows = self.training_rows(fold, paired=False)
        else:
            sides = self.split(fold, paired=False)
            rows = pd.concat([sides["train"], sides["val"]])
        return set(rows["subject"].dropna())

    def _owners_split(self, fold: int, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """The owners' test pictures, or those to validate on where they keep the test's labels to themselves.

        What is then left without a part to choose the epoch by gives every tenth training picture of each class.
        """
        train, val, test = (rows[rows["split"] == side] for side in ("train", "val", "test"))
        if train.empty or (val.empty and test.empty):
            raise DatasetError(
                f"{self.path} has no folds, for its corpus does not say who is shown in its pictures, and no split by "
                "its owners either: what would be tested might have been trained on.",
                hint="Where it was made from files, {subject} or {split} in --pattern, or such a column of --table, "
                "says who is shown or which part it is.",
            )
        if fold:
            raise DatasetError(
                f"{self.path} has its owners' split and no fold {fold}.", hint="Leave --fold out: fold 0 is that split."
            )
        if val.empty or test.empty:
            test = val if test.empty else test
            place = train.sort_values("file_name").groupby("label").cumcount()
            chosen = place.index[place % 10 == 9]
            val, train = train.loc[chosen], train.drop(chosen)
            if val.empty:
                raise DatasetError(f"{self.path} has too few training pictures to set a tenth apart.")
        return {"train": train, "val": val, "test": test}


def latest_dataset(folder: Path) -> Path | None:
    """The dataset in ``folder`` that was finished last, if there is any."""
    cards = sorted(folder.glob(f"*/{CARD}"), key=lambda card: card.stat().st_mtime)
    return cards[-1].parent if cards else None


def _read_card(path: Path) -> dict[str, Any]:
    if not (path / CARD).is_file():
        if not path.is_dir():
            raise DatasetError(f"There is no folder {path}.", hint="fer prepare makes a dataset.")
        if (path / UNFINISHED).is_file():
            raise DatasetError(f"{path} was not finished.", hint="Type its fer prepare line again to go on with it.")
        raise DatasetError(
            f"{path} is not a prepared dataset: it has no {CARD}.",
            hint=f"fer prepare files {path} --help shows how to make one from pictures.",
        )
    version = read_document(path / CARD, Version, DatasetError)["version"]
    if version > VERSION:
        raise DatasetError(f"{path} was written by a later version of fer.", hint="Update fer, or prepare it again.")
    card: dict[str, Any] = read_document(path / CARD, CardDocument, DatasetError)
    classes, folds = card["protocol"]["classes"], card["protocol"]["folds"]
    if len(set(classes)) < len(classes) or 0 < folds < 3:
        raise DatasetError(f"{path / CARD} is not what fer wrote: its protocol has {folds} folds, classes {classes}.")
    return card
