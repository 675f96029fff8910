"""Predictions as rows of a table, and the CSV file they go to."""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from fer_cli.errors import FerError
from fer_cli.files import written_whole
from fer_cli.prediction.predict import Prediction

#: Box in pixels of the upright picture, from its top left corner; empty where the whole picture is the face.
#: ``detection`` is the detector's score, ``confidence`` the probability of ``label``.
COLUMNS = ("file", "face", "x", "y", "width", "height", "detection", "label", "confidence")


def columns(classes: Sequence[str]) -> list[str]:
    """The table's columns: :data:`COLUMNS`, then ``p_anger`` and so on, a probability a class."""
    return [*COLUMNS, *(f"p_{name}" for name in classes)]


def row(prediction: Prediction) -> dict[str, Any]:
    """One prediction as a row."""
    face = prediction.face
    box = dict.fromkeys(("x", "y", "width", "height", "detection"), "")
    if face is not None:
        box = dict(zip(("x", "y", "width", "height"), (round(float(number), 1) for number in face.box), strict=True))
        box["detection"] = round(float(face.score), 3)
    return {
        # A name that is no text in this system's encoding is written with its bytes shown.
        "file": str(prediction.path).encode(errors="backslashreplace").decode(),
        "face": prediction.number,
        **box,
        "label": prediction.label,
        "confidence": f"{prediction.confidence:.4f}",
        **{f"p_{name}": f"{share:.4f}" for name, share in prediction.probabilities.items()},
    }


class CsvSink:
    """Predictions as CSV: into a file that appears whole when the block ends and not at all if it fails, or a stream.

    >>> with CsvSink(Path("predictions.csv"), classes) as sink:  # doctest: +SKIP
    ...     sink.write(prediction)
    """

    def __init__(self, target: Path | TextIO, classes: Sequence[str]):
        self._target = target
        self._columns = columns(classes)
        self._stack = ExitStack()

    def __enter__(self) -> "CsvSink":
        stream = self._target
        if isinstance(stream, Path):
            try:
                stream.parent.mkdir(parents=True, exist_ok=True)
                beside = self._stack.enter_context(written_whole(stream))
                stream = self._stack.enter_context(beside.open("w", encoding="utf-8", newline=""))
            except OSError as error:
                raise FerError(
                    f"{self._target} cannot be written: {error.strerror}.", mend="Type --out FILE."
                ) from error
        self._writer = csv.DictWriter(stream, self._columns, lineterminator="\n")
        self._writer.writeheader()
        return self

    def __exit__(self, *failure: Any) -> bool | None:
        return self._stack.__exit__(*failure)

    def write(self, prediction: Prediction) -> None:
        """Add a row."""
        self._writer.writerow(row(prediction))
