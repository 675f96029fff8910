"""Tables of predictions made by other programs, recognised by their columns and read within limits.

py-feat, OpenFace 3, LibreFace, DeepFace and EmotiEffLib, the tables of ``fer predict``, and any other with a column of
pictures and one of expressions or one a class. OpenFace 2 has action units alone, see :data:`NO_EXPRESSION`.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_cli.errors import DatasetError
from fer_cli.labels import EXPRESSIONS, expression, in_order
from fer_cli.tables import MAX_CELL, PATH_COLUMNS, read_rows

#: A number is no longer than this.
_MAX_NUMBER = 40
_ACTION_UNIT = re.compile(r"au_?\d{1,2}(_|$)")
_NOTHING = {"", "nan", "none", "null", "na", "n/a"}
_ENTRY = re.compile(r"-?(?:[0-9][0-9.eE+-]{0,39}|nan|inf)")

#: Why action units alone are refused. The prototypes of Lucey et al. 2010, Table 1, are criteria that CK+'s labels
#: had to meet: a face can meet several, and they need AU 11, AU 24 and intensities from A to E, which OpenFace 2 does
#: not have. The dictionary of EMFACS is not published.
NO_EXPRESSION = (
    "it has action units and no expression. No published rule makes one expression of them (the prototypes of Lucey "
    "et al. 2010 overlap, and rest on AU 11 and AU 24, which OpenFace 2 does not have), and a rule of fer's own would "
    "be evaluated in the place of the program"
)


@dataclass(frozen=True)
class Program:
    """A program, and the columns of its tables, in lower case.

    Any of ``marks`` tells it, or columns of classes spelled just as ``spellings``. ``labels`` are columns of the
    predicted expression; scores stand in a column a class, named by a prefix of ``prefixes`` and the class, or in a
    list in one of ``lists``, in one of the ``orders``, which numbered classes follow too. ``box`` names
    width and height of the face, ``detection`` its detector's score. ``logits``: scores that do not add up to 1 are
    logits.
    """

    name: str
    marks: tuple[str, ...] = ()
    spellings: tuple[frozenset[str], ...] = ()
    labels: tuple[str, ...] = ("label", "predicted", "prediction", "emotion", "expression", "class")
    prefixes: tuple[str, ...] = ("", "p_", "prob_", "probability_", "score_", "emotion.", "emotions.")
    lists: tuple[str, ...] = ()
    orders: tuple[tuple[str, ...], ...] = ()
    box: tuple[str, str] | None = None
    detection: tuple[str, ...] = ()
    logits: bool = False


# emotiefflib/facial_analysis.py, idx_to_emotion_class, of models with eight and with seven classes; the multi-task ones
# have valence and arousal behind them.
_EMOTIEFF = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
_EMOTIEFF_7 = tuple(name for name in _EMOTIEFF if name != "contempt")
# OpenFace 3.0's README, "Emotion Recognition", and libreface/Facial_Expression_Recognition/inference.py: AffectNet's.
_AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")

FER = Program(
    "fer predict",
    marks=("label_confidence", "neutral_confidence"),
    labels=("label",),
    prefixes=("p_",),
    box=("width", "height"),
    detection=("detection", "facescore"),
)
#: In the order in which they are tried.
PROGRAMS: tuple[Program, ...] = (
    FER,
    # deepface/modules/demography.py: analyze() gives a list of dictionaries, with percentages in "emotion".
    Program(
        "DeepFace",
        marks=("dominant_emotion", "emotion.angry", "emotions.angry"),
        spellings=(frozenset({"angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"}),),
        labels=("dominant_emotion",),
        prefixes=("emotion.", "emotions.", ""),
        box=("region.w", "region.h"),
        detection=("face_confidence",),
    ),
    # libreface/__init__.py: save_facial_attributes_image(); one face a picture, a class and no probability.
    Program("LibreFace", marks=("facial_expression",), labels=("facial_expression",), orders=(_AFFECTNET,)),
    # feat/utils/__init__.py: FEAT_FACEBOX_COLUMNS and FEAT_EMOTION_COLUMNS; feat/detector.py has "input".
    Program(
        "py-feat",
        marks=("facerectx", "facescore"),
        labels=(),
        prefixes=("", "p_"),
        box=("facerectwidth", "facerectheight"),
        detection=("facescore",),
    ),
    # lib/local/Utilities/src/RecorderCSV.cpp, and the wiki's "Output Format".
    Program("OpenFace 2", marks=("au01_r", "au01_c"), detection=("confidence",)),
    # README.md, "Multitasking Predictions": logits of eight classes, gaze as yaw and pitch.
    Program(
        "OpenFace 3",
        marks=("emotion_logits", "emotion_index", "gaze_yaw"),
        spellings=(frozenset({"neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"}),),
        labels=("emotion", "emotion_label", "emotion_index"),
        lists=("emotion_logits", "emotion_output"),
        orders=(_AFFECTNET,),
        detection=("face_confidence", "confidence"),
        logits=True,
    ),
    # emotiefflib/facial_analysis.py: predict_emotions() gives labels, and logits or probabilities.
    Program(
        "EmotiEffLib",
        marks=("scores", "emotion_scores"),
        spellings=(frozenset(_EMOTIEFF), frozenset(_EMOTIEFF_7)),
        lists=("scores", "emotion_scores", "logits"),
        orders=(_EMOTIEFF, _EMOTIEFF_7),
        logits=True,
    ),
)
#: The columns that name the picture, by each program's word for it; an index column without a name comes last.
FILES = (*PATH_COLUMNS, "input", "input_image_path", "image_path", "img_path", "image_name", "picture", "")


@dataclass(frozen=True, slots=True)
class Face:
    """A row: the ``picture`` as the table names it, its expression or scores, and how large and certain the face is."""

    picture: str
    label: str | None = None
    scores: tuple[float, ...] | None = None
    area: float = math.nan
    detection: float = math.nan


@dataclass(frozen=True)
class Predictions:
    """A table of another program: ``classes`` of the scores (empty: it has none), its faces, and names without a face.

    ``vocabulary`` are the classes that the program can predict, empty where that is not known. ``neutral`` says what a
    face was compared with.
    """

    program: str
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    faces: tuple[Face, ...]
    without_face: tuple[str, ...]
    neutral: str = "none"
    notes: tuple[str, ...] = ()
    logits: bool = False

    def probabilities(self, faces: Sequence[Face]) -> np.ndarray:
        """N×C probabilities of ``faces``: their scores over their sum, or the softmax of logits."""
        scores = np.array([face.scores for face in faces], dtype=float)
        if self.logits:
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)


def read_predictions(path: Path) -> Predictions:
    """The table of predictions at ``path``: CSV or TSV, JSON, JSON Lines or Parquet.

    A row without any score or expression is a picture in which no face was found. Raises
    :class:`~fer_cli.errors.DatasetError` if it cannot be read, is larger than a table can be, has no picture or no
    expression, or a value that is no number.
    """
    columns, rows = read_rows(path, DatasetError, nested=("emotion", "emotions", "region"), wanted=_is_wanted)
    program = _recognise(columns)
    picture = next((name for name in FILES if name in columns), None)
    of_class, unknown = _class_columns(path, program, columns)
    listed = next((name for name in program.lists if name in columns), None) if not of_class else None
    label = next((name for name in program.labels if name in columns), None)
    if not of_class and listed is None and label is None:
        problem = f"no column of expressions ({', '.join(columns[:12])} …)"
        if any(_ACTION_UNIT.match(name) for name in columns):
            problem = NO_EXPRESSION
        raise DatasetError(
            f"{path} looks like a table of {program.name}: {problem}.",
            hint="Add a column 'label' with the expressions, or one a class: p_anger, p_fear and so on.",
        )
    if picture is None:
        raise DatasetError(
            f"{path} looks like a table of {program.name}, and no column names the pictures. It has "
            f"{', '.join(columns[:12])} …",
            hint="Add a column 'file' with the path or the name of each picture.",
        )
    reader = _Reader(path, program, picture, label, of_class, listed)
    faces: list[Face] = []
    without: list[Face] = []
    for number, row in rows:
        face = reader.face(number, row)
        (without if face.label is None and face.scores is None else faces).append(face)
    if not faces:
        raise DatasetError(f"{path} has no row with an expression in it.")
    return reader.finish(faces, [face.picture for face in without], unknown)


def _recognise(columns: Sequence[str]) -> Program:
    named = set(columns)
    if "label" in named and named & {"confidence", "face"} and _named(columns, "p_"):
        return FER
    for program in PROGRAMS:
        if named.intersection(program.marks):
            return program
    spelled = frozenset(name for name in named if expression(name))
    for program in PROGRAMS:
        if spelled in program.spellings:
            return program
    return Program("another program")


def _class_columns(path: Path, program: Program, columns: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Each column of scores with its class, in the vocabulary's order, and those whose class is not in it."""
    # In py-feat's schema fer's own table has py-feat's seven classes by their names, and others with the prefix.
    prefixes = ("",) if program is FER and "facerectx" in columns else program.prefixes
    for prefix in prefixes:
        found = _named(columns, prefix)
        if len(found) > 1:
            break
    else:
        return {}, []
    if prefix == "":
        found |= {name: each for name, each in _named(columns, "p_").items() if each not in found.values()}
    for name in EXPRESSIONS:
        of_it = [column for column, each in found.items() if each == name]
        if len(of_it) > 1:
            raise DatasetError(f"{path}: the columns {' and '.join(of_it)} are both of {name}.", hint="Take one out.")
    unknown = [name for name in columns if name.startswith(prefix or "p_") and name not in found]
    # Elsewhere p_ begins other things too, such as OpenFace's parameters of shape.
    unknown = unknown if program is FER or prefix not in ("", "p_") else []
    return dict(sorted(found.items(), key=lambda pair: EXPRESSIONS.index(pair[1]))), unknown


def _named(columns: Sequence[str], prefix: str) -> dict[str, str]:
    named = {name: expression(name.removeprefix(prefix)) for name in columns if name.startswith(prefix)}
    return {name: each for name, each in named.items() if each is not None}


class _Reader:
    """Rows to faces, each value checked."""

    def __init__(
        self,
        path: Path,
        program: Program,
        picture: str,
        label: str | None,
        of_class: Mapping[str, str],
        listed: str | None,
    ):
        self._path, self._program, self._picture, self._label = path, program, picture, label
        self._columns, self._listed = of_class, listed
        self._order: tuple[str, ...] | None = None
        self._neutral: Counter[str] = Counter()

    def face(self, number: int, row: Mapping[str, Any]) -> Face:
        """The face of a row; it is the ``number``-th, counted from 1."""
        try:
            return self._face(row)
        except (ValueError, OverflowError) as error:
            raise DatasetError(f"{self._path}, row {number}: {error}.") from None

    def _face(self, row: Mapping[str, Any]) -> Face:
        picture = row.get(self._picture)
        if not isinstance(picture, str) or not picture.strip() or len(picture) > MAX_CELL:
            raise ValueError(f"'{self._picture}' names no picture")
        width, height = (_soft(row.get(name)) for name in self._program.box or ("", ""))
        detection = next((row[name] for name in self._program.detection if name in row), None)
        if self._program is FER:
            self._count_neutral(row)
        return Face(picture.strip(), self._label_of(row), self._scores(row), width * height, _soft(detection))

    def _scores(self, row: Mapping[str, Any]) -> tuple[float, ...] | None:
        if self._listed is not None:
            values, names = self._list(row.get(self._listed)), [self._listed]
        else:
            values, names = [_number(row.get(name), name) for name in self._columns], list(self._columns)
        if not values or all(map(math.isnan, values)):
            return None
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{', '.join(names[:3])} … have values that are missing or not finite")
        return tuple(values)

    def _list(self, cell: Any) -> list[float]:
        if isinstance(cell, str):
            if len(cell) > MAX_CELL:
                raise ValueError(f"'{self._listed}' is longer than a list of scores")
            cell = _ENTRY.findall(cell)
        if cell is None:
            return []
        if not isinstance(cell, list) or (cell and isinstance(cell[0], list) and len(cell) > 1):
            raise ValueError(f"'{self._listed}' is no list of scores")
        cell = cell[0] if cell and isinstance(cell[0], list) else cell
        if not cell:
            return []
        # Behind the scores of multi-task models are valence and arousal.
        order = next((each for each in self._program.orders if len(cell) in (len(each), len(each) + 2)), None)
        if order is None or order != (self._order or order):
            sizes = " or ".join(str(len(each)) for each in self._program.orders)
            raise ValueError(f"'{self._listed}' has {len(cell)} scores, and {self._program.name} has {sizes} classes")
        self._order = order
        return [_number(value, self._listed or "") for value in cell[: len(order)]]

    def _label_of(self, row: Mapping[str, Any]) -> str | None:
        cell = row.get(self._label) if self._label is not None else None
        if isinstance(cell, list) and len(cell) == 1:
            [cell] = cell
        if cell is None or isinstance(cell, dict | list) or str(cell)[:10].strip().casefold() in _NOTHING:
            return None
        if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isnan(cell):
            return None
        text = str(cell)[: _MAX_NUMBER + 1].strip().strip("[]'\"")
        numbered = re.fullmatch(r"([0-9])(\.0*)?", text)
        if numbered and self._program.orders and int(numbered[1]) < len(self._program.orders[0]):
            return self._program.orders[0][int(numbered[1])]
        found = expression(text)
        if found is None and not self._columns and self._listed is None:
            raise ValueError(f"'{self._label}' is {text!r}, which is none of {', '.join(EXPRESSIONS)}")
        return found

    def _count_neutral(self, row: Mapping[str, Any]) -> None:
        name = row.get("neutral_face", row.get("neutral") if "facerectx" not in row else None)
        if isinstance(name, str) and name:
            found = not math.isnan(_soft(row.get("neutral_confidence")))
            self._neutral["mean" if name == "mean" else "found" if found else "given"] += 1

    def finish(self, faces: list[Face], without: list[str], unknown: list[str]) -> Predictions:
        """The table of these faces, its scores found to be probabilities or logits."""
        classes = self._order or tuple(self._columns.values())
        if classes and any(face.scores is None for face in faces):
            without += [face.picture for face in faces if face.scores is None]
            faces = [face for face in faces if face.scores is not None]
        notes, logits = [], False
        if unknown:
            notes.append(f"Excluded: the columns {', '.join(unknown[:5])}, which are of no expression known here.")
        if classes:
            if not faces:
                raise DatasetError(f"{self._path} has no row with scores in it.")
            logits, words = self._scale(np.array([face.scores for face in faces]))
            notes += words
            highest = [classes[place] for place in np.argmax(np.array([face.scores for face in faces]), axis=1)]
            other = sum(face.label not in (None, each) for face, each in zip(faces, highest, strict=True))
            if other:
                notes.append(
                    f"In {other} rows the expression in '{self._label}' is not the one with the highest score, "
                    "which is the one evaluated."
                )
        vocabulary = in_order(classes or (self._program.orders or ((),))[0])
        whole = sum(face.detection == 0 for face in faces) if self._program.name == "DeepFace" else 0
        if whole:
            notes.append(f"In {whole} rows DeepFace found no face, and took the whole picture for one.")
        neutral = self._neutral.most_common(1)[0][0] if self._neutral else "none"
        return Predictions(
            self._program.name, classes, vocabulary, tuple(faces), tuple(without), neutral, tuple(notes), logits
        )

    def _scale(self, scores: np.ndarray) -> tuple[bool, list[str]]:
        """Whether N×C scores are logits, and what to say of them."""
        sums = scores.sum(axis=1)
        if (scores >= 0).all() and any(np.abs(sums / whole - 1).max() <= 0.02 for whole in (1, 100)):
            return False, []
        if self._program.logits or (scores < 0).any():
            return True, ["The scores do not add up to 1 and are taken for logits: probabilities are their softmax."]
        if (sums <= 0).any():
            raise DatasetError(f"{self._path} has rows in which every class has the probability 0.")
        return False, ["The scores do not add up to 1: probabilities are their shares of the sum."]


def _number(cell: Any, name: str) -> float:
    """The number in a cell, NaN where there is none; raises ``ValueError`` for what is no number."""
    if cell is None or (isinstance(cell, str) and cell.strip().casefold() in _NOTHING):
        return math.nan
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell)
    text = cell.strip() if isinstance(cell, str) else type(cell).__name__
    try:
        if len(text) > _MAX_NUMBER:
            raise ValueError
        return float(text.replace(",", ".") if "." not in text else text)
    except ValueError:
        raise ValueError(f"'{name}' is {text[:_MAX_NUMBER]!r}, which is no number") from None


def _soft(cell: Any) -> float:
    """The number in a cell that nothing depends on but the choice of a face; NaN for anything else."""
    try:
        return _number(cell, "")
    except (ValueError, OverflowError):
        return math.nan


def _is_wanted(name: str) -> bool:
    """Whether a column of Parquet is read; OpenFace and py-feat have hundreds of landmarks."""
    return not re.fullmatch(r"(?:eye_lmk_)?[xyz]_?\d+|p_\d+|au_?\d.*|identity_\d+", name)
