"""Preparing, on a corpus of dots: each picture has 68 landmarks, so that no detector is needed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import pytest
from annotated_doc import Doc
from PIL import Image

from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Skipped, Still
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import CorpusError, DatasetError, DetectorError, UsageError

LABELS = ("anger", "fear", "happiness")
SMALL = {"size": 32, "folds": 3, "jobs": 1}


@dataclass
class Dots(Corpus):
    """A folder of ``subject/label/frame.png`` with ``frame.txt`` beside each."""

    name: ClassVar[str] = "dots"
    title: ClassVar[str] = "Dots"
    summary: ClassVar[str] = "Dots."
    layout: ClassVar[str] = "subject/label/frame.png"

    note: Annotated[str, Doc("A setting of its own.")] = ""

    def locate(self, root: Path) -> Path:
        if not root.is_dir():
            raise CorpusError(f"There is no folder {root}.")
        return root

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        reading = Reading()
        for folder in sorted(root.glob("*/*")):
            frames = tuple(Frame(path, path.with_suffix(".txt")) for path in sorted(folder.glob("*.png")))
            apexes = tuple(range(len(frames) - apex_frames, len(frames)))
            reading.records.append(
                Sequence(folder.parent.name, folder.name, frames, folder.name, 0, apexes, f"last {apex_frames} frames")
            )
            reading.found["sequences"] += 1
        reading.skipped.append(Skipped(str(root / "odd"), "odd", fault=False))
        return reading


def points(right_eye: tuple[float, float], left_eye: tuple[float, float]) -> str:
    landmarks = np.full((68, 2), 50.0)
    landmarks[36:42], landmarks[42:48] = right_eye, left_eye
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in landmarks)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "corpus"
    for subject in range(6):
        for label in LABELS:
            folder = root / f"S{subject}" / label
            folder.mkdir(parents=True)
            for frame in range(4):
                seed = [subject, LABELS.index(label), frame]
                pixels = np.random.default_rng(seed).integers(0, 256, (100, 120), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{frame}.png")
                (folder / f"{frame}.txt").write_text(points((40, 45), (70, 45)))
    return root


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data" / "dots"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_corpus_becomes_a_dataset(root, out):
    prepared = prepare(Dots(), root, out, Preparation(**SMALL))
    dataset = PreparedDataset.open(out)
    assert prepared.made == len(dataset.metadata) == 6 * 3 * 4
    assert prepared.faults == 0
    assert dataset.protocol.name == (
        "Dots 3 classes (anger, fear, happiness), last 3 frames, neutral of the same sequence, 3 folds by ID step 3"
    )
    assert dataset.crop == {"size": 32, "margin": 0.15, "detector": "landmarks"}
    pairs = dataset.samples(paired=True)
    assert len(pairs) == 6 * 3 * 3
    assert not (pairs["file_name"] == pairs["neutral_file_name"]).any()
    for name in dataset.metadata["file_name"]:
        assert Image.open(out / name).size == (32, 32)
    counts = dataset.card["counts"]
    assert counts["per_class"] == {"neutral": 18, "anger": 18, "fear": 18, "happiness": 18}
    assert (counts["subjects"], counts["sequences"], counts["pairs"]) == (6, 18, 54)
    assert dataset.card["left_out"] == [{"reason": "odd", "fault": False, "count": 1, "paths": ["odd"]}]


def test_no_subject_is_in_two_folds_of_the_written_table(root, out):
    prepare(Dots(), root, out, Preparation(**SMALL))
    table = pd.read_csv(out / "metadata.csv")
    assert (table.groupby("subject")["fold"].nunique() == 1).all()
    assert set(table["fold"]) == {0, 1, 2}


def test_the_same_line_again_does_nothing(root, out):
    prepare(Dots(), root, out, Preparation(**SMALL))
    before = everything(out)
    assert prepare(Dots(), root, out, Preparation(**SMALL)).made == 0
    assert everything(out) == before


def test_a_card_that_somebody_has_edited_is_written_again(root, out):
    prepare(Dots(), root, out, Preparation(**SMALL))
    before = everything(out)
    card = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps({**card, "counts": {"crops": "many"}}))
    assert prepare(Dots(), root, out, Preparation(**SMALL)).made == 0
    assert everything(out) == before


def test_pictures_that_name_nobody_are_kept_counted_and_in_no_fold(root, out):
    class WithSomeUnnamed(Dots):
        def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
            reading = super().read(root, apex_frames=apex_frames)
            for record in reading.records[:2]:
                reading.records.append(Still(record.frames[1], record.label))
            return reading

    # The first apex of two sequences is now a picture of its own, whose subject nobody gives.
    card = prepare(WithSomeUnnamed(), root, out, Preparation(**SMALL, apex_frames=2)).card
    rows = PreparedDataset.open(out).metadata
    unnamed = rows[rows["subject"].isna()]
    assert len(unnamed) == card["counts"]["without_subject"] == 2
    assert unnamed["fold"].isna().all()
    [entry] = [entry for entry in card["left_out"] if "no subject is named" in entry["reason"]]
    assert (entry["count"], entry["fault"]) == (2, False)


def test_two_preparations_write_the_same_bytes(root, out, tmp_path):
    prepare(Dots(), root, out, Preparation(**SMALL))
    prepare(Dots(), root, tmp_path / "again", Preparation(**{**SMALL, "jobs": 2}))
    assert everything(out) == everything(tmp_path / "again")


def test_an_interrupted_preparation_is_completed_by_the_same_line(root, out, tmp_path):
    def interrupt(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(Dots(), root, out, Preparation(**SMALL), progress=interrupt)
    with pytest.raises(DatasetError, match="not finished"):
        PreparedDataset.open(out)
    assert prepare(Dots(), root, out, Preparation(**SMALL)).made == 72 - 20
    prepare(Dots(), root, tmp_path / "at-once", Preparation(**SMALL))
    assert everything(out) == everything(tmp_path / "at-once")


def test_a_crop_that_was_deleted_is_made_again(root, out):
    prepare(Dots(), root, out, Preparation(**SMALL))
    before = everything(out)
    name = PreparedDataset.open(out).metadata["file_name"][5]
    (out / name).unlink()
    assert prepare(Dots(), root, out, Preparation(**SMALL)).made == 1
    assert everything(out) == before


@pytest.mark.parametrize("changed", [{"size": 40}, {"margin": 0.3}, {"folds": 4}, {"classes": "anger,fear"}])
def test_other_settings_are_refused_until_overwriting_is_asked_for(root, out, changed):
    prepare(Dots(), root, out, Preparation(**SMALL))
    (out / "notes.txt").write_text("mine")
    other = {**SMALL, **changed}
    with pytest.raises(DatasetError, match="other settings"):
        prepare(Dots(), root, out, Preparation(**other))
    prepare(Dots(), root, out, Preparation(**other, overwrite=True))
    assert (out / "notes.txt").read_text() == "mine"
    PreparedDataset.open(out)


def test_a_corpuss_own_settings_count_too(root, out):
    prepare(Dots(), root, out, Preparation(**SMALL))
    with pytest.raises(DatasetError, match="other settings"):
        prepare(Dots(note="x"), root, out, Preparation(**SMALL))


def test_a_folder_of_other_things_is_never_touched(root, out):
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="in the way"):
        prepare(Dots(), root, out, Preparation(**SMALL, overwrite=True))
    assert everything(out) == {"thesis.txt": b"precious"}


def test_pictures_that_cannot_be_used_are_skipped_and_listed(root, out):
    (root / "S0" / "anger" / "3.png").write_bytes(b"")
    whole = (root / "S1" / "fear" / "2.png").read_bytes()
    (root / "S1" / "fear" / "2.png").write_bytes(whole[: len(whole) // 2])
    (root / "S2" / "fear" / "0.png").write_text("a renamed letter")
    prepared = prepare(Dots(), root, out, Preparation(**SMALL))
    assert prepared.faults == 3
    faults = {path: entry["reason"] for entry in prepared.card["left_out"] if entry["fault"] for path in entry["paths"]}
    assert set(faults) == {"S0/anger/3.png", "S1/fear/2.png", "S2/fear/0.png"}
    assert len(set(faults.values())) == 3
    rows = PreparedDataset.open(out).metadata
    assert len(rows) == 72 - 3
    # The neutral face of S2's fear is gone: its apex frames stay, unpaired.
    unpaired = rows[(rows["role"] == "apex") & rows["neutral_file_name"].isna()]
    assert set(zip(unpaired["subject"], unpaired["sequence"], strict=True)) == {("S2", "fear")}


def test_broken_landmarks_are_said_where_no_detector_can_stand_in(root, out):
    (root / "S0" / "anger" / "3.txt").write_text("1 2\n")
    prepared = prepare(Dots(), root, out, Preparation(**SMALL))
    [entry] = [entry for entry in prepared.card["left_out"] if entry["fault"]]
    assert "landmark" in entry["reason"]


def test_when_nothing_can_be_used_it_says_why(root, out):
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="None of 72") as caught:
        prepare(Dots(), root, out, Preparation(**SMALL))
    assert "empty file" in caught.value.hint


def test_more_folds_than_subjects_are_refused_before_anything_is_written(root, out):
    with pytest.raises(DatasetError, match="fewer subjects than the 7 folds"):
        prepare(Dots(), root, out, Preparation(**{**SMALL, "folds": 7}))
    assert not out.exists()


def test_more_folds_than_people_who_would_be_drawn_are_refused_before_anybody_is(tmp_path, out):
    with pytest.raises(DatasetError, match="fewer subjects than the 10 folds") as caught:
        prepare(Synthetic(subjects=6), tmp_path / "corpus", out, Preparation(classes="anger,fear"))
    assert caught.value.hint == "Type --folds 6."
    assert "sadness" not in caught.value.message
    assert not out.exists()
    assert not (tmp_path / "corpus").exists()


def test_a_class_that_nobody_shows_is_refused(root, out):
    with pytest.raises(DatasetError, match=r"shows any of disgust, surprise|Nothing"):
        prepare(Dots(), root, out, Preparation(**{**SMALL, "classes": "disgust,surprise"}))


def test_a_detector_that_is_none_is_said_before_work_begins(root, out, tmp_path):
    for path in root.rglob("0.txt"):
        path.unlink()

    class WithoutSome(Dots):
        def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
            reading = super().read(root, apex_frames=apex_frames)
            reading.records = [
                Sequence(
                    record.subject,
                    record.sequence,
                    tuple(Frame(f.path, f.landmarks if f.landmarks.exists() else None) for f in record.frames),
                    *(record.label, record.neutral, record.apexes, record.apex_source),
                )
                for record in reading.records
            ]
            return reading

    (tmp_path / "no.onnx").write_text("no detector")
    with pytest.raises(DetectorError):
        prepare(WithoutSome(), root, out, Preparation(**SMALL, detector_model=tmp_path / "no.onnx"))
    assert not out.exists()


def test_the_card_says_what_made_it(root, out):
    prepare(Dots(), root, out, Preparation(**SMALL))
    card = json.loads((out / "dataset.json").read_text())
    assert card["corpus"] == "dots"
    assert set(card["checksums"]) == {"metadata", "crops"}
    assert card["settings"]["size"] == 32


@pytest.mark.parametrize("settings", [{"apex_frames": 0}, {"jobs": 0}])
def test_settings_that_cannot_be_meant_are_typing_errors(settings):
    with pytest.raises(UsageError):
        Preparation(**settings)
