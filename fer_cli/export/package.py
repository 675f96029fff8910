"""The packaged form of a run: what is needed to use it, its card, and no name of a subject or of a folder."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from fer_cli.documents import read_document, write_seen
from fer_cli.embeddings.neutral import FILE as NEUTRAL_MEAN
from fer_cli.errors import ModelError, RunError, UsageError
from fer_cli.export.card import (
    README,
    UNPUBLISHED,
    Publication,
    evaluations,
    is_own,
    model_card,
    read_metrics,
)
from fer_cli.export.provenance import typed, without_folders
from fer_cli.files import read_bytes, write_json, write_text
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import CONFIG, read_weights, require_finite, save_tensors
from fer_cli.models.preprocessing import FILE as PREPROCESSING
from fer_cli.pretrained import write_checksums
from fer_cli.runs.run import ANYBODYS, CARD, WEIGHTS, Run, pseudonyms, seen_behind

#: The longest text that is added to a card, or stands in its place, in bytes.
MAX_NOTES = 100_000
#: The entries of ``run.json`` that are published as they are.
_PUBLIC = ("version", "model", "fold", "classes", "protocol", "counts", "epoch_rule", "best", "precision", "versions")
#: Those of a further dataset.
_PUBLIC_DATA = ("name", "corpus", "fingerprint", "count")
#: How far a probability may move by the rounding of the weights to float16.
ROUNDING = 0.02


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


def package(
    run: Run,
    out: Path,
    *,
    scores: Sequence[Path] = (),
    notes: Path | None = None,
    exact: bool = False,
    publication: Publication = UNPUBLISHED,
) -> Packaged:
    """Write what is needed to use and evaluate ``run`` into the new folder ``out``.

    Weights are stored in float16; the softmax's temperature is the one that the run's own evaluation fitted on the
    validation faces. ``exact`` keeps the run's own weights and temperature, so that its predictions stay as they are.
    Subjects are named by :func:`~fer_cli.runs.run.pseudonym`. ``scores`` are the folders of
    further evaluations, which the card reports besides those in the run; ``notes`` is a text file that is added to the
    card: licences, provenance, limits. A README.md that a person wrote in the run takes the card's place. Subjects of
    :data:`ANYBODYS` are not listed. Raises
    :class:`~fer_cli.errors.UsageError` if ``out`` is there, :class:`~fer_cli.errors.RunError` if an evaluation is not,
    :class:`~fer_cli.errors.ModelError` if the weights do not bear float16.
    """
    if out.exists():
        raise UsageError(f"{out} is there already.", hint="Type --out FOLDER with the name of a new folder.")
    measured = [*evaluations(run), *map(read_metrics, scores)]
    tensors = read_weights(run.path / WEIGHTS)
    if not exact:
        tensors = {name: each.half() if each.is_floating_point() else each for name, each in tensors.items()}
        require_finite(tensors, f"{run.path / WEIGHTS} in float16")
    config = read_document(run.path / CONFIG, dict[str, Any], ModelError)
    config.pop("_name_or_path", None)
    fitted = measured[0]["calibration"]
    temperature = config.get("softmax_temperature", 1.0)
    if not exact:
        # The evaluation saw probabilities that an earlier temperature had made already.
        temperature *= fitted["temperature"] or 1.0
    seen = pseudonyms({name: who for name, who in seen_behind(run.path).items() if name != ANYBODYS})
    publication = replace(
        publication,
        precision="float32" if exact else "float16, computed with in float32",
        temperature=temperature,
        notes="" if notes is None else _text(notes, "--notes "),
    )
    card = _public_card(run, seen, [_score(each) for each in measured])
    readme = _readme(run) or model_card(run, measured, publication)
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
        write_text(made / README, readme)
        write_checksums(made)
        rounding = _rounding(run.path, made, temperature)
        if not rounding <= (0 if exact else ROUNDING):
            raise ModelError(f"The weights of {run.path} do not bear float16: a probability moves by {rounding:.2g}.")
        made.replace(out)
    size = sum(path.stat().st_size for path in out.iterdir())
    return Packaged(out, size, temperature, fitted["fitted_on"], rounding)


def _text(path: Path, option: str = "") -> str:
    try:
        return read_bytes(path, MAX_NOTES).decode().strip()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{option}{path} cannot be read: {error}.", hint="It has to be a text file in UTF-8."
        ) from error


def _readme(run: Run) -> str | None:
    """What a person wrote in the place of the card; None where nobody did.

    Raises :class:`~fer_cli.errors.RunError` if it names a subject, or the folder that it lies in.
    """
    path = run.path / README
    if not path.is_file() or is_own(path):
        return None
    text = _text(path) + "\n"
    subjects = set().union(*run.card["subjects"].values(), *seen_behind(run.path).values())
    words = set(re.findall(r"[\w.-]+", text))
    # A number, or a word of three letters, may stand there for anything.
    named = sorted(name for name in subjects & words if len(name) > 3 and not name.isdigit())
    if named or str(run.path.resolve()) in text:
        what = f"names the subject {named[0]}" if named else "names the folder that it lies in"
        raise RunError(f"{path} {what}.", hint="Take that out of it, or remove the file: fer writes another.")
    return text


def _public_card(run: Run, seen: dict[str, list[str]], scores: list[dict[str, Any]]) -> dict[str, Any]:
    """What is published of ``run.json``, with the scores."""
    card, corpus = run.card, run.card["dataset"].get("corpus", "")
    return {
        **{name: card[name] for name in _PUBLIC if name in card},
        "command": typed(card["command"]),
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
    return [without_folders(each) for each in value] if isinstance(value, list) else without_folders(value)


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
