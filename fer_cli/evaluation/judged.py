"""An evaluation, opened again from the folder that it was written to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import pandas as pd
from msgspec import Meta

from fer_cli.documents import read_document
from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.results import METRICS, PREDICTIONS
from fer_cli.labels import EXPRESSIONS, in_order
from fer_cli.runs.run import EVALUATION

_COLUMNS = ("file_name", "subject", "sequence", "label", "predicted")
_MOST_BYTES = 1024**3


class StoredEvaluation(TypedDict):
    """What is read of ``metrics.json``."""

    run: NotRequired[str | None]
    cross_validation: NotRequired[str | None]
    about: str
    corpus: str
    fingerprint: str
    classes: Annotated[list[str], Meta(min_length=1)]
    insisted_on: NotRequired[list[str] | None]
    insisted_on_pictures: NotRequired[int | None]


@dataclass(frozen=True)
class Judged:
    """What ``fer evaluate`` found of a run or a cross-validation.

    ``predictions`` is indexed by ``file_name`` and has the columns ``subject, sequence, label, predicted``;
    ``card`` is ``metrics.json``.
    """

    path: Path
    name: str
    predictions: pd.DataFrame
    card: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> "Judged":
        """Open the evaluation of the run in ``path``, or the one whose files are in ``path`` itself.

        Raises :class:`~fer_cli.errors.RunError` if there is none, or it is not what ``fer evaluate`` wrote.
        """
        path = Path(path)
        folder = next((each for each in (path, path / EVALUATION) if (each / PREDICTIONS).is_file()), None)
        if folder is None:
            if not path.is_dir():
                raise RunError(f"There is no folder {path}.")
            raise RunError(
                f"{path} has not been evaluated: there is no {PREDICTIONS} in it or in its {EVALUATION}/.",
                mend=f"Type fer evaluate {path} first.",
            )
        return cls(path, *_read(folder, path))


def _read(folder: Path, path: Path) -> tuple[str, pd.DataFrame, dict[str, Any]]:
    try:
        if (folder / PREDICTIONS).stat().st_size > _MOST_BYTES:
            raise RunError(f"{folder / PREDICTIONS} is too large to be predictions: over {_MOST_BYTES // 1024**2} MiB.")
        card = read_document(folder / METRICS, StoredEvaluation, RunError)
        name = str(card.get("run") or card.get("cross_validation") or path.resolve().name)
        card["classes"] = in_order(card["classes"])
        rows = pd.read_csv(
            folder / PREDICTIONS, usecols=_COLUMNS, dtype="string", keep_default_na=False, na_values=[""]
        )
    except (OSError, ValueError, UsageError, RunError) as error:
        raise RunError(
            f"The evaluation in {folder} is not what fer wrote, or an earlier version's: {error}",
            mend=f"Type fer evaluate {path} again.",
        ) from error
    if rows.empty:
        raise RunError(f"{folder / PREDICTIONS} has no predictions.", mend=f"Type fer evaluate {path} again.")
    strange = set(rows["label"].fillna("(none)")) | set(rows["predicted"].fillna("(none)"))
    strange = sorted(strange.difference(EXPRESSIONS))
    if strange:
        raise RunError(f"{folder / PREDICTIONS} has labels that mean nothing here: {', '.join(strange[:3])}.")
    if rows["file_name"].isna().any() or rows["file_name"].duplicated().any():
        raise RunError(f"{folder / PREDICTIONS} has rows without a file name, or with the same one twice.")
    return name, rows.set_index("file_name"), card
