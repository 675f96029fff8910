"""The report as a page: its template filled with an evaluation."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import RunError
from fer_cli.evaluation.report import charts, sections
from fer_cli.evaluation.results import Evaluation
from fer_cli.files import write_text
from fer_cli.pages import environment
from fer_cli.runs.run import CARD, CROSS_VALIDATION, REPORT, Run

TEMPLATES = ("report.html.jinja", "report.css")


def write_report(evaluation: Evaluation) -> None:
    """Write ``report.html`` into the evaluation's folder: one file that needs no network and no script.

    Raises :class:`~fer_cli.errors.RunError` if it cannot be written.
    """
    try:
        write_text(evaluation.path / REPORT, render(evaluation))
    except OSError as error:
        raise RunError(f"{evaluation.path} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error


def render(evaluation: Evaluation) -> str:
    """The page as HTML. All that comes from a dataset, a run or a person is escaped."""
    origin, predictions = evaluation.provenance, evaluation.predictions
    dataset, leakage = origin.dataset, origin.leakage.notes
    album, crops = charts.Album(), Crops(dataset.path, kept_bytes=0)
    context = {
        "title": origin.title,
        "about": origin.about,
        "stamp": " ".join(leakage),
        "faces": len(predictions),
        "subjects": predictions["subject"].nunique(),
        "sequences": predictions[["subject", "sequence"]].dropna().drop_duplicates().shape[0],
        "corpus": dataset.protocol.corpus,
        "classes": evaluation.classes,
        "notes": [note for note in evaluation.notes if note not in leakage],
        "accuracy": evaluation.value(),
        **sections.metrics(evaluation),
        **sections.confusion(evaluation.confusion.to_numpy()),
        **sections.calibration(evaluation.calibration, folds=evaluation.folds is not None),
        **sections.groups(evaluation.groups, evaluation.gaps),
        **sections.misclassified(predictions, dataset, album, crops),
        **sections.analysis(evaluation.analysis, album, crops),
        "history": sections.history(origin.runs),
        "published": published_on(dataset.protocol.corpus),
        "commands": commands(origin.runs, origin.command) if origin.runs else [("Evaluation:", origin.command)],
        "facts": facts(origin.runs, dataset) if origin.runs else [*origin.facts, _tested(dataset)],
        "size": {name: getattr(charts, name.upper()) for name in ("width", "height", "left", "right", "top", "bottom")},
        "version": fer_cli.__version__,
    }
    context["contents"] = [entry for entry in sections.CONTENTS if entry[2] is None or context[entry[2]]]
    made = environment(
        "fer_cli.evaluation.report", TEMPLATES, number=sections.number, bound=sections.bound, points=sections.points
    )
    return made.get_template(TEMPLATES[0]).render(context).lstrip()


def commands(runs: Sequence[Run], command: str) -> list[tuple[str, str]]:
    """Lines that reproduce the result, each with what it does; ``command`` is the one that evaluated, if typed."""
    first, many = runs[0], len(runs) > 1
    card = first.path.parent / CROSS_VALIDATION if many else first.path / CARD
    again = shlex.join(["fer", "train", first.card["model"], "--config", str(card)]) + (" --cv" if many else "")
    lines = [("Training, as it was typed:", first.card["command"])] if first.card["command"] else []
    lines.append(("Training again, with the same recipe and seed:", again))
    folder = first.path.parent if many else first.path
    return [*lines, ("Evaluation:", command or shlex.join(["fer", "evaluate", str(folder)]))]


def facts(runs: Sequence[Run], dataset: PreparedDataset) -> list[tuple[str, str]]:
    """What the result depends on, by name: model, seed, data, versions, recipe."""
    card = runs[0].card
    recipe = card["recipe"]
    kept = "C" if "C" in card.get("best", {}) else "epoch"
    versions = ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items())
    facts = [
        ("model", card["model"]),
        ("seed", recipe.get("seed")),
        ("fold", ", ".join(str(run.fold) for run in runs)),
        (f"{kept} kept", ", ".join(str(run.card.get("best", {}).get(kept, "–")) for run in runs)),
        ("trained on", f"{card['dataset'].get('name')}, fingerprint {card['dataset'].get('fingerprint')}"),
        _tested(dataset),
        ("device", f"{card.get('device')}, {card.get('precision')}"),
        ("versions", versions),
        ("recipe", ", ".join(f"{name} {_text(value)}" for name, value in recipe.items() if value not in (None, ""))),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _tested(dataset: PreparedDataset) -> tuple[str, str]:
    return "tested on", f"{dataset.name}, fingerprint {dataset.fingerprint}"


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


#: Where the protocol beyond the classes is not recorded.
NOT_RECORDED = "not recorded"


class Published(NamedTuple):
    """One result: ``accuracy`` in percent on ``corpus``, under ``protocol`` as far as it is recorded.

    ``checked`` says whether it was compared with the paper: ``yes``, ``abstract`` (with its abstract alone), or
    ``no`` (it was taken from others' tables).
    """

    method: str
    corpus: str
    accuracy: str
    protocol: str
    checked: str


PUBLISHED = (
    Published("ViT-SE (2021)", "CK+", "99.80", "7 classes", "yes"),
    Published("SD-CNN, self-difference", "CK+", "99.7", NOT_RECORDED, "abstract"),
    Published("FAN (2019)", "CK+", "99.69", NOT_RECORDED, "yes"),
    Published("DDL", "CK+", "99.16", NOT_RECORDED, "no"),
    Published("FN2EN (2017)", "CK+", "98.6", "6 classes", "no"),
    Published("FN2EN (2017)", "CK+", "96.8", "8 classes", "no"),
    Published("PHRNN-MSCNN (2017)", "CK+", "98.50", NOT_RECORDED, "yes"),
    Published("Kuo et al. (2018)", "CK+", "98.47", NOT_RECORDED, "yes"),
    Published("IDFERM", "CK+", "98.35", NOT_RECORDED, "no"),
    Published("TDGAN", "CK+", "97.53", NOT_RECORDED, "no"),
    Published("DeRL (2018)", "CK+", "97.30", "7 classes", "yes"),
    Published("DDL", "MMI", "83.67", NOT_RECORDED, "no"),
    Published("IDFERM", "MMI", "81.13", NOT_RECORDED, "no"),
    Published("(N+M) tuplet metric learning (2017)", "MMI", "78.53", NOT_RECORDED, "yes"),
    Published("DLP-CNN", "MMI", "78.46", NOT_RECORDED, "yes"),
    Published("DeRL (2018)", "MMI", "73.23", NOT_RECORDED, "yes"),
    Published("Kuo et al. (2018)", "Oulu-CASIA", "91.67", NOT_RECORDED, "yes"),
    Published("SD-CNN, self-difference", "Oulu-CASIA", "91.3", NOT_RECORDED, "abstract"),
    Published("DDL", "Oulu-CASIA", "88.26", NOT_RECORDED, "no"),
    Published("DeRL (2018)", "Oulu-CASIA", "88.0", NOT_RECORDED, "no"),
    Published("FN2EN (2017)", "Oulu-CASIA", "87.7", NOT_RECORDED, "no"),
    Published("ViT (2021, plain)", "JAFFE", "94.83", NOT_RECORDED, "no"),
    Published("ViT-SE (2021)", "RAF-DB", "87.22", NOT_RECORDED, "no"),
    Published("ViT-SE (2021)", "SFEW", "54.29", NOT_RECORDED, "no"),
)


def published_on(corpus: str) -> list[Published]:
    """Every published result, those on ``corpus`` (a protocol's name of it) first."""
    return sorted(PUBLISHED, key=lambda row: not corpus.startswith(row.corpus))
