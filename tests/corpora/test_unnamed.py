"""Corpora that do not say who is shown: official splits are kept, folds are refused."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fer_cli.corpora.affectnet import AffectNet
from fer_cli.corpora.caer_s import CaerS
from fer_cli.corpora.expw import Expw
from fer_cli.corpora.raf_db import RafDb
from fer_cli.corpora.sfew import Sfew
from fer_cli.dataset.plan import Preparation, make_plan
from fer_cli.errors import CorpusError


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def raf(tmp_path):
    lines = [f"{split}_{number:05d}.jpg {number}" for split in ("train", "test") for number in range(1, 8)]
    root = tmp_path / "basic"
    touched(root, *(f"Image/aligned/{line.split('.')[0]}_aligned.jpg" for line in lines))
    (root / "EmoLabel").mkdir()
    (root / "EmoLabel/list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


def test_raf_dbs_codes_and_splits(raf):
    reading = RafDb().read(RafDb().locate(raf.parent))
    train = [still.label for still in reading.records if still.split == "train"]
    assert train == ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert reading.found == {"pictures": 14, "train": 7, "test": 7}
    assert {still.subject for still in reading.records} == {None}


def test_case_08_raf_db_as_folders_of_codes(tmp_path):
    for split in ("train", "test"):
        touched(tmp_path, *(f"DATASET/{split}/{code}/{split}_{code:05d}_aligned.jpg" for code in range(1, 8)))
    (tmp_path / "train_labels.csv").write_text("image,label\n")
    root = RafDb().locate(tmp_path)
    reading = RafDb().read(root)
    labels = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert [(still.split, still.label) for still in reading.records] == [
        (split, label) for split in ("train", "test") for label in labels
    ]
    assert reading.found == {"pictures": 14, "train": 7, "test": 7}
    with pytest.raises(CorpusError, match="is not RAF-DB"):
        RafDb().locate(root / "train")


def copy_of_raf(root: Path, codes: dict[str, int]) -> Path:
    """The list beside the pictures' folder, as many repositories have it."""
    touched(root, *(f"aligned/{stem}_aligned.jpg" for stem in codes))
    (root / "list_patition_label.txt").write_text("".join(f"{stem}.jpg {code}\n" for stem, code in codes.items()))
    return root


@pytest.mark.parametrize("typed", ["a-old", "b-new"])
def test_case_34_a_list_in_the_folder_itself_is_read_and_no_neighbours(tmp_path, typed):
    copies = {"a-old": {"train_00001": 1, "train_00002": 2}, "b-new": {"train_00001": 4, "test_00001": 7}}
    for name, codes in copies.items():
        copy_of_raf(tmp_path / name, codes)
    root = RafDb().locate(tmp_path / typed)
    reading = RafDb().read(root)
    assert root == tmp_path / typed
    assert len(reading.records) == 2
    assert all(still.frame.path.is_relative_to(root) for still in reading.records)


def test_case_34_of_two_copies_in_one_folder_labels_and_pictures_are_of_one(tmp_path):
    copy_of_raf(tmp_path / "a-old", {"train_00001": 1})
    copy_of_raf(tmp_path / "b-new", {"train_00001": 4})
    [still] = RafDb().read(RafDb().locate(tmp_path)).records
    assert (still.label, still.frame.path.parent.parent) == ("surprise", tmp_path / "a-old")


def test_case_34_expws_list_in_the_folder_itself(tmp_path):
    for name, code in (("a", 0), ("b", 3)):
        touched(tmp_path / name, "image/x.jpg")
        (tmp_path / name / "label.lst").write_text(f"x.jpg 0 1 1 9 9 3.5 {code}\n")
    root = Expw().locate(tmp_path / "a")
    [still] = Expw().read(root).records
    assert (still.label, still.frame.path) == ("anger", tmp_path / "a" / "image/x.jpg")


def test_a_list_without_its_pictures_below_the_folder_is_not_the_corpus(raf):
    with pytest.raises(CorpusError, match="is not RAF-DB"):
        RafDb().locate(raf / "EmoLabel")


@pytest.mark.parametrize(("corpus", "name"), [(RafDb(), "list_patition_label.txt"), (Expw(), "label.lst")], ids=str)
def test_a_pipe_is_no_list_and_nobody_waits_for_it(tmp_path, corpus, name):
    touched(tmp_path, "image/x.jpg")
    os.mkfifo(tmp_path / name)
    with pytest.raises(CorpusError, match=f"is not {corpus.title}"):
        corpus.locate(tmp_path)


def test_the_compound_list_is_refused_by_name_with_the_reason(raf):
    with (raf / "EmoLabel/list_patition_label.txt").open("a") as file:
        file.write("train_00009.jpg 11\n")
    with pytest.raises(CorpusError) as caught:
        RafDb().read(raf)
    assert "code 11" in caught.value.message
    assert "compound" in caught.value.hint


def test_a_picture_of_the_list_that_is_gone_is_named(raf):
    (raf / "Image/aligned/train_00003_aligned.jpg").unlink()
    [entry] = RafDb().read(raf).skipped
    assert entry.path == "train_00003.jpg"
    assert entry.fault


@pytest.mark.parametrize(
    ("corpus", "names"),
    [
        (
            Sfew(),
            {
                "Train_Aligned_Faces/Angry/a_1.png": ("train", "anger"),
                "Train_Aligned_Faces/Happy/a_2.png": ("train", "happiness"),
                "Val_Aligned_Faces_new/Surprise/b_1.png": ("val", "surprise"),
                "Val_Aligned_Faces_new/Sad/b_2.png": ("val", "sadness"),
                "Test_Aligned_Faces/t_1.png": None,
            },
        ),
        (
            CaerS(),
            {
                "train/Anger/0001.png": ("train", "anger"),
                "train/neutral/0001.png": ("train", "neutral"),
                "test/Happy/0001.png": ("test", "happiness"),
                "test/FEAR/0001.png": ("test", "fear"),
            },
        ),
    ],
    ids=["sfew", "caer-s"],
)
def test_folders_are_splits_and_expressions(corpus, names, tmp_path):
    touched(tmp_path / "deep" / "er", *names)
    root = corpus.locate(tmp_path)
    reading = corpus.read(root)
    found = {still.frame.path.relative_to(root).as_posix(): (still.split, still.label) for still in reading.records}
    assert found == {name: shown for name, shown in names.items() if shown}
    assert len(reading.skipped) == sum(shown is None for shown in names.values())
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="it is empty"):
        corpus.locate(tmp_path / "empty")


def test_an_expression_that_is_none_is_an_error_that_names_the_folder(tmp_path):
    touched(tmp_path, "train/Anger/1.png", "train/Fear/1.png", "train/Grin/1.png")
    with pytest.raises(CorpusError, match="Grin"):
        CaerS().read(tmp_path)


@pytest.mark.parametrize("corpus", [RafDb(), CaerS()], ids=["raf-db", "caer-s"])
def test_no_fold_is_made_and_the_owners_split_is_kept(corpus, raf, tmp_path):
    root = raf
    if corpus.name == "caer-s":
        root = touched(tmp_path / "caer", *(f"{s}/{e}/1.png" for s in ("train", "test") for e in ("Anger", "Fear")))
    plan = make_plan(corpus, root, Preparation())
    assert plan.fold_of == {}
    assert plan.protocol.folds == 0
    assert plan.protocol.name.endswith("no folds")
    assert set(Counter(sample.split for sample in plan.samples)) == {"train", "test"}


def test_expws_faces_have_their_boxes_and_names_of_their_own(tmp_path):
    touched(tmp_path, "ExpW/image/origin/a.jpg")
    (tmp_path / "ExpW/label").mkdir()
    (tmp_path / "ExpW/label/label.lst").write_text(
        "a.jpg 0 10 20 60 90 42.5 3\na.jpg 1 5 100 140 50 12.5 6\ngone.jpg 0 1 1 9 9 3.5 0\nnonsense\n"
    )
    root = Expw().locate(tmp_path)
    reading = Expw().read(root)
    assert [(still.label, still.frame.box, still.frame.name) for still in reading.records] == [
        ("happiness", (20, 10, 40, 80), "a-00000"),
        ("neutral", (100, 5, 40, 45), "a-00001"),
    ]
    assert [entry.reason for entry in reading.skipped] == [
        "a picture of the list that is not there",
        "a line that holds no face",
    ]


AFFECTNET = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    "1/a.jpg,10,20,30,40,1;2,1,0.5,0.5\n"
    "1/a.jpg,10,20,30,40,1;2,10,-2,-2\n"
    "1/gone.jpg,10,20,30,40,1;2,0,0,0\n"
    "../../secret.jpg,1,1,9,9,1;2,0,0,0\n"
    "1/a.jpg,x,20,30,40,1;2,0,0,0\n"
)


def test_affectnets_older_layout(tmp_path):
    touched(tmp_path, "AffectNet/Manually_Annotated_Images/1/a.jpg", "secret.jpg")
    (tmp_path / "AffectNet/training.csv").write_text(AFFECTNET)
    (tmp_path / "AffectNet/validation.csv").write_text("\n".join(AFFECTNET.splitlines()[:2]) + "\n")
    reading = AffectNet().read(AffectNet().locate(tmp_path))
    assert [(still.label, still.split, still.frame.box) for still in reading.records] == [
        ("happiness", "train", (10, 20, 30, 40)),
        ("happiness", "val", (10, 20, 30, 40)),
    ]
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [
        ("annotated as no face", False),
        ("a picture of the table that is not there", True),
        ("a path that leaves the folder", True),
        ("a line that holds no face", True),
    ]


def test_case_09_affectnets_table_without_a_header_loses_no_row(tmp_path):
    touched(tmp_path, "Manually_Annotated_Images/1/a.jpg")
    header, row, *_ = AFFECTNET.splitlines()
    for text, count in ((f"{row}\n{row}\n", 2), (f"{header}\n{row}\n", 1), (f"\ufeff{header.upper()}\n{row}\n", 1)):
        (tmp_path / "validation.csv").write_text(text, encoding="utf-8")
        reading = AffectNet().read(AffectNet().locate(tmp_path))
        assert [(still.label, still.split) for still in reading.records] == [("happiness", "val")] * count
        assert reading.skipped == []


def test_a_pipe_is_no_annotation_and_nobody_waits_for_it(tmp_path):
    touched(tmp_path / "train_set", "images/0.jpg")
    (tmp_path / "train_set/annotations").mkdir()
    os.mkfifo(tmp_path / "train_set/annotations/0_exp.npy")
    [entry] = AffectNet().read(tmp_path).skipped
    assert entry.reason == "a picture without a readable annotation"


def test_affectnets_newer_layout_whose_numbers_may_be_strings(tmp_path):
    for split, codes in (("train_set", [0, "3", 8]), ("val_set", ["7"])):
        touched(tmp_path / split, *(f"images/{number}.jpg" for number in range(len(codes) + 1)))
        (tmp_path / split / "annotations").mkdir()
        for number, code in enumerate(codes):
            np.save(tmp_path / split / "annotations" / f"{number}_exp.npy", np.array(code))
    reading = AffectNet().read(AffectNet().locate(tmp_path))
    assert [(still.label, still.split) for still in reading.records] == [
        ("neutral", "train"),
        ("surprise", "train"),
        ("contempt", "val"),
    ]
    assert sorted(entry.reason for entry in reading.skipped) == [
        "a picture without a readable annotation",
        "a picture without a readable annotation",
        "annotated as none",
    ]


def test_affectnets_annotations_are_never_unpickled(tmp_path):
    touched(tmp_path / "train_set", "images/0.jpg")
    (tmp_path / "train_set/annotations").mkdir()
    np.save(tmp_path / "train_set/annotations/0_exp.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    assert AffectNet().read(tmp_path).records == []


@pytest.mark.parametrize("value", [np.inf, np.nan, "9" * 5_000, "²", [1, 2]], ids=str)
def test_affectnets_hostile_numbers_are_told_and_end_nothing(tmp_path, value):
    touched(tmp_path / "train_set", "images/0.jpg", "images/1.jpg", "images/notes.txt", "images/2.xyz")
    (tmp_path / "train_set/annotations").mkdir()
    np.save(tmp_path / "train_set/annotations/0_exp.npy", np.array(value))
    np.save(tmp_path / "train_set/annotations/1_exp.npy", np.array(1))
    reading = AffectNet().read(tmp_path)
    assert [still.label for still in reading.records] == ["happiness"]
    assert {(Path(entry.path).name, entry.fault) for entry in reading.skipped} == {
        ("0.jpg", True),
        ("notes.txt", False),
        ("2.xyz", True),
    }


def test_affectnets_shape_of_any_size_is_not_believed(tmp_path):
    touched(tmp_path / "train_set", "images/0.jpg")
    (tmp_path / "train_set/annotations").mkdir()
    with (tmp_path / "train_set/annotations/0_exp.npy").open("wb") as file:
        shape = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, shape)
    [entry] = AffectNet().read(tmp_path).skipped
    assert entry.reason == "a picture without a readable annotation"


def test_raf_dbs_code_of_any_number_of_digits_is_told(raf):
    path = next(raf.rglob("list_patition_label.txt"))
    path.write_text(path.read_text() + f"train_00009.jpg {'9' * 5_000}\n")
    [entry] = [
        entry for entry in RafDb().read(RafDb().locate(raf)).skipped if "names no picture and code" in entry.reason
    ]
    assert entry.fault


def test_a_file_that_is_no_picture_is_told_in_folders_of_splits(tmp_path):
    touched(tmp_path, "train/Anger/1.png", "train/Happy/1.png", "train/Happy/notes.txt", "train/Happy/2.mp4")
    reading = CaerS().read(tmp_path)
    assert {(Path(entry.path).name, entry.fault) for entry in reading.skipped} == {
        ("notes.txt", False),
        ("2.mp4", True),
    }
