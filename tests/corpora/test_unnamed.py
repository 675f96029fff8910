"""Corpora that do not say who is shown: official splits are kept, folds are refused."""

from collections import Counter
from pathlib import Path

import pytest

from fer_cli.corpora.caer_s import CaerS
from fer_cli.corpora.raf_db import RafDb
from fer_cli.corpora.sfew import Sfew
from fer_cli.dataset.plan import make_plan
from fer_cli.dataset.preparation import Preparation
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


def test_the_compound_list_is_refused_by_name_with_the_reason(raf):
    with (raf / "EmoLabel/list_patition_label.txt").open("a") as file:
        file.write("train_00009.jpg 11\n")
    with pytest.raises(CorpusError) as caught:
        RafDb().read(raf)
    assert "code 11" in caught.value.message
    assert "compound" in caught.value.mend


def test_a_picture_of_the_list_that_is_gone_is_named(raf):
    (raf / "Image/aligned/train_00003_aligned.jpg").unlink()
    [entry] = RafDb().read(raf).left_out
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
    assert len(reading.left_out) == sum(shown is None for shown in names.values())
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
