"""Predictions, and what was missed, as rows of a table."""

from collections.abc import Sequence
from typing import Any

from fer_cli.files import as_text
from fer_cli.prediction.outcomes import Missed, Prediction

POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
LANDMARKS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")

#: The columns before the probabilities, and what is in them. ``frame`` and ``time`` (seconds) are empty for pictures.
#: The box and the landmarks are in pixels of the upright picture, from its top left corner, and empty where the whole
#: picture is the face; right and left are the person's own. ``detection`` is the detector's score, ``confidence`` the
#: probability of ``label``, ``neutral`` the neutral face that it was compared with, ``neutral_confidence`` the
#: probability that this is neutral, where it was found among the pictures.
COLUMNS: dict[str, type] = {
    "file": str,
    "frame": int,
    "time": float,
    "face": int,
    **dict.fromkeys(("x", "y", "width", "height", "detection", *LANDMARKS), float),
    "neutral": str,
    "neutral_confidence": float,
    "label": str,
    "confidence": float,
}
#: The columns of the table of what was missed. ``kind`` is ``fault``, or ``note`` for what is no fault.
ERROR_COLUMNS: dict[str, type] = {"file": str, "frame": int, "face": int, "kind": str, "reason": str}

#: What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def columns(classes: Sequence[str]) -> dict[str, type]:
    """The table's columns with their types: :data:`COLUMNS`, then ``p_anger`` and so on, a probability a class."""
    return {**COLUMNS, **dict.fromkeys((f"p_{name}" for name in classes), float)}


def row(prediction: Prediction) -> dict[str, Any]:
    """One prediction as a row; what there is not is None."""
    face = prediction.face
    place: dict[str, float] = {}
    if face is not None:
        place = dict(zip(("x", "y", "width", "height"), (round(float(side), 1) for side in face.box), strict=True))
        place["detection"] = round(float(face.score), 3)
        place |= zip(LANDMARKS, (round(float(value), 1) for value in face.landmarks.ravel()), strict=True)
    values = {
        "file": as_text(prediction.path),
        "frame": prediction.frame,
        "time": _rounded(prediction.time, 3),
        "face": prediction.number,
        **place,
        "neutral": as_text(prediction.neutral) or None,
        "neutral_confidence": _rounded(prediction.neutral_confidence, 6),
        "label": prediction.label,
        "confidence": round(prediction.confidence, 6),
        **{f"p_{name}": round(share, 6) for name, share in prediction.probabilities.items()},
    }
    return {name: values.get(name) for name in columns(tuple(prediction.probabilities))}


def error_row(missed: Missed) -> dict[str, Any]:
    """What was missed as a row."""
    return {
        "file": as_text(missed.path),
        "frame": missed.frame,
        "face": missed.number,
        "kind": "fault" if missed.fault else "note",
        "reason": missed.reason,
    }


def _rounded(number: float | None, places: int) -> float | None:
    return None if number is None else round(number, places)


def harmless(cell: Any) -> Any:
    """A cell of a CSV file, with ``'`` before text that a spreadsheet would run as a formula.

    >>> harmless("=1+1.jpg"), harmless("face.jpg"), harmless(-3.5)
    ("'=1+1.jpg", 'face.jpg', -3.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
