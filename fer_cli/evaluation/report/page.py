"""The page as a file: its template filled with what an evaluation holds."""

from collections.abc import Sequence
from importlib import resources

from jinja2 import DictLoader, Environment, StrictUndefined

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import RunError
from fer_cli.evaluation.known import Known
from fer_cli.evaluation.published import beside
from fer_cli.evaluation.report import charts, sections
from fer_cli.evaluation.report.pictures import Album
from fer_cli.evaluation.report.repeat import commands, facts
from fer_cli.evaluation.results import REPORT, Evaluation
from fer_cli.files import write_text
from fer_cli.runs.run import Run

TEMPLATES = ("report.html.jinja", "charts.html.jinja", "report.css")


def write_report(
    evaluation: Evaluation,
    runs: Sequence[Run],
    dataset: PreparedDataset,
    *,
    title: str,
    known: Known,
    command: str = "",
) -> None:
    """Write ``report.html`` into the evaluation's folder: one file that needs no network and no script.

    ``runs`` are those judged, ``dataset`` the one that they were tested on, ``command`` what evaluates them so.
    ``known`` is what a model had seen of it, which the page says before all else. Raises
    :class:`~fer_cli.errors.RunError` if it cannot be written.
    """
    page = render(evaluation, runs, dataset, title=title, known=known, command=command)
    try:
        write_text(evaluation.path / REPORT, page)
    except OSError as error:
        raise RunError(f"{evaluation.path} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error


def render(
    evaluation: Evaluation,
    runs: Sequence[Run],
    dataset: PreparedDataset,
    *,
    title: str,
    known: Known,
    command: str = "",
) -> str:
    """The page as HTML. All that comes from a dataset, a run or a person is escaped."""
    album, crops = Album(), Crops(dataset.path, kept_bytes=0)
    predictions = evaluation.predictions
    context = {
        "title": title,
        "about": evaluation.about,
        "stamp": " ".join(known.notes),
        "faces": len(predictions),
        "subjects": predictions["subject"].nunique(),
        "sequences": predictions[["subject", "sequence"]].dropna().drop_duplicates().shape[0],
        "corpus": dataset.protocol.corpus,
        "classes": evaluation.scores.classes,
        "notes": [note for note in evaluation.notes if note not in known.notes],
        **sections.figures(evaluation),
        **sections.confusion(evaluation.scores),
        **sections.calibration(evaluation.calibration, folds=evaluation.folds is not None),
        **sections.groups(evaluation.groups, evaluation.gaps),
        **sections.mistakes(predictions, dataset, album, crops),
        **sections.insight(evaluation.insight, album, crops),
        "course": sections.course(runs),
        "published": beside(dataset.protocol.corpus),
        "commands": commands(runs, command),
        "facts": facts(runs, dataset),
        "size": {
            "width": charts.WIDTH,
            "height": charts.HEIGHT,
            "left": charts.LEFT,
            "right": charts.RIGHT,
            "top": charts.TOP,
            "bottom": charts.BOTTOM,
        },
        "version": fer_cli.__version__,
    }
    context["contents"] = [entry for entry in sections.CONTENTS if entry[2] is None or context[entry[2]]]
    return _environment().get_template(TEMPLATES[0]).render(context).lstrip()


def _environment() -> Environment:
    folder = resources.files("fer_cli.evaluation.report")
    environment = Environment(
        loader=DictLoader({name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES}),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(measure=sections.measure, bound=sections.bound, points=sections.points)
    return environment
