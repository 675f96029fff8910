"""Results of an evaluation, the files that hold them, and the same read back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
import pandas as pd
from msgspec import Meta

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.documents import read_document
from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.analysis import NO_ANALYSIS, Analysis
from fer_cli.evaluation.bootstrap import LEVEL, REPETITIONS, SEED
from fer_cli.evaluation.calibration import Calibration
from fer_cli.evaluation.chance import adjusted_chance
from fer_cli.evaluation.leakage import Leakage
from fer_cli.evaluation.metrics import BINS, headline_metrics, normalize
from fer_cli.evaluation.plots import draw_confusion, draw_reliability, save
from fer_cli.evaluation.subgroups import AGREEMENT, Agreement
from fer_cli.files import open_regular, read_json, remove_abandoned, write_json, written_whole
from fer_cli.labels import EXPRESSIONS, in_order
from fer_cli.protocol import Protocol
from fer_cli.runs.run import EVALUATION, REPORT, Run

METRICS_JSON, PREDICTIONS = "metrics.json", "predictions.csv"
#: The stems of the matrices, each as PNG, SVG and CSV: counts, and shares of each true class.
CONFUSION, NORMALIZED = "confusion", "confusion-normalised"
RELIABILITY = "reliability"
GROUPS, GAPS = "groups.csv", "gaps.csv"

_COLUMNS = ("file_name", "subject", "sequence", "label", "predicted")
_MOST_BYTES = 1024**3


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of an evaluation come from.

    ``title`` names the run or the cross-validation, ``about`` says in a line whose faces were tested, under which
    ``protocol`` and epoch rule. ``runs`` were tested on ``dataset``; ``leakage`` is what their models had seen of it,
    and ``command`` the line that was typed, if one was. Predictions of another program have no runs, and ``facts``
    about their table in their place. ``neutral`` says what faces were compared with: ``given``, ``mean``, ``found`` or
    ``none``.
    """

    title: str
    about: str
    protocol: Protocol
    dataset: PreparedDataset
    runs: tuple[Run, ...]
    leakage: Leakage = field(default_factory=Leakage)
    command: str = ""
    neutral: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Missing:
    """The ``pictures``, out of ``total``, that another program has no prediction for.

    ``metrics`` has the columns ``value, low, high`` and a row a metric that needs no probabilities, with those pictures
    counted as wrong: see :func:`~fer_cli.evaluation.metrics.missing_as_wrong`.
    """

    pictures: tuple[str, ...]
    total: int
    metrics: pd.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a run, of a cross-validation, or of another program's predictions.

    ``predictions`` has a row a face: ``file_name, subject, sequence, fold, label, predicted, confidence`` and a
    probability a class, ``p_anger`` and so on. ``path`` is the folder it is written to; ``notes`` are what a reader of
    the numbers should know. ``folds``, of a cross-validation, has a row a fold: ``fold, n``, the headline metrics and
    ``temperature``.

    ``metrics`` and ``per_class`` are as :func:`~fer_cli.evaluation.metrics.compute_metrics` gives them, by frame, and
    ``confusion`` counts, by row the true class and by column the predicted one; ``by_sequence`` has tables like
    ``metrics`` by the rules ``average`` and ``vote``, and is empty where no sequence has more than one frame.
    ``groups`` and ``gaps``, where asked for, are as :func:`~fer_cli.evaluation.subgroups.by_group` gives them. Where
    ``agreement`` was asked for, ``groups`` has its levels, and ``predictions`` the columns of
    :func:`~fer_cli.evaluation.subgroups.with_agreement`. Where another program gives no probabilities, ``predictions``
    has none either and a ``confidence`` of NaN; ``missing`` are the pictures that it has no prediction for, which the
    other metrics leave aside.
    """

    path: Path
    provenance: Provenance
    predictions: pd.DataFrame
    notes: tuple[str, ...]
    metrics: pd.DataFrame
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    calibration: Calibration
    by_sequence: dict[str, pd.DataFrame] = field(default_factory=dict)
    folds: pd.DataFrame | None = None
    groups: pd.DataFrame | None = None
    gaps: pd.DataFrame | None = None
    agreement: Agreement | None = None
    analysis: Analysis = NO_ANALYSIS
    missing: Missing | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the matrix."""
        return tuple(self.confusion.columns)

    def value(self, metric: str = "accuracy") -> float:
        """A metric by frame."""
        return float(self.metrics["value"].loc[metric])

    @property
    def chance(self) -> dict[str, float]:
        """What a guesser reaches at most, as :func:`~fer_cli.evaluation.chance.adjusted_chance` has it, by metric."""
        levels = {each.name: adjusted_chance(self.predictions["label"], each.name) for each in headline_metrics()}
        return {name: level for name, level in levels.items() if not math.isnan(level)}

    def over_folds(self, metric: str = "accuracy") -> tuple[float, float]:
        """The mean of a headline metric over the folds and its deviation (of a sample: n - 1)."""
        if self.folds is None:
            raise ValueError("this is the evaluation of one fold")
        return float(self.folds[metric].mean()), float(self.folds[metric].std(ddof=1))


def refuse_foreign(out: Path) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` if the folder ``out`` has such files that no evaluation wrote.

    An evaluation replaces an earlier one, also one that broke off before its end, and nothing else: ``predictions.csv``
    may well be somebody's.
    """
    if not any((out / name).exists() for name in (METRICS_JSON, PREDICTIONS, REPORT)) or "about" in _before(out):
        return
    if not (out / METRICS_JSON).exists() and _is_predictions(out / PREDICTIONS):
        return
    named = f"{METRICS_JSON}, {PREDICTIONS} or {REPORT}"
    raise UsageError(f"{out} has a {named} that is not an evaluation's.", hint="Type another --out.")


def _is_predictions(path: Path) -> bool:
    """Whether it begins as the first file that an evaluation writes does."""
    try:
        with open_regular(path) as file:
            head = file.read(100)
        # Probabilities follow, but for those that another program does not give.
        columns = b"file_name,subject,sequence,fold,label,predicted,confidence"
        return head.startswith(columns) and head[len(columns) :].lstrip(b"\r")[:1] in (b",", b"\n")
    except OSError:
        return False


def _before(out: Path) -> dict[str, Any]:
    """The metrics.json of an earlier evaluation; empty if there is none."""
    try:
        card = read_json(out / METRICS_JSON)
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def write(evaluation: Evaluation, *, pictures: bool = True) -> None:
    """Write ``metrics.json``, ``predictions.csv``, and matrices and reliability as pictures and CSV.

    By group, ``groups.csv`` and ``gaps.csv`` too; without ``pictures`` only what is no picture. Raises
    :class:`~fer_cli.errors.RunError` if the evaluation's folder cannot be written.
    """
    out, counts = evaluation.path, evaluation.confusion
    shares = pd.DataFrame(normalize(counts.to_numpy()), counts.index, counts.columns)
    tables = {
        PREDICTIONS: (evaluation.predictions, False),
        f"{CONFUSION}.csv": (counts, True),
        f"{NORMALIZED}.csv": (shares, True),
        f"{RELIABILITY}.csv": (evaluation.calibration.bins, False),
    }
    if evaluation.groups is not None and evaluation.gaps is not None:
        tables |= {GROUPS: (evaluation.groups, False), GAPS: (evaluation.gaps, False)}
    words: dict[str, Any] = {"title": _headline(evaluation), "subtitle": evaluation.provenance.about}
    try:
        if evaluation.groups is None and "groups" in _before(out):
            for name in (GROUPS, GAPS):
                (out / name).unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out)
        for name, (table, index) in tables.items():
            with written_whole(out / name) as file:
                table.to_csv(file, index=index, float_format="%.6g")
        if pictures:
            save(draw_confusion(counts, **words), out, CONFUSION)
            save(draw_confusion(counts, normalised=True, **words), out, NORMALIZED)
            if evaluation.calibration.defined:
                save(draw_reliability(evaluation.calibration, **words), out, RELIABILITY)
            else:
                for ending in ("png", "svg"):
                    (out / f"{RELIABILITY}.{ending}").unlink(missing_ok=True)
        write_json(out / METRICS_JSON, _storable(_to_dict(evaluation)))
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error


def _headline(evaluation: Evaluation) -> str:
    value, low, high = map(float, evaluation.metrics.loc["accuracy"].to_numpy())
    between = f" [{low:.1%}, {high:.1%}]" if not math.isnan(low) else ""
    line = f"{evaluation.provenance.title}: {value:.1%}{between} of {len(evaluation.predictions)}"
    if evaluation.folds is not None:
        mean, deviation = evaluation.over_folds()
        line += f", {mean:.1%} ± {deviation:.1%} over {len(evaluation.folds)} folds"
    return line


def _to_dict(evaluation: Evaluation) -> dict[str, Any]:
    origin, headline = evaluation.provenance, [metric.name for metric in headline_metrics()]
    dataset = origin.dataset
    optional: dict[str, Any] = {}
    if evaluation.folds is not None:
        over_folds = {
            name: dict(zip(("mean", "deviation"), evaluation.over_folds(name), strict=True)) for name in headline
        }
        optional = {"over_folds": over_folds, "folds": evaluation.folds.to_dict(orient="records")}
    if evaluation.groups is not None and evaluation.gaps is not None:
        optional["groups"] = evaluation.groups.to_dict(orient="records")
        optional["gaps"] = evaluation.gaps.to_dict(orient="records")
    if (agreement := evaluation.agreement) is not None:
        optional["weighted"] = {
            "sample_weight": AGREEMENT,
            "measures": agreement.metrics.to_dict(orient="index"),
            "per_class": agreement.per_class.to_dict(orient="index"),
            **{str(name): each for name, each in agreement.expected.to_dict(orient="index").items()},
        }
    if (missing := evaluation.missing) is not None:
        optional["missing"] = {
            "pictures": list(missing.pictures),
            "of": missing.total,
            "measures": missing.metrics.to_dict(orient="index"),
        }
    return {
        "run" if evaluation.folds is None else "cross_validation": origin.title,
        "dataset": dataset.name,
        "corpus": dataset.card["corpus"],
        "fingerprint": dataset.fingerprint,
        "model": origin.runs[0].card["model"] if origin.runs else None,
        "epoch_rule": origin.runs[0].card["epoch_rule"] if origin.runs else None,
        "insisted_on": list(origin.leakage.subjects),
        "insisted_on_pictures": origin.leakage.pictures,
        "about": origin.about,
        "neutral_access": origin.neutral,
        "protocol": origin.protocol.to_dict(),
        "subjects": sorted(evaluation.predictions["subject"].dropna().unique()),
        "bootstrap": {"over": "subjects", "repetitions": REPETITIONS, "seed": SEED, "level": LEVEL},
        "n": len(evaluation.predictions),
        **{name: evaluation.value(name) for name in headline},
        "chance": {"level": LEVEL, **evaluation.chance},
        "per_class": evaluation.per_class.to_dict(orient="index"),
        "classes": list(evaluation.classes),
        "confusion": evaluation.confusion.to_numpy().tolist(),
        "measures": evaluation.metrics.to_dict(orient="index"),
        "by_sequence": {rule: table.to_dict(orient="index") for rule, table in evaluation.by_sequence.items()},
        "calibration": {"ece_bins": BINS, **evaluation.calibration.to_dict()},
        **optional,
        **evaluation.analysis.to_dict(),
        "notes": list(evaluation.notes),
        "fer": fer_cli.__version__,
    }


def _storable(value: Any) -> Any:
    """The value with None for NaN, which JSON does not know, and plain numbers for numpy's."""
    if isinstance(value, Mapping):
        return {key: _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


class _Card(TypedDict):
    """The parts read of ``metrics.json``."""

    run: NotRequired[str | None]
    cross_validation: NotRequired[str | None]
    model: NotRequired[str | None]
    about: str
    corpus: str
    fingerprint: str
    classes: Annotated[list[str], Meta(min_length=1)]
    insisted_on: NotRequired[list[str] | None]
    insisted_on_pictures: NotRequired[int | None]


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation that ``fer evaluate`` wrote, opened for reading.

    ``predictions`` is indexed by ``file_name`` and has the columns ``subject, sequence, label, predicted``;
    ``card`` is ``metrics.json``.
    """

    path: Path
    name: str
    predictions: pd.DataFrame
    card: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> "StoredEvaluation":
        """Open the evaluation of the run in ``path``, or the one whose files are in ``path`` itself.

        Raises :class:`~fer_cli.errors.RunError` if there is none, or it is not what ``fer evaluate`` wrote.
        """
        path = Path(path)
        folder = next((each for each in (path, path / EVALUATION) if (each / PREDICTIONS).is_file()), None)
        if folder is None:
            if not path.is_dir():
                raise RunError(f"There is no folder {path}.")
            # Tests on other datasets have folders of their own.
            others = sorted(path.glob(f"{EVALUATION}/*/{PREDICTIONS}"))
            raise RunError(
                f"{path} has not been evaluated: there is no {PREDICTIONS} in it or in its {EVALUATION}/.",
                hint=f"Type {' or '.join(str(each.parent) for each in others[:3])} for its test on another dataset."
                if others
                else f"Type fer evaluate {path} first.",
            )
        return cls(path, *_read(folder, path))


def _read(folder: Path, path: Path) -> tuple[str, pd.DataFrame, dict[str, Any]]:
    try:
        if (folder / PREDICTIONS).stat().st_size > _MOST_BYTES:
            raise RunError(f"{folder / PREDICTIONS} is too large to be predictions: over {_MOST_BYTES // 1024**2} MiB.")
        card = read_document(folder / METRICS_JSON, _Card, RunError)
        name = str(card.get("run") or card.get("cross_validation") or path.resolve().name)
        card["classes"] = in_order(card["classes"])
        rows = pd.read_csv(
            folder / PREDICTIONS, usecols=_COLUMNS, dtype="string", keep_default_na=False, na_values=[""]
        )
    except (OSError, ValueError, UsageError, RunError) as error:
        raise RunError(
            f"The evaluation in {folder} is not what fer wrote, or an earlier version's: {error}",
            hint=f"Type fer evaluate {path} again.",
        ) from error
    if rows.empty:
        raise RunError(f"{folder / PREDICTIONS} has no predictions.", hint=f"Type fer evaluate {path} again.")
    named = set(rows["label"].fillna("(none)")) | set(rows["predicted"].fillna("(none)"))
    strange = sorted(named.difference(EXPRESSIONS))
    if strange:
        raise RunError(f"{folder / PREDICTIONS} has labels that mean nothing here: {', '.join(strange[:3])}.")
    if rows["file_name"].isna().any() or rows["file_name"].duplicated().any():
        raise RunError(f"{folder / PREDICTIONS} has rows without a file name, or with the same one twice.")
    return name, rows.set_index("file_name"), card
