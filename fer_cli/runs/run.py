"""The run and the cross-validation, opened for reading, and the subjects that are behind a model's weights."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from fer_cli.documents import read_document, read_seen
from fer_cli.errors import RunError
from fer_cli.files import as_text
from fer_cli.protocol import Protocol, StoredProtocol

#: The run's own record. Written last: a folder without it is no finished run.
CARD = "run.json"
#: The settings of a training under way.
UNFINISHED = "unfinished.json"
#: The trainer's checkpoints while a training is under way.
CHECKPOINTS = "checkpoints"
#: Loss and validation accuracy by epoch.
EPOCHS = "epochs.csv"
EVALUATION = "evaluation"
#: An evaluation's page. Written last: without it an evaluation is unfinished.
REPORT = "report.html"
#: The record of a folder whose sub-folders are the runs of all folds.
CROSS_VALIDATION = "cross-validation.json"
#: The record of a folder whose sub-folders are variants of one recipe.
COMPARISON = "comparison.json"
#: TensorBoard's.
LOGS = "tensorboard"
WEIGHTS = "model.safetensors"

_PSEUDONYM = re.compile("#[0-9a-f]{16}")

#: Raised when a change makes older runs unreadable.
VERSION = 1


class _Versioned(TypedDict):
    version: int


class StoredRecipe(TypedDict, total=False):
    """Of a recipe what is read without knowing which model's it is."""

    stage: int | None
    encoder: str | None
    identity: str
    epochs: int
    pairs_only: bool
    refit: bool


class StoredDataset(TypedDict):
    """The prepared dataset that a run, or all runs of a cross-validation, were trained on."""

    path: str
    corpus: NotRequired[str]
    fingerprint: str


class _ExtraData(TypedDict):
    corpus: str
    fingerprint: str


class UnlistedData(TypedDict):
    """A dataset that weights were trained on, with test fold ``fold``, whose subjects are not among those ``seen``.

    Published weights do not name people whose names mean nothing elsewhere: ``0001`` of one folder of pictures is not
    that of another. ``extra`` data were trained on and chose no epoch.
    """

    fingerprint: str
    fold: Annotated[int, Meta(ge=0)]
    extra: bool


class _Best(TypedDict):
    epoch: NotRequired[int]
    C: NotRequired[float]
    val_loss: float
    val_accuracy: float


class _Sides(TypedDict):
    train: list[str]
    val: list[str]
    test: list[str]


class _Versions(TypedDict):
    fer: str


#: The corpus of a dataset made of any folder of pictures: ``0001`` in it is another person in another folder.
ANYBODYS = "files"


class Score(TypedDict):
    """The accuracy of a published model, ``value`` with its interval, on ``n`` samples of a ``corpus``.

    ``dataset`` is the dataset's name, where the corpus is any folder of pictures.
    """

    corpus: str
    n: int
    dataset: NotRequired[str]
    value: float
    low: NotRequired[float | None]
    high: NotRequired[float | None]


class StoredRun(TypedDict):
    """What is read of ``run.json``."""

    version: int
    model: str
    command: str
    recipe: StoredRecipe
    fold: Annotated[int, Meta(ge=0)]
    classes: list[str]
    protocol: StoredProtocol
    dataset: StoredDataset
    subjects: _Sides
    seen: dict[str, list[str]]
    epoch_rule: str
    best: NotRequired[_Best]
    extra_data: NotRequired[list[_ExtraData]]
    unlisted: NotRequired[list[UnlistedData]]
    versions: _Versions
    scores: NotRequired[list[Score]]


@dataclass(frozen=True)
class Run:
    """A folder that ``fer train`` wrote: its ``path`` and its ``card`` (``run.json``)."""

    path: Path
    card: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Open the run in the folder ``path``.

        Raises :class:`~fer_cli.errors.RunError` if it is not one, is unfinished, or was written by a later version.
        """
        path = Path(path)
        if not (path / CARD).is_file():
            raise RunError(_what_is_there(path))
        if read_document(path / CARD, _Versioned, RunError)["version"] > VERSION:
            raise RunError(f"{path} was written by a later version of fer.", hint="Update fer.")
        return cls(path, read_document(path / CARD, StoredRun, RunError))

    @property
    def name(self) -> str:
        """The folder's name: the run's name."""
        return as_text(self.path.resolve().name)

    @property
    def about(self) -> str:
        """The name, and of a published run the scores that it carries: of a corpus the one on the most samples.

        >>> Run(Path("faces"), {"scores": [{"corpus": "made", "n": 50, "value": 0.8, "low": 0.7, "high": 0.9}]}).about
        'faces: accuracy 80.0% [70.0%, 90.0%] of 50 (made)'
        """
        widest: dict[str, Score] = {}
        for score in self.card.get("scores", []):
            name = score.get("dataset") or self._tested(score["corpus"])
            if name not in widest or score["n"] > widest[name]["n"]:
                widest[name] = score
        scores = []
        for name, score in widest.items():
            low, high = score.get("low"), score.get("high")
            between = "" if None in (low, high) else f" [{low:.1%}, {high:.1%}]"
            scores.append(f"{score['value']:.1%}{between} of {score['n']} ({name})")
        return f"{self.name}: accuracy {', '.join(scores)}" if scores else self.name

    def _tested(self, corpus: str) -> str:
        """The corpus, or of any folder of pictures the dataset of it that the run was trained on, if it was one."""
        trained = [self.card.get("dataset", {}), *self.card.get("extra_data", [])]
        names = {each["name"] for each in trained if each.get("corpus") == corpus and each.get("name")}
        return names.pop() if corpus == ANYBODYS and len(names) == 1 else corpus

    @property
    def protocol(self) -> Protocol:
        """How the samples it was trained on were chosen and divided."""
        return Protocol.from_dict(self.card["protocol"])

    @property
    def fold(self) -> int:
        """The test fold, which neither training nor the choice of the epoch used."""
        return int(self.card["fold"])

    @property
    def selection(self) -> str:
        """What the validation fold chose and how, for a line: ``epoch by lowest loss on the validation fold``.

        The rule of a model without epochs names what it chooses.
        """
        rule = self.card["epoch_rule"]
        return f"epoch by {rule}" if "epoch" in self.card.get("best", {"epoch": 0}) else rule

    @property
    def seen(self) -> dict[str, list[str]]:
        """By corpus, the subjects that the model or its encoder was trained on or its epoch chosen by."""
        seen: dict[str, list[str]] = self.card["seen"]
        return seen


def _what_is_there(path: Path) -> str:
    if (path / UNFINISHED).is_file():
        return f"The training in {path} was not finished: type its fer train line again to go on with it."
    if not path.exists():
        return f"There is no folder {path}."
    if not path.is_dir():
        return f"{path} is a file, not the folder of a run."
    runs = sorted(card.parent.name for card in path.glob(f"*/{CARD}"))
    inside = f" The runs in it are {', '.join(runs[:5])}." if runs else ""
    return f"{path} is not a run: it has no {CARD}.{inside}"


def runs_in(folder: Path, *, folds: bool = False) -> list[Path]:
    """The folders of the finished runs in ``folder``, the one that was finished last first.

    With ``folds`` cross-validations are among them.
    """
    names = (CARD, CROSS_VALIDATION) if folds else (CARD,)
    cards = [card for name in names for card in folder.glob(f"*/{name}")]
    return [card.parent for card in sorted(cards, key=lambda card: card.stat().st_mtime, reverse=True)]


class StoredCrossValidation(TypedDict):
    """What is read of ``cross-validation.json``."""

    model: str
    command: str
    recipe: StoredRecipe
    protocol: StoredProtocol
    dataset: StoredDataset
    folds: Annotated[list[str], Meta(min_length=1)]


@dataclass(frozen=True)
class CrossValidation:
    """A folder that ``fer train … --cv`` wrote: its ``path``, its ``card``, and its ``runs``, one a fold in order."""

    path: Path
    card: dict[str, Any]
    runs: tuple[Run, ...]

    @classmethod
    def open(cls, path: Path | str) -> "CrossValidation":
        """Open the cross-validation in the folder ``path``.

        Raises :class:`~fer_cli.errors.RunError` if it is not one, or one of its runs is gone.
        """
        path = Path(path)
        if not (path / CROSS_VALIDATION).is_file():
            remark = " It was not finished: type its fer train line again." if (path / UNFINISHED).is_file() else ""
            raise RunError(f"{path} is not a cross-validation: it has no {CROSS_VALIDATION}.{remark}")
        card = read_document(path / CROSS_VALIDATION, StoredCrossValidation, RunError)
        return cls(path, card, tuple(Run.open(path / Path(name).name) for name in card["folds"]))

    @property
    def name(self) -> str:
        """The folder's name."""
        return as_text(self.path.resolve().name)

    @property
    def protocol(self) -> Protocol:
        """How the samples were chosen and divided."""
        return Protocol.from_dict(self.card["protocol"])


def open_any(path: Path | str) -> Run | CrossValidation:
    """The run or the cross-validation in the folder ``path``."""
    return CrossValidation.open(path) if (Path(path) / CROSS_VALIDATION).is_file() else Run.open(path)


def run_behind(source: Path) -> Path | None:
    """The folder of the run, finished or not, that ``source``, a folder or a file of weights, is or lies in."""
    for start in (source.absolute(), source.resolve()):
        for folder in (start, *start.parents):
            # A folder above that may not be looked into is no run's.
            with suppress(OSError):
                if any((folder / card).is_file() for card in (CARD, UNFINISHED)):
                    return folder
    return None


def seen_behind(source: Path) -> dict[str, list[str]]:
    """By corpus, the subjects whom the weights of ``source``, a folder or a file, were trained on or chosen by.

    They are those that the header of the weights names, which a copy keeps, and those of the run around them. Raises
    :class:`~fer_cli.errors.RunError` where they lie in a training that has not been finished and do not name them.
    """
    file = source / WEIGHTS if source.is_dir() else source
    try:
        noted = read_seen(file) if file.is_file() else None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} does not say on whom it was trained: {error}.") from error
    folder = run_behind(source)
    if folder is None or (noted is not None and not (folder / CARD).is_file()):
        return noted or {}
    return merged(noted or {}, Run.open(folder).seen)


def unlisted_behind(source: Path) -> list[UnlistedData]:
    """The datasets that the weights of ``source`` were trained on, now or before, and whose subjects are not listed.

    :meth:`fer_cli.dataset.prepared.PreparedDataset.trained_subjects` names them where such a dataset is at hand. Empty
    where no finished run is around ``source``.
    """
    folder = run_behind(source)
    if folder is None or not (folder / CARD).is_file():
        return []
    run = Run.open(folder)
    data = [(run.card["dataset"], False), *((each, True) for each in run.card.get("extra_data", []))]
    own = [
        UnlistedData(fingerprint=each["fingerprint"], fold=run.fold, extra=extra)
        for each, extra in data
        if "corpus" in each and each["corpus"] not in run.seen
    ]
    return [*run.card.get("unlisted", []), *own]


def merged(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The subjects of both, by corpus, sorted."""
    return {name: sorted({*one.get(name, []), *other.get(name, [])}) for name in {**one, **other}}


def shared_subjects(seen: dict[str, list[str]], corpus: str, subjects: set[str]) -> list[str]:
    """The ``subjects`` of ``corpus`` that are among those ``seen``, by name or by :func:`pseudonym`, sorted."""
    noted = set(seen.get(corpus, []))
    return sorted(name for name in subjects if name in noted or pseudonym(corpus, name) in noted)


def pseudonym(corpus: str, subject: str) -> str:
    """What stands for a subject's name in published weights: ``#`` and 16 hexadecimal digits.

    The same name of the same corpus always gives the same, so that a test on this subject is recognised. It hides a
    name from reading, not from somebody who has the corpus's list of names to compare with.
    """
    name = "\0".join((corpus, subject)).encode(errors="surrogateescape")
    return f"#{hashlib.sha256(name).hexdigest()[:16]}"


def pseudonyms(seen: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The subjects by corpus, each as its :func:`pseudonym`, sorted; those that have one keep it."""
    return {
        corpus: sorted({name if _PSEUDONYM.fullmatch(name) else pseudonym(corpus, name) for name in subjects})
        for corpus, subjects in seen.items()
    }


def names(subjects: list[str], most: int = 20) -> str:
    """The subjects' names for a sentence, cut short after ``most``."""
    return ", ".join(subjects[:most]) + (f" and {len(subjects) - most} more" if len(subjects) > most else "")
