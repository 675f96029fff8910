"""Tables as other programs write them, made up for tests: each with the program's own columns, words and scale."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

PYFEAT = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
DEEPFACE = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
EMOTIEFF = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
OPENFACE_3 = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
LIBREFACE = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
#: The vocabulary's name for each program's word that differs from it.
OURS = {"angry": "anger", "happy": "happiness", "sad": "sadness"}


def scores(files: list[str], classes: tuple[str, ...], seed: int = 0) -> np.ndarray:
    """N×C probabilities, no two of a row alike."""
    return np.random.default_rng(seed).dirichlet(np.ones(len(classes)), size=len(files))


def named(classes: tuple[str, ...]) -> list[str]:
    """The classes in the vocabulary's words."""
    return [OURS.get(name.lower(), name.lower()) for name in classes]


def pyfeat(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """``Fex.to_csv`` of ``Detector.detect``: boxes, action units, probabilities, and the picture in ``input``."""
    rows = [
        {
            **{"frame": place, "FaceRectX": 1.0, "FaceRectY": 1.0, "FaceRectWidth": 20.0, "FaceRectHeight": 20.0},
            **{"FaceScore": 0.99, "x_0": 3.0, "AU01": 0.5, "Pitch": 0.1},
            **dict(zip(PYFEAT, row, strict=True)),
            "input": file,
        }
        for place, (file, row) in enumerate(zip(files, shares, strict=True))
    ]
    pd.DataFrame(rows).to_csv(path.with_suffix(".csv"), index=False)
    return path.with_suffix(".csv")


def _analyzed(shares: np.ndarray) -> list[dict]:
    """What ``DeepFace.analyze`` gives for one picture."""
    face = {
        "emotion": dict(zip(DEEPFACE, (100 * shares).tolist(), strict=True)),
        "dominant_emotion": DEEPFACE[int(shares.argmax())],
        "region": {"x": 0, "y": 0, "w": 30, "h": 32, "left_eye": None, "right_eye": None},
        "face_confidence": 0.9,
    }
    return [face]


def deepface(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """The results of ``DeepFace.analyze`` by picture, as JSON."""
    document = {file: _analyzed(row) for file, row in zip(files, shares, strict=True)}
    path.with_suffix(".json").write_text(json.dumps(document))
    return path.with_suffix(".json")


def deepface_lines(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """The same with a row a line, and the picture in it."""
    rows = [{"img_path": file, **_analyzed(row)[0]} for file, row in zip(files, shares, strict=True)]
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.with_suffix(".jsonl")


def deepface_csv(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """The same as pandas writes it: dictionaries in cells, as Python shows them."""
    rows = [{"file": file, **_analyzed(row)[0]} for file, row in zip(files, shares, strict=True)]
    pd.DataFrame(rows).to_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def openface_3(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """``MultitaskPredictor.predict`` with a column a class: logits; and gaze."""
    frame = pd.DataFrame(np.log(shares) + 3, columns=list(OPENFACE_3))
    frame.insert(0, "image", files)
    frame.assign(gaze_yaw=0.1, gaze_pitch=0.2, AU1=0.0).to_csv(path.with_suffix(".tsv"), index=False, sep="\t")
    return path.with_suffix(".tsv")


def openface_3_lists(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """The same as its output is: a tensor of one row of logits a picture."""
    rows = [
        {"image_path": file, "emotion_logits": [np.log(row).tolist()], "emotion_index": int(row.argmax())}
        for file, row in zip(files, shares, strict=True)
    ]
    path.with_suffix(".json").write_text(json.dumps(rows))
    return path.with_suffix(".json")


def emotiefflib(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """``predict_emotions(…, logits=False)``: the word and the scores, in Parquet."""
    frame = pd.DataFrame(
        {"path": files, "emotion": [EMOTIEFF[place] for place in shares.argmax(axis=1)], "scores": shares.tolist()}
    )
    frame.to_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def emotiefflib_logits(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """``predict_emotions`` of a multi-task model: logits with valence and arousal behind, as numpy prints them."""
    rows = [
        {"file": file, "emotion": EMOTIEFF[int(row.argmax())], "scores": str(np.append(np.log(row), [0.3, -0.2]))}
        for file, row in zip(files, shares, strict=True)
    ]
    pd.DataFrame(rows).to_csv(path.with_suffix(".csv"), index=False)
    return path.with_suffix(".csv")


def emotiefflib_columns(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """The same with a column a class, named as ``idx_to_emotion_class`` names them."""
    frame = pd.DataFrame(shares, columns=list(EMOTIEFF))
    frame.insert(0, "filename", files)
    frame.to_csv(path.with_suffix(".csv"), index=False, sep=";", decimal=",")
    return path.with_suffix(".csv")


def libreface(path: Path, files: list[str], shares: np.ndarray) -> Path:
    """``save_facial_attributes_image``: the expression alone, and action units."""
    rows = [
        {
            **{"input_image_path": file, "aligned_image_path": f"./tmp/{place}.png"},
            **{"facial_expression": LIBREFACE[int(row.argmax())], "au_1": 0, "au_1_intensity": 0.3},
        }
        for place, (file, row) in enumerate(zip(files, shares, strict=True))
    ]
    pd.DataFrame(rows).to_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


Writer = Callable[[Path, list[str], np.ndarray], Path]
#: Every way of writing, with the program's name and its classes.
WRITERS: dict[Writer, tuple[str, tuple[str, ...]]] = {
    pyfeat: ("py-feat", PYFEAT),
    deepface: ("DeepFace", DEEPFACE),
    deepface_lines: ("DeepFace", DEEPFACE),
    deepface_csv: ("DeepFace", DEEPFACE),
    openface_3: ("OpenFace 3", OPENFACE_3),
    openface_3_lists: ("OpenFace 3", OPENFACE_3),
    emotiefflib: ("EmotiEffLib", EMOTIEFF),
    emotiefflib_logits: ("EmotiEffLib", EMOTIEFF),
    emotiefflib_columns: ("EmotiEffLib", EMOTIEFF),
}
