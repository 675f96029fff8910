"""Model card of a run: its README.md, made from run.json, the evaluations and the dataset's card.

In the Hugging Face Hub's format: metadata in YAML, then Markdown. What it tells follows Mitchell et al., *Model Cards
for Model Reporting*, 2019, arXiv 1810.03993. No subject is named in it and no folder of the machine it was made on.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined, Template
from msgspec import Meta

from fer_cli.documents import read_document
from fer_cli.errors import DatasetError, FerError, RunError
from fer_cli.export.provenance import corpora_behind, typed, weights_behind
from fer_cli.files import as_text, read_bytes, write_text
from fer_cli.models.base import TrainedModel
from fer_cli.models.loading import load_own
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.runs.run import EVALUATION, Run

README = "README.md"
METRICS = "metrics.json"
#: The licence of weights for which nobody chose one.
UNSTATED = "other"
#: The metrics in the card's table: their names in ``metrics.json``, and what the Hub calls them.
SHOWN = {"accuracy": "accuracy", "unweighted_average_recall": "recall", "macro_f1": "f1"}
#: A class or a test of fewer faces, and a test of fewer people, is too small for a conclusion.
FEW_FACES, FEW_PEOPLE = 30, 10
#: Notes of an evaluation that are taken over: others may name subjects.
_PLAIN_NOTES = re.compile(
    r"Excluded: |No sample shows |Not one mistake: |One subject only: |Of \d+ samples the subject "
)
#: The line that marks a card as written here, with the digest of all other lines.
_MARK = re.compile(r"<!-- Written by fer [\w.+-]+; digest ([0-9a-f]{64})\. -->\n")
#: What a head of each of :data:`fer_cli.models.FEATURES` sees.
_FEATURES = {
    "both": "a head that sees the difference and the face's own embedding",
    "difference": "a head that sees the difference alone",
    "target": "a head that sees the face's own embedding alone",
}
#: The settings of a training that a reader asks for first.
_SETTINGS = {
    "optimizer": "{}",
    "lr": "peak learning rate {}",
    "schedule": "schedule {}",
    "batch_size": "batches of {}",
    "epochs": "at most {} epochs",
    "augment": "augmentation {}",
}
_MOST_BYTES = 1_000_000


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
    ece_after: _Value | None


class _Group(TypedDict):
    attribute: str
    group: str
    n: int
    subjects: int
    small: bool
    measure: str
    value: float | None
    low: float | None
    high: float | None


class _Bootstrap(TypedDict):
    repetitions: int
    seed: int
    level: float


class Metrics(TypedDict):
    """What is read of the ``metrics.json`` of an evaluation."""

    corpus: str
    dataset: NotRequired[str]
    about: str
    n: Annotated[int, Meta(ge=1)]
    measures: dict[str, _Value]
    per_class: dict[str, _PerClass]
    calibration: _Calibration
    classes: NotRequired[list[str]]
    confusion: NotRequired[list[list[int]]]
    subjects: NotRequired[list[str]]
    groups: NotRequired[list[_Group]]
    bootstrap: NotRequired[_Bootstrap]
    notes: NotRequired[list[str]]
    fingerprint: NotRequired[str]


class _Counts(TypedDict):
    crops: NotRequired[int]
    subjects: NotRequired[int]
    per_class: NotRequired[dict[str, int]]


class _DatasetCard(TypedDict):
    """What is read of the ``dataset.json`` of the training data."""

    counts: _Counts


@dataclass(frozen=True)
class Publication:
    """How weights are published: the ``repository`` (``ORG/NAME``), their ``licence``, and who gave ``permission``.

    ``licence`` is an identifier of the Hub's, such as ``cc-by-nc-4.0``; :data:`UNSTATED` grants nothing.
    ``temperature`` is that of the softmax which the weights are published with, None the model's own; ``precision`` is
    how they are stored; ``notes`` is text added at the end.
    """

    repository: str = ""
    licence: str = UNSTATED
    permission: str = ""
    precision: str = "float32"
    temperature: float | None = None
    notes: str = ""


UNPUBLISHED = Publication()


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics of the evaluation in ``folder``; raises :class:`~fer_cli.errors.RunError` if there is none."""
    if not (folder / METRICS).is_file():
        raise RunError(
            f"{folder} is no evaluation: it has no {METRICS}.", hint="Type fer evaluate RUN first, or --out FOLDER."
        )
    return read_document(folder / METRICS, Metrics, RunError)


def evaluations(run: Run) -> list[dict[str, Any]]:
    """The metrics of the run's own test, then of its other evaluations in the run's folder.

    Those on the validation fold, which chose the epoch, are not among them. Raises as :func:`read_metrics` does.
    """
    home = run.path / EVALUATION
    others = [
        path.parent for path in sorted(home.glob(f"*/{METRICS}")) if not re.search(r"(^|-)val$", path.parent.name)
    ]
    return [read_metrics(folder) for folder in (home, *others)]


def refresh(run: Run) -> str:
    """Write the card of ``run`` into its folder, and say what became of it.

    A README.md that a person wrote or edited is kept. A packaged folder is final: there is nothing to say.
    """
    path = run.path / README
    if "scores" in run.card:
        return ""
    if path.exists() and not is_own(path):
        return f"{path} is kept: a person wrote or edited it"
    if not (run.path / EVALUATION / METRICS).is_file():
        return f"none yet: fer evaluate {run.path} tests the run on its own fold and writes it"
    try:
        write_text(path, model_card(run, evaluations(run)))
    except FerError as error:
        return f"{path} is not written: {error.message}"
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    return str(path)


def is_own(path: Path) -> bool:
    """Whether the file at ``path`` is a card as it was written here, which nobody has edited."""
    try:
        text = read_bytes(path, _MOST_BYTES).decode()
    except (OSError, ValueError):
        return False
    found = _MARK.search(text)
    return found is not None and _digest(_MARK.sub("", text, count=1)) == found[1]


def model_card(run: Run, measured: Sequence[Mapping[str, Any]], publication: Publication = UNPUBLISHED) -> str:
    """The text of the card, from the run and the metrics of its own evaluation and of further ones.

    Raises :class:`~fer_cli.errors.ModelError` if the run's model is not what training saved.
    """
    card, own = run.card, measured[0]
    model = load_own(run.path)
    tests = [_test(each, paired=model.paired) for each in measured]
    text = _template().render(
        metadata=_metadata(run, measured, publication),
        run=run,
        card=card,
        title=publication.repository or f"{card['model']} on {card['protocol']['corpus']}",
        about=str(import_module(type(model).__module__).__doc__).partition("\n")[0],
        network=_network(model),
        publication=publication,
        unstated=UNSTATED,
        paired=model.paired,
        preprocessing=Preprocessing.load(run.path),
        corpora=corpora_behind(run),
        weights=weights_behind(run),
        protocol=run.protocol.name,
        folds=run.protocol.folds,
        counts=_counts(run),
        sides=_sides(card),
        tests=tests,
        own=tests[0],
        calibration=own["calibration"],
        temperature=model.temperature if publication.temperature is None else publication.temperature,
        shown=[name.replace("_", " ") for name in SHOWN],
        groups=_groups(measured),
        limits=_limits(tests[0], run),
        command=typed(card["command"]),
        bootstrap=own.get("bootstrap"),
        intervals=any(value and value["low"] is not None for test in tests for value in test["values"]),
        procedure=_procedure(card),
        seed=card["recipe"].get("seed"),
    )
    mark = f"<!-- Written by fer {card['versions']['fer']}; digest {_digest(text)}. -->\n"
    head, fence, body = text.partition("\n---\n")
    return f"{head}{fence}{mark}{body}"


def _network(model: TrainedModel) -> str:
    """The choices in its configuration that a reader asks for, and its number of parameters."""
    config, numbers = model.config.to_dict(), sum(tensor.numel() for tensor in model.parameters())
    chosen = [f"{name} {config[name]}" for name in ("backbone", "pooling") if name in config]
    chosen += [_FEATURES[config["features"]]] if "features" in config else []
    chosen += ["encoder frozen"] if config.get("tune_encoder") is False else []
    return ", ".join([*chosen, f"{numbers:,} parameters"])


def _procedure(card: Mapping[str, Any]) -> str:
    """How it was optimised; nothing of a run that was not. The device is not told: it may have somebody's name."""
    recipe = card["recipe"]
    settings = [title.format(recipe[name]) for name, title in _SETTINGS.items() if recipe.get(name) is not None]
    return ", ".join(settings)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _template() -> Template:
    made = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    made.filters.update(cell=_cell, interval=interval)
    text = (resources.files(__package__) / "card.md.jinja").read_text(encoding="utf-8")
    return made.from_string(text)


def _cell(value: object) -> str:
    """Text for a table's cell or a sentence: on one line, and nothing in it is markup."""
    line = " ".join(as_text(value).split())
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", line)


def interval(measure: Mapping[str, float | None] | None) -> str:
    """A value with its interval, ``0.856 [0.843, 0.868]``; a dash where there is none."""
    if measure is None or measure["value"] is None:
        return "–"
    low, high = measure["low"], measure["high"]
    # One of no width only says that no resample differs, as that of a class of one face.
    return f"{measure['value']:.3f}" + (
        "" if low is None or high is None or low == high else f" [{low:.3f}, {high:.3f}]"
    )


def _metadata(run: Run, measured: Sequence[Mapping[str, Any]], publication: Publication) -> str:
    """The card's metadata as YAML, by the Hub's own class."""
    title = publication.repository.rpartition("/")[2] or run.name
    results = [
        EvalResult("image-classification", each["corpus"], _dataset_name(each), kind, round(value, 4), metric_name=name)
        for each in measured
        for name, kind in SHOWN.items()
        if (value := (each["measures"].get(name) or {"value": None})["value"]) is not None
    ]
    stated = publication.licence != UNSTATED
    data = ModelCardData(
        license=publication.licence,
        license_name=None if stated else "not-stated",
        library_name="fer-cli",
        pipeline_tag="image-classification",
        tags=["facial-expression-recognition", run.card["model"]],
        metrics=sorted(set(SHOWN.values())),
        model_name=title,
        eval_results=results,
    )
    return data.to_yaml(line_break="\n")


def _dataset_name(metrics: Mapping[str, Any]) -> str:
    return " ".join(metrics["about"].partition(";")[0].split())[:200]


def _counts(run: Run) -> Mapping[str, Any]:
    """The counts of the dataset's card; none where the dataset is no longer where it was."""
    path = Path(run.card["dataset"]["path"])
    if not path.is_absolute():
        return {}
    try:
        return read_document(path / "dataset.json", _DatasetCard, DatasetError)["counts"]
    except DatasetError:
        return {}


def _sides(card: Mapping[str, Any]) -> list[tuple[str, int | None, int]]:
    """Each side's name, its number of faces and of people."""
    counts = card.get("counts") or {}
    titles = {"train": "training", "val": "validation", "test": "test"}
    return [(title, counts.get(side), len(card["subjects"][side])) for side, title in titles.items()]


def _test(metrics: Mapping[str, Any], *, paired: bool) -> dict[str, Any]:
    """A test as the card's tables show it."""
    supports = {name: int(row["support"]) for name, row in metrics["per_class"].items()}
    return {
        **metrics,
        "access": "given" if paired else "none",
        "people": len(metrics["subjects"]) if metrics.get("subjects") else None,
        "values": [metrics["measures"].get(name) for name in SHOWN],
        "supports": supports,
        "majority": max(supports.values()) / metrics["n"],
        "confused": _confused(metrics),
        "remarks": [note for note in metrics.get("notes", []) if _PLAIN_NOTES.match(note)],
    }


def _confused(metrics: Mapping[str, Any]) -> list[tuple[str, str, int, int]]:
    """The three most frequent mistakes: true class, predicted class, how many, of how many."""
    classes, counts = metrics.get("classes", []), metrics.get("confusion", [])
    if len(counts) != len(classes) or any(len(row) != len(classes) for row in counts):
        return []
    found = [
        (true, predicted, counts[i][j], sum(counts[i]))
        for i, true in enumerate(classes)
        for j, predicted in enumerate(classes)
        if i != j and counts[i][j]
    ]
    return sorted(found, key=lambda each: -each[2])[:3]


def _groups(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a group of each test that was evaluated by groups."""
    rows: dict[tuple[int, str, str], dict[str, Any]] = {}
    for test, each in enumerate(measured, start=1):
        for row in each.get("groups", []):
            key = (test, row["attribute"], row["group"])
            rows.setdefault(key, {**row, "test": test, "values": {}})["values"][row["measure"]] = row
    return [{**row, "values": [row["values"].get(name) for name in SHOWN]} for row in rows.values()]


def _limits(own: Mapping[str, Any], run: Run) -> list[str]:
    """What the numbers do not show, as far as they say so themselves."""
    few = [f"{name} ({count})" for name, count in own["supports"].items() if 0 < count < FEW_FACES]
    found = (
        [f"Of {', '.join(few)} there are fewer than {FEW_FACES} test faces: their figures say little."] if few else []
    )
    absent = [name for name, count in own["supports"].items() if not count]
    if absent:
        found.append(f"No test face shows {' or '.join(absent)}: how well that is recognised is not known.")
    people = own["people"]
    if people is not None and people < FEW_PEOPLE:
        found.append(f"The test shows {people} {'person' if people == 1 else 'people'}: other people may do otherwise.")
    if run.protocol.folds:
        found.append(
            f"One fold of {run.protocol.folds} was tested. fer train … --cv tests every fold once, and tells how far "
            "the figures depend on the fold."
        )
    epochs = run.card["recipe"].get("epochs")
    if epochs is not None and (run.card.get("best") or {}).get("epoch") == epochs:
        found.append(f"The last of {epochs} epochs was the best: a longer training may come to other figures.")
    if not own.get("groups"):
        found.append(
            "It was not evaluated by age, sex, skin colour or any other group: nothing is known of differences between "
            "them (fer evaluate RUN --group-by COLUMN --subjects TABLE evaluates them)."
        )
    return found
