"""A model to predict with, by whatever name a person has for it."""

from dataclasses import dataclass
from pathlib import Path

from fer_cli.models.choices import AUTO
from fer_cli.models.hub import load_published
from fer_cli.models.inference import Classifier
from fer_cli.models.onnx import with_runtime
from fer_cli.runs.run import CARD, UNFINISHED, Run


@dataclass(frozen=True)
class PredictionModel:
    """A model's ``name``, its ``classifier``, and its ``run``, where it has one.

    ``runtime`` names the inference backend and why it was chosen, ``labels`` how a published model's labels were
    mapped.
    """

    name: str
    classifier: Classifier
    run: Run | None
    runtime: str
    labels: str = ""


def open_model(source: str | Path, *, device: str = "auto", runtime: str = AUTO) -> PredictionModel:
    """The model of a run, of a folder that ``save_pretrained`` wrote, or of the Hugging Face Hub (``ORG/NAME``).

    Raises :class:`~fer_cli.errors.RunError` or :class:`~fer_cli.errors.ModelError` if it cannot be had,
    :class:`~fer_cli.errors.UsageError` if the device or the runtime cannot.
    """
    folder = Path(source)
    run, labels = None, ""
    if folder.is_dir() and not _only_a_model(folder):
        run = Run.open(folder)
        classifier = Classifier.load(folder, device)
    else:
        classifier, labels = load_published(source, device)
    classifier, about = with_runtime(classifier, runtime)
    return PredictionModel(str(source), classifier, run, about, labels)


def _only_a_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not any((folder / name).is_file() for name in (CARD, UNFINISHED))
