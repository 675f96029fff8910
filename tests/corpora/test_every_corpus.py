"""What holds of every corpus: its pairs, classes and folds, and what is said of a wrong root."""

from pathlib import Path

import numpy as np
import pytest

from fer_cli.corpora.registry import corpora
from fer_cli.dataset.plan import make_plan
from fer_cli.dataset.preparation import Preparation
from fer_cli.errors import CorpusError
from tests.corpora.ckplus_tree import sequence
from tests.videos import make_video, shades

SUBJECTS = range(1, 4)


def ckplus(root: Path) -> None:
    for subject in SUBJECTS:
        for number, label in enumerate(("anger", "happiness"), start=1):
            sequence(root, f"S{subject:03d}", f"{number:03d}", label=label)


def mmi(root: Path) -> None:
    for number, (subject, code) in enumerate((subject, code) for subject in SUBJECTS for code in (1, 4)):
        folder = root / "Sessions" / str(number)
        make_video(folder / f"S{subject:03d}-{number:03d}.avi", shades(9))
        (folder / "session.xml").write_text(f'<s><track view="0"/><Metatag Name="Emotion" Value="{code}"/></s>')


def ravdess(root: Path) -> None:
    for actor in SUBJECTS:
        for code in ("01", "03", "05"):
            make_video(root / f"Actor_{actor:02d}/02-01-{code}-01-01-01-{actor:02d}.mp4", shades(9))


def crema_d(root: Path) -> None:
    for actor in SUBJECTS:
        for code in ("NEU", "HAP", "ANG"):
            make_video(root / f"VideoFlash/{1000 + actor}_DFA_{code}_XX.flv", shades(9))


def affectnet(root: Path) -> None:
    for number, code in enumerate((1, 6)):
        touched(root, f"train_set/images/{number}.jpg")
        (root / "train_set/annotations").mkdir(exist_ok=True)
        np.save(root / f"train_set/annotations/{number}_exp.npy", np.array(code))


def raf_db(root: Path) -> None:
    touched(root, "Image/aligned/train_00001_aligned.jpg", "Image/aligned/train_00002_aligned.jpg")
    written(root / "EmoLabel/list_patition_label.txt", "train_00001.jpg 4\ntrain_00002.jpg 6\n")


def expw(root: Path) -> None:
    touched(root, "image/origin/a.jpg")
    written(root / "label/label.lst", "a.jpg 0 1 1 9 9 1.5 0\na.jpg 1 1 1 9 9 1.5 3\n")


def fer2013(root: Path) -> None:
    written(root / "fer2013/fer2013.csv", "emotion,pixels,Usage\n0,1 2 3 4,Training\n3,1 2 3 4,Training\n")


def jaffe(root: Path) -> None:
    touched(root, *(f"K{who}.{code}1.1.tiff" for who in "ABC" for code in ("AN", "HA", "NE")))


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def touched(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes([number]))


def named(*patterns: str):
    """Files of three subjects, ``{n}`` being the subject's number."""
    return lambda root: touched(root, *(pattern.format(n=subject) for pattern in patterns for subject in SUBJECTS))


#: How to make each corpus, and a folder of it that is too low.
TREES = {
    "ckplus": (ckplus, "Emotion"),
    "mmi": (mmi, "notes"),
    "oulu-casia": (
        named(*(f"VL/Strong/P00{{n}}/{name}/00{frame}.jpeg" for name in ("Anger", "Happiness") for frame in range(4))),
        "VL/Strong/P001",
    ),
    "jaffe": (jaffe, "notes"),
    "kdef": (named("AF0{n}/AF0{n}ANS.JPG", "AF0{n}/AF0{n}HAS.JPG", "AF0{n}/AF0{n}NES.JPG"), "notes"),
    "rafd": (
        named(*(f"Rafd090_0{{n}}_Caucasian_male_{name}_frontal.jpg" for name in ("angry", "happy", "neutral"))),
        "notes",
    ),
    "yale": (named("subject0{n}.happy", "subject0{n}.normal", "subject0{n}.sad"), "notes"),
    "mug": (named("00{n}_an_001_0001.jpg", "00{n}_ha_001_0001.jpg", "00{n}_ne_001_0001.jpg"), "notes"),
    "bu3dfe": (
        named("F000{n}/F000{n}_AN01WH_F2D.bmp", "F000{n}/F000{n}_HA01WH_F2D.bmp", "F000{n}/F000{n}_NE00WH_F2D.bmp"),
        "notes",
    ),
    "crema-d": (crema_d, "notes"),
    "ravdess": (ravdess, "notes"),
    "raf-db": (raf_db, "Image"),
    "affectnet": (affectnet, "train_set"),
    "fer2013": (fer2013, "notes"),
    "sfew": (named("Train_Aligned_Faces/Angry/{n}.png", "Train_Aligned_Faces/Happy/{n}.png"), "Train_Aligned_Faces"),
    "expw": (expw, "image"),
    "caer-s": (named("train/Anger/{n}.png", "train/Happy/{n}.png"), "train"),
}
# Yale shows no anger.
CLASSES = {"yale": "sadness,happiness"}


def settings(name: str) -> Preparation:
    return Preparation(folds=3, classes=CLASSES.get(name, "anger,happiness"))


def test_every_corpus_that_is_shipped_is_here():
    assert set(TREES) == set(corpora()) - {"files", "synthetic"}


#: Nobody is named in these.
UNNAMED = {"raf-db", "affectnet", "fer2013", "sfew", "expw", "caer-s"}


@pytest.mark.parametrize("name", TREES)
def test_pairs_classes_and_folds(name, tmp_path):
    TREES[name][0](tmp_path)
    plan = make_plan(corpora()[name](), tmp_path, settings(name))
    shown = [sample for sample in plan.samples if sample.role == "apex"]
    assert {sample.label for sample in shown} == set(plan.protocol.classes)
    if name in UNNAMED:
        assert plan.fold_of == {}
        assert {(sample.subject, sample.neutral) for sample in plan.samples} == {(None, None)}
        return
    subject_of = {sample.frame: sample.subject for sample in plan.samples}
    for sample in shown:
        assert sample.neutral is not None
        assert sample.neutral != sample.frame
        assert subject_of[sample.neutral] == sample.subject
    assert sorted(plan.fold_of.values()) == [0, 1, 2]
    assert set(plan.fold_of) == set(subject_of.values())


@pytest.mark.parametrize("name", TREES)
def test_a_root_too_high_will_do(name, tmp_path):
    make, _ = TREES[name]
    make(tmp_path / "above" / name)
    plan = make_plan(corpora()[name](), tmp_path / "above", settings(name))
    assert {sample.label for sample in plan.samples} >= set(plan.protocol.classes)
    assert plan.root.is_relative_to(tmp_path / "above")


@pytest.mark.parametrize("name", TREES)
def test_a_root_too_low_is_told_the_folder_that_would_do(name, tmp_path):
    make, low = TREES[name]
    root = tmp_path / "above" / name
    make(root)
    (root / low).mkdir(exist_ok=True)
    with pytest.raises(CorpusError) as caught:
        make_plan(corpora()[name](), root / low, settings(name))
    nearest = caught.value.mend.splitlines()[0]
    assert nearest.startswith(f"The nearest folder that would do is {root}")
