"""CK+'s layout, written: where each file of a sequence goes and what stands in it.

P. Lucey et al., *The Extended Cohn-Kanade Dataset (CK+)*, 2010, and the read-me files that its owners ship.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fer_cli.corpora.ckplus import names as ckplus
from fer_cli.corpora.synthetic.action_units import Sides
from fer_cli.errors import CorpusError
from fer_cli.files import read_json, write_json, write_text

#: The owners' numbers of the expressions.
CODES = {name: code for code, name in ckplus.CODES.items()}

#: Written last: a corpus that has it is complete.
CARD = "synthetic.json"
#: Stands for the card until then.
UNFINISHED = "synthetic.unfinished.json"


def frame_path(root: Path, subject: int, sequence: int, frame: int) -> Path:
    """``cohn-kanade-images/S001/001/S001_001_00000001.png``; all three are counted from 1."""
    return _path(root, "cohn-kanade-images", subject, sequence, frame, ".png")


def landmarks_path(root: Path, subject: int, sequence: int, frame: int) -> Path:
    """``Landmarks/S001/001/S001_001_00000001_landmarks.txt``."""
    return _path(root, "Landmarks", subject, sequence, frame, "_landmarks.txt")


def emotion_path(root: Path, subject: int, sequence: int, last_frame: int) -> Path:
    """``Emotion/S001/001/S001_001_00000006_emotion.txt``, named after the sequence's last frame."""
    return _path(root, "Emotion", subject, sequence, last_frame, "_emotion.txt")


def facs_path(root: Path, subject: int, sequence: int, last_frame: int) -> Path:
    """``FACS/S001/001/S001_001_00000006_facs.txt``, named after the sequence's last frame."""
    return _path(root, "FACS", subject, sequence, last_frame, "_facs.txt")


def _path(root: Path, kind: str, subject: int, sequence: int, frame: int, ending: str) -> Path:
    folder = f"S{subject:03d}"
    return root / kind / folder / f"{sequence:03d}" / f"{folder}_{sequence:03d}_{frame:08d}{ending}"


def write_landmarks(path: Path, landmarks: np.ndarray) -> None:
    """68 lines of x and y, in pixels."""
    write_text(path, "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in landmarks))


def write_emotion(path: Path, label: str) -> None:
    """The expression's number, as the owners print it."""
    write_text(path, f"   {CODES[label]:.7e}\n")


def write_facs(path: Path, units: Mapping[int, Sides]) -> None:
    """A line for each action unit: its number, and its intensity from 1 to 5 on the side that shows it more."""
    rows = ((number, min(5, max(1, round(5 * max(sides))))) for number, sides in sorted(units.items()))
    write_text(path, "".join(f"   {number:.7e}   {grade:.7e}\n" for number, grade in rows))


def claim(root: Path, settings: dict[str, Any]) -> str:
    """Make sure that a corpus of these settings may be drawn at ``root``: ``new``, ``unfinished`` or ``finished``.

    Raises :class:`~fer_cli.errors.CorpusError` if something else is there.
    """
    for name, state in ((CARD, "finished"), (UNFINISHED, "unfinished")):
        stored = _stored(root / name)
        if stored == settings:
            return state
        if stored is not None:
            differing = ", ".join(
                f"{key} {stored.get(key)} rather than {value}"
                for key, value in settings.items()
                if stored.get(key) != value
            )
            raise CorpusError(
                f"{root} holds a synthetic corpus drawn with other settings: {differing or 'settings not known here'}.",
                hint="Name another folder, remove that one, or type its settings.",
            )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise CorpusError(
            f"{root} is in the way: it holds something that is no synthetic corpus.",
            hint="Name a new or an empty folder.",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / UNFINISHED, settings)
    except OSError as error:
        raise CorpusError(f"{root} cannot be written: {error.strerror}.", hint="Name another folder.") from error
    return "new"


def finish(root: Path, settings: dict[str, Any]) -> None:
    """Mark the corpus at ``root`` as complete."""
    write_json(root / CARD, settings)
    (root / UNFINISHED).unlink(missing_ok=True)


def _stored(path: Path) -> dict[str, Any] | None:
    try:
        stored = read_json(path)
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None
