"""What holds of every corpus: its pairs, classes and folds, and what is said of a wrong root."""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_cli.corpora import corpora
from fer_cli.corpora.base import Frame
from fer_cli.dataset.crops import CropResult
from fer_cli.dataset.plan import Preparation, make_plan
from fer_cli.dataset.prepare import prepare
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
        for channel, code, take in product(("01", "02"), ("01", "03", "05"), ("01", "02")):
            make_video(root / f"Actor_{actor:02d}/02-{channel}-{code}-01-01-{take}-{actor:02d}.mp4", shades(9))


def crema_d(root: Path) -> None:
    for actor in SUBJECTS:
        for sentence, code in product(("DFA", "IEO"), ("NEU", "HAP", "ANG")):
            make_video(root / f"VideoFlash/{1000 + actor}_{sentence}_{code}_XX.flv", shades(9))


def affectnet(root: Path) -> None:
    for split, (number, code) in product(("train_set", "val_set"), enumerate((1, 6))):
        touched(root, f"{split}/images/{number}.jpg")
        (root / split / "annotations").mkdir(exist_ok=True)
        np.save(root / f"{split}/annotations/{number}_exp.npy", np.array(code))


def raf_db(root: Path) -> None:
    names = [f"{split}_0000{number}" for split in ("train", "test") for number in (1, 2)]
    touched(root, *(f"Image/aligned/{name}_aligned.jpg" for name in names))
    lines = (f"{name}.jpg {code}\n" for name, code in zip(names, (4, 6, 4, 6), strict=True))
    written(root / "EmoLabel/list_patition_label.txt", "".join(lines))


def expw(root: Path) -> None:
    touched(root, "image/origin/a.jpg")
    written(root / "label/label.lst", "a.jpg 0 1 1 9 9 1.5 0\na.jpg 1 1 1 9 9 1.5 3\n")


def fer2013(root: Path) -> None:
    written(root / "fer2013/fer2013.csv", "emotion,pixels,Usage\n0,1 2 3 4,Training\n3,1 2 3 4,Training\n")


def jaffe(root: Path) -> None:
    touched(root, *(f"K{who}.{code}{take}.1.tiff" for who in "ABC" for code in ("AN", "HA", "NE") for take in "123"))


def kdef(root: Path) -> None:
    shown = product(SUBJECTS, "AB", ("AN", "HA", "NE"), ("S", "HL"))
    touched(root, *(f"{session}F0{n}/{session}F0{n}{code}{angle}.JPG" for n, session, code, angle in shown))


def rafd(root: Path) -> None:
    shown = product(("045", "090"), SUBJECTS, ("angry", "happy", "neutral"), ("frontal", "left", "right"))
    touched(root, *(f"Rafd{angle}_0{n}_Caucasian_male_{code}_{gaze}.jpg" for angle, n, code, gaze in shown))


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
    "kdef": (kdef, "notes"),
    "rafd": (rafd, "notes"),
    "yale": (named("subject0{n}.happy", "subject0{n}.normal", "subject0{n}.sad"), "notes"),
    "mug": (
        named(
            *(
                f"00{{n}}_{code}_00{take}_000{frame}.jpg"
                for code in ("an", "ha", "ne")
                for take in "12"
                for frame in "12"
            )
        ),
        "notes",
    ),
    "bu3dfe": (
        named("F000{n}/F000{n}_AN01WH_F2D.bmp", "F000{n}/F000{n}_HA01WH_F2D.bmp", "F000{n}/F000{n}_NE00WH_F2D.bmp"),
        "notes",
    ),
    "crema-d": (crema_d, "notes"),
    "ravdess": (ravdess, "notes"),
    "raf-db": (raf_db, "Image"),
    "affectnet": (affectnet, "train_set"),
    "fer2013": (fer2013, "notes"),
    "sfew": (
        named(
            *(f"{split}_Aligned_Faces/{label}/{{n}}.png" for split in ("Train", "Val") for label in ("Angry", "Happy"))
        ),
        "Train_Aligned_Faces",
    ),
    "expw": (expw, "image"),
    "caer-s": (
        named(*(f"{split}/{label}/{{n}}.png" for split in ("train", "test") for label in ("Anger", "Happy"))),
        "train",
    ),
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


#: Every view of the corpora that have several.
VIEWS = {"kdef": {"angles": ("S", "HL")}, "rafd": {"angles": ("045", "090")}}
#: Where each corpus's names say what a picture was recorded with: the groups of its path are conditions of their own.
CONDITIONS = {
    "ckplus": r"(.*)/[^/]*",
    "mmi": r"(.*)",
    "oulu-casia": r"(.*)/[^/]*",
    "jaffe": r".*()",
    "kdef": r".*/([AB])F\d\d[A-Z]{2}(S|HL)\.JPG",
    "rafd": r"Rafd(\d+)_.*_(frontal|left|right)\.jpg",
    "yale": r".*()",
    "mug": r"\d+_([a-z]+_\d+)_\d+\.jpg",
    "bu3dfe": r".*()",
    "crema-d": r"(.*)",
    "ravdess": r"(.*/02-(\d\d)-.*)",
}
#: One neutral picture of each subject, which is never its own.
ONE_NEUTRAL = {"yale", "bu3dfe"}


@pytest.mark.parametrize("classes", ["expressions", "expressions and neutral"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_whether_a_pair_shares_a_condition_does_not_depend_on_its_class(name, classes, tmp_path):
    TREES[name][0](tmp_path)
    chosen = CLASSES.get(name, "anger,happiness") + (",neutral" if "neutral" in classes else "")
    corpus = corpora()[name](**VIEWS.get(name, {}))
    plan = make_plan(corpus, tmp_path, Preparation(folds=3, classes=chosen))

    def conditions(frame: Frame) -> tuple[str, ...]:
        return re.fullmatch(CONDITIONS[name], frame.path.relative_to(plan.root).as_posix()).groups()

    shared: dict[str, Counter] = {label: Counter() for label in plan.protocol.classes}
    neutrals: dict[str, Counter] = {label: Counter() for label in plan.protocol.classes}
    for sample in plan.samples:
        assert sample.neutral != sample.frame
        if sample.label in shared and sample.neutral is not None:
            pairs = zip(conditions(sample.frame), conditions(sample.neutral), strict=True)
            shared[sample.label][tuple(own == other for own, other in pairs)] += 1
            neutrals[sample.label][sample.neutral] += 1
    paired = {label for label, relations in shared.items() if relations}
    assert paired == set(shared) - ({"neutral"} if name in ONE_NEUTRAL else set())
    # One way of sharing the conditions, the same for every class.
    assert len({relation for relations in shared.values() for relation in relations}) == 1
    if not any(sample.sequence for sample in plan.samples):
        # Stills of all classes are compared with the same pictures equally often.
        assert len({frozenset(neutrals[label].items()) for label in paired}) == 1
    unpaired = [sample for sample in plan.samples if sample.neutral is None and sample.label in shared]
    assert len(unpaired) == sum(entry.reason.endswith("(unpaired)") for entry in plan.skipped)
    assert plan.protocol.pairing in plan.protocol.name


def test_what_a_sample_is_compared_with_is_part_of_the_protocols_line(tmp_path):
    lines = {
        ("ckplus", "anger,happiness"): "neutral of the same sequence",
        ("ckplus", "anger,happiness,neutral"): "neutral of another sequence",
        ("kdef", "anger,happiness"): "neutral of the same session",
        ("rafd", "anger,happiness,neutral"): "neutral of another gaze",
        ("jaffe", "anger,happiness"): "a neutral picture of the subject",
        ("jaffe", "anger,happiness,neutral"): "another neutral picture of the subject",
        ("caer-s", "anger,happiness"): "no folds",
    }
    for (name, classes), expected in lines.items():
        root = tmp_path / name
        if not root.exists():
            TREES[name][0](root)
        protocol = make_plan(corpora()[name](), root, Preparation(folds=3, classes=classes)).protocol
        assert expected in protocol.name.split(", ")
        assert type(protocol).from_dict(protocol.to_dict()) == protocol
        earlier = {field: value for field, value in protocol.to_dict().items() if field != "pairing"}
        assert type(protocol).from_dict(earlier).pairing == ""


def drawn(jobs, template, model, *, cropped=False, workers=None) -> Iterator[CropResult]:
    """A grey square for each crop, in the place of what the corpora's pictures would come to."""
    for job in jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (template.size, template.size)).save(job.target)
        yield CropResult(job, {"aligned_by": "none", "faces_found": 1, "sha256": "0"})


@pytest.mark.parametrize("name", TREES)
def test_case_36_every_corpus_opens_as_an_image_folder_with_all_rows_and_columns(name, tmp_path, monkeypatch):
    from datasets import load_dataset

    monkeypatch.setattr("fer_cli.dataset.prepare.make_crops", drawn)
    TREES[name][0](tmp_path / name)
    chosen = Preparation(folds=3, classes=CLASSES.get(name, "anger,happiness"), size=32, detector="none")
    rows = prepare(corpora()[name](), tmp_path / name, tmp_path / "out", chosen).card["counts"]["crops"]
    opened = load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in opened.items()} == {"train": rows}
    assert {"image", "label", "subject", "frame", "split", "fold"} < set(opened["train"].column_names)


@pytest.mark.parametrize("name", TREES)
def test_a_root_too_high_will_do(name, tmp_path):
    make, _ = TREES[name]
    make(tmp_path / "above" / name)
    plan = make_plan(corpora()[name](), tmp_path / "above", settings(name))
    assert {sample.label for sample in plan.samples} >= set(plan.protocol.classes)
    assert plan.root.is_relative_to(tmp_path / "above")


@pytest.mark.parametrize("name", TREES)
def test_case_15_a_root_too_low_is_told_by_its_name_and_nothing_above_it_is_looked_at(name, tmp_path, monkeypatch):
    make, low = TREES[name]
    root = tmp_path / "above" / name
    make(root)
    (root / low).mkdir(exist_ok=True)
    looked_at = listed_folders(monkeypatch)
    with pytest.raises(CorpusError) as caught:
        make_plan(corpora()[name](), root / low, settings(name))
    assert looked_at
    assert all(folder.is_relative_to(root / low) for folder in looked_at)
    if low != "notes":
        assert f"such as {root}." in caught.value.hint.splitlines()[0]


def listed_folders(monkeypatch) -> list[Path]:
    """Every folder that is listed from now on."""
    folders, scandir = [], os.scandir

    def noted(folder="."):
        folders.append(Path(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", noted)
    return folders


@pytest.mark.parametrize("name", TREES)
def test_case_03_a_corpus_behind_links_is_the_corpus(name, tmp_path):
    TREES[name][0](tmp_path / "store")
    (tmp_path / "linked").mkdir()
    for path in (tmp_path / "store").iterdir():
        (tmp_path / "linked" / path.name).symlink_to(path)
    (tmp_path / "linked" / "up").symlink_to(tmp_path)
    plans = [make_plan(corpora()[name](), tmp_path / place, settings(name)) for place in ("store", "linked")]
    own, linked = ([str(sample.frame.path.relative_to(plan.root)) for sample in plan.samples] for plan in plans)
    assert sorted(linked) == sorted(own)
    assert linked


@pytest.mark.parametrize("name", TREES)
def test_case_16_a_folder_that_may_not_be_read_is_a_fault(name, tmp_path, monkeypatch):
    TREES[name][0](tmp_path)
    root = make_plan(corpora()[name](), tmp_path, settings(name)).root
    (root / "closed").mkdir()
    scandir, stat = os.scandir, os.stat

    def refused(path):
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def refusing_to_list(folder="."):
        if Path(folder).name == "closed":
            raise refused(folder)
        return scandir(folder)

    def refusing_to_look(path, **settings):
        if "closed" in Path(path).parent.parts:
            raise refused(path)
        return stat(path, **settings)

    monkeypatch.setattr(os, "scandir", refusing_to_list)
    monkeypatch.setattr(os, "stat", refusing_to_look)
    plan = make_plan(corpora()[name](), tmp_path, settings(name))
    assert [(entry.path, entry.reason) for entry in plan.faults] == [("closed", "a folder that may not be read")]
