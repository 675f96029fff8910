"""Draws: the same crops divided into other folds of subjects, or with fewer subjects to train on.

A single division into folds is one of many, and another moves the scores (arXiv 2604.02162 reports ±0.065). A draw is a
prepared dataset of its own, so that whatever takes a dataset takes it. Its crops are hard links to the original's.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.dataset import schema
from fer_cli.dataset.pairing import assign_folds
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, FerError
from fer_cli.files import locked, write_json, written_whole
from fer_cli.protocol import Protocol


def redraw(
    dataset: PreparedDataset,
    out: Path,
    *,
    folds: int | None = None,
    draw: int = 0,
    seed: int = 0,
    subjects: int | None = None,
) -> PreparedDataset:
    """Write a draw of ``dataset`` into the folder ``out``, or open the one that is there.

    ``folds`` new folds of subjects (None: as many as there are) are drawn with scikit-learn's ``StratifiedGroupKFold``
    from ``seed`` and ``draw``; where both the draw is 0 and the number is the dataset's own, its folds stay. With
    ``subjects`` all but so many of those who train when fold 0 is tested are dropped; the fewer of one draw are among
    the more. The same arguments give the same bytes.

    Raises :class:`~fer_cli.errors.DatasetError` if the dataset names nobody, if it has fewer training subjects than
    ``subjects``, if a class is shown by fewer subjects than there are ``folds``, or if ``out`` is in the way.
    """
    dataset = dataset.original
    metadata, protocol = _drawn(dataset, folds, draw, seed)
    if subjects is not None:
        metadata = _with_training_subjects(dataset, metadata, protocol, subjects, (seed, draw))
        words = filter(None, [protocol.draw, f"{subjects} training subjects"])
        protocol = Protocol.from_dict({**protocol.to_dict(), "draw": ", ".join(words)})
    settings = {"draw": draw, "folds": protocol.folds, "seed": seed, "subjects": subjects}
    with locked(out, "drawing folds into", wait=True):
        if (out / schema.CARD).is_file():
            return _opened(out, dataset, settings)
        if out.exists() and not (out / schema.UNFINISHED).is_file() and any(out.iterdir()):
            raise DatasetError(f"{out} is in the way: it holds something that is no draw of {dataset.path}.")
        _write(out, dataset, metadata, protocol, settings)
    return PreparedDataset.open(out)


def _drawn(dataset: PreparedDataset, folds: int | None, draw: int, seed: int) -> tuple[pd.DataFrame, Protocol]:
    """The rows with the folds of the draw, and the protocol that says so."""
    protocol, metadata = dataset.protocol, dataset.metadata
    if not protocol.folds:
        raise DatasetError(
            f"{dataset.path} has no folds to draw anew, for its corpus does not say who is shown.",
            hint="Its owners' split is the only one.",
        )
    folds = folds or protocol.folds
    if draw == 0 and folds == protocol.folds:
        return metadata, protocol
    shown = metadata[metadata["label"].isin(protocol.classes) & metadata["subject"].notna()]
    pairs = list(zip(shown["subject"], shown["label"], strict=True))
    state = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])
    fold_of = assign_folds(pairs, folds, "stratified-group", seed=state)
    # A subject of whom no class is shown is in no fold.
    metadata = metadata[metadata["subject"].isna() | metadata["subject"].isin(fold_of.keys())]
    numbers = [pd.NA if pd.isna(subject) else fold_of[subject] for subject in metadata["subject"]]
    metadata = metadata.assign(fold=pd.array(numbers, dtype="Int64"))
    words = {"folds": folds, "fold_rule": "stratified-group", "draw": f"draw {draw}" if draw else ""}
    return metadata, Protocol.from_dict({**protocol.to_dict(), **words})


def _with_training_subjects(
    dataset: PreparedDataset, metadata: pd.DataFrame, protocol: Protocol, count: int, seed: tuple[int, int]
) -> pd.DataFrame:
    """The rows of ``count`` of the subjects who train when fold 0 is tested and fold 1 validates, and of all others."""
    training = metadata[metadata["fold"].notna() & ~metadata["fold"].isin([0, 1])]
    names = sorted(training["subject"][training["label"].isin(protocol.classes)].unique())
    if count > len(names):
        raise DatasetError(
            f"{dataset.path} has {len(names)} training subjects when fold 0 is tested, and {count} were asked for.",
            hint=f"Ask for at most {len(names)}.",
        )
    order = np.random.default_rng([*seed, len(names)]).permutation(len(names))
    chosen = {names[place] for place in order[:count]}
    return metadata[~metadata["subject"].isin({*training["subject"]} - chosen)]


def _opened(out: Path, dataset: PreparedDataset, settings: dict[str, Any]) -> PreparedDataset:
    found = PreparedDataset.open(out)
    drawn = found.card.get("drawn_from", {})
    if drawn.get("fingerprint") != dataset.fingerprint or found.card.get("settings") != settings:
        raise DatasetError(
            f"{out} is in the way: it holds another draw, or one of another dataset than {dataset.path}.",
            hint="Remove it, or name another folder.",
        )
    return found


def _write(
    out: Path, dataset: PreparedDataset, metadata: pd.DataFrame, protocol: Protocol, settings: dict[str, Any]
) -> None:
    """The crops, the table, and the card last, which is the mark of a finished dataset."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / schema.UNFINISHED, settings)
        for name in metadata["file_name"]:
            _link(dataset.path / name, out / name)
        with written_whole(out / schema.METADATA) as part:
            metadata.to_csv(part, index=False, encoding="utf-8")
    except OSError as error:
        raise FerError(f"{out} cannot be written: {error.strerror or error}.") from error
    write_json(
        out / schema.CARD,
        {
            **{name: value for name, value in dataset.card.items() if name not in ("counts", schema.SKIPPED)},
            "settings": settings,
            "protocol": protocol.to_dict(),
            "checksums": {
                "metadata": hashlib.sha256((out / schema.METADATA).read_bytes()).hexdigest(),
                "crops": dataset.card["checksums"]["crops"],
            },
            "drawn_from": {
                # From here, so that both can be moved together.
                "path": os.path.relpath(dataset.path.resolve(), out.resolve()),
                "fingerprint": dataset.fingerprint,
            },
        },
    )
    (out / schema.UNFINISHED).unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """A hard link at ``target``, or where the file system has none, a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        try:
            os.link(source.resolve(), target)
        except FileExistsError:
            raise
        except OSError:
            with written_whole(target) as part:
                shutil.copyfile(source, part)
