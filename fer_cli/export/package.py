"""The packaged form of a run: half the size, calibrated, and without the names of subjects and of folders."""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
import torch
from msgspec import Meta

from fer_cli.documents import read_document, write_seen
from fer_cli.embeddings.neutral import FILE as NEUTRAL_MEAN
from fer_cli.errors import ModelError, RunError, UsageError
from fer_cli.files import read_bytes, write_json, write_text
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import CONFIG, read_weights, require_finite, save_tensors
from fer_cli.models.preprocessing import FILE as PREPROCESSING
from fer_cli.pretrained import write_checksums
from fer_cli.runs.run import ANYBODYS, CARD, EVALUATION, WEIGHTS, Run, pseudonyms, seen_behind

README = "README.md"
#: The longest text that is added to a card, in bytes.
MAX_NOTES = 100_000
#: The entries of ``run.json`` that are published as they are.
_PUBLIC = ("version", "model", "fold", "classes", "protocol", "counts", "epoch_rule", "best", "precision", "versions")
#: Those of a further dataset.
_PUBLIC_DATA = ("name", "corpus", "fingerprint", "count")
#: How far a probability may move by the rounding of the weights to float16.
ROUNDING = 0.02
_METRICS = "metrics.json"
#: The metrics in the card's table.
_SHOWN = ("accuracy", "unweighted_average_recall", "macro_f1")


class _Value(TypedDict):
    value: float | None
    low: float | None
    high: float | None


class _PerClass(TypedDict):
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    support: float


class _Calibration(TypedDict):
    temperature: Annotated[float, Meta(gt=0)] | None
    fitted_on: int
    ece: _Value
    ece_after: _Value


class _Metrics(TypedDict):
    """What is read of the ``metrics.json`` of an evaluation."""

    corpus: str
    dataset: NotRequired[str]
    about: str
    n: Annotated[int, Meta(ge=1)]
    measures: dict[str, _Value]
    per_class: dict[str, _PerClass]
    calibration: _Calibration


@dataclass(frozen=True)
class Packaged:
    """A packaged folder: its ``path``, the ``size`` of all its files in bytes, and the ``temperature`` stored in it.

    ``fitted_on`` validation faces gave the temperature. ``rounding`` is the largest difference of a probability, on
    random pictures, that float16 makes.
    """

    path: Path
    size: int
    temperature: float
    fitted_on: int
    rounding: float


def package(run: Run, out: Path, *, scores: Sequence[Path] = (), notes: Path | None = None) -> Packaged:
    """Write what is needed to use and evaluate ``run`` into the new folder ``out``.

    Weights are stored in float16; the softmax's temperature is the one that the run's own evaluation fitted on the
    validation faces. Subjects are named by :func:`~fer_cli.runs.run.pseudonym`. ``scores`` are the folders of
    further evaluations, which the card reports besides the run's own; ``notes`` is a text file that is added to the
    card: licences, provenance, limits. Subjects of :data:`ANYBODYS` are not listed. Raises
    :class:`~fer_cli.errors.UsageError` if ``out`` is there, :class:`~fer_cli.errors.RunError` if an evaluation is not,
    :class:`~fer_cli.errors.ModelError` if the weights do not bear float16.
    """
    if out.exists():
        raise UsageError(f"{out} is there already.", hint="Type --out FOLDER with the name of a new folder.")
    own, *others = (_metrics(folder) for folder in (run.path / EVALUATION, *scores))
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in read_weights(run.path / WEIGHTS).items()
    }
    require_finite(tensors, f"{run.path / WEIGHTS} in float16")
    text = "" if notes is None else "\n" + _notes(notes)
    config = read_document(run.path / CONFIG, dict[str, Any], ModelError)
    config.pop("_name_or_path", None)
    # The evaluation saw probabilities that an earlier temperature had made already.
    temperature = config.get("softmax_temperature", 1.0) * (own["calibration"]["temperature"] or 1.0)
    seen = pseudonyms({name: who for name, who in seen_behind(run.path).items() if name != ANYBODYS})
    card = _card(run, seen, [_score(each) for each in (own, *others)])
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".package-", dir=out.parent) as folder:
        made = Path(folder, "made")
        made.mkdir()
        write_json(made / CONFIG, {**config, "softmax_temperature": temperature})
        write_json(made / CARD, card)
        save_tensors(tensors, made / WEIGHTS, {"format": "pt"})
        write_seen(made / WEIGHTS, seen)
        for name in (PREPROCESSING, NEUTRAL_MEAN):
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, made / name)
        write_text(made / README, _readme(card, own, others, temperature) + text)
        write_checksums(made)
        rounding = _rounding(run.path, made, temperature)
        if not rounding <= ROUNDING:
            raise ModelError(f"The weights of {run.path} do not bear float16: a probability moves by {rounding:.2g}.")
        made.replace(out)
    size = sum(path.stat().st_size for path in out.iterdir())
    return Packaged(out, size, temperature, own["calibration"]["fitted_on"], rounding)


def _notes(path: Path) -> str:
    try:
        return read_bytes(path, MAX_NOTES).decode().strip() + "\n"
    except (OSError, ValueError) as error:
        raise UsageError(f"--notes {path} cannot be read: {error}.", hint="Type a text file in UTF-8.") from error


def _metrics(folder: Path) -> dict[str, Any]:
    if not (folder / _METRICS).is_file():
        raise RunError(
            f"{folder} is no evaluation: it has no {_METRICS}.", hint="Type fer evaluate RUN first, or --out FOLDER."
        )
    return read_document(folder / _METRICS, _Metrics, RunError)


def _card(run: Run, seen: dict[str, list[str]], scores: list[dict[str, Any]]) -> dict[str, Any]:
    """What is published of ``run.json``, with the scores."""
    card, corpus = run.card, run.card["dataset"].get("corpus", "")
    return {
        **{name: card[name] for name in _PUBLIC if name in card},
        "command": shlex.join(map(_without_folders, shlex.split(card["command"]))),
        "recipe": {name: _without_folders(value) for name, value in card["recipe"].items()},
        "dataset": {
            "path": f"{corpus} (not in the package)",
            "name": card["dataset"].get("name", corpus),
            "corpus": corpus,
            "fingerprint": card["dataset"]["fingerprint"],
        },
        "extra_data": [
            {name: each[name] for name in _PUBLIC_DATA if name in each} for each in card.get("extra_data", [])
        ],
        **({"unlisted": card["unlisted"]} if "unlisted" in card else {}),
        # Whom the weights have seen says "seen"; who stood on which side concerns nobody else.
        "subjects": {"train": [], "val": [], "test": []},
        "seen": seen,
        "scores": scores,
    }


def _without_folders(value: Any) -> Any:
    """The value; of an absolute path, or an option's, the last part."""
    if not isinstance(value, str):
        return value
    name, equals, rest = value.rpartition("=")
    return f"{name}{equals}{Path(rest).name}" if Path(rest).is_absolute() else value


def _score(metrics: dict[str, Any]) -> dict[str, Any]:
    accuracy = metrics["measures"]["accuracy"]
    name = {"dataset": metrics["dataset"]} if metrics["corpus"] == ANYBODYS and "dataset" in metrics else {}
    return {"corpus": metrics["corpus"], **name, "about": metrics["about"], "n": metrics["n"], **accuracy}


def _rounding(folder: Path, packaged: Path, temperature: float) -> float:
    """The largest difference of a probability between the two folders' models, on random pictures."""
    exact, rounded = (Classifier.load(each, "cpu") for each in (folder, packaged))
    exact.temperature = temperature
    size = exact.preprocessing.size
    noise = torch.randint(0, 256, (2, 8, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = [each.probabilities(noise[0], noise[1] if each.paired else None) for each in (exact, rounded)]
    return float(np.abs(found[0] - found[1]).max())


def _readme(card: dict[str, Any], own: dict[str, Any], others: list[dict[str, Any]], temperature: float) -> str:
    seen = ", ".join(f"{corpus} ({len(names) or 'not named'})" for corpus, names in card["seen"].items())
    calibration = own["calibration"]
    lines = [
        "# Model card",
        "",
        f"- Classes: {', '.join(card['classes'])}.",
        f"- Trained by `{card['command']}` on {card['protocol'].get('name', card['dataset']['corpus'])}.",
        *(f"- Trained on {each['count']} faces of {each['name']} too." for each in card["extra_data"]),
        f"- Subjects that the weights have seen, by corpus: {seen or 'none'}. Their names are replaced by hashes.",
        f"- Weights in float16, computed with in float32. Temperature {temperature:.3f}, fitted on "
        f"{calibration['fitted_on']} validation faces.",
        f"- fer {card['versions']['fer']}, fingerprint of the training data {card['dataset']['fingerprint'][:16]}.",
        "",
        "| tested on | faces | accuracy | average recall | macro-F1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in (own, *others):
        cells = (_interval(each["measures"].get(name)) for name in _SHOWN)
        lines.append(f"| {each['corpus']}: {each['about']} | {each['n']} | {' | '.join(cells)} |")
    for each in (own, *others):
        lines += ["", f"Recall by class, {each['corpus']}:", "", "| class | recall | faces |", "| --- | --- | --- |"]
        for name, row in each["per_class"].items():
            recall = {"value": row["recall"], "low": row["recall_low"], "high": row["recall_high"]}
            lines.append(f"| {name} | {_interval(recall)} | {row['support']:.0f} |")
    return "\n".join(lines) + "\n"


def _interval(measure: dict[str, float | None] | None) -> str:
    if measure is None or measure["value"] is None:
        return "–"
    between = "" if None in (measure["low"], measure["high"]) else f" [{measure['low']:.3f}, {measure['high']:.3f}]"
    return f"{measure['value']:.3f}{between}"
