import json

import pandas as pd
import pytest

from fer_cli.dataset.prepared import PreparedDataset, latest_dataset
from fer_cli.errors import DatasetError
from tests.made import CLASSES, made_dataset, unnamed


def test_a_fold_divides_subjects_not_pictures(made):
    for fold in range(made.protocol.folds):
        sides = made.split(fold, paired=True)
        subjects = [set(rows["subject"]) for rows in sides.values()]
        assert not subjects[0] & subjects[1]
        assert not subjects[0] & subjects[2]
        assert not subjects[1] & subjects[2]
        assert sum(map(len, sides.values())) == len(made.samples(paired=True)) == 27
        assert set(sides["test"]["fold"]) == {fold}
        assert set(sides["val"]["fold"]) == {(fold + 1) % 3}


def test_samples_show_the_protocols_classes(made):
    assert set(made.samples(paired=True)["label"]) == set(CLASSES)


def test_a_fold_that_is_not_there_is_refused(made):
    with pytest.raises(DatasetError, match="no fold 7"):
        made.split(7, paired=True)


def test_the_fingerprint_follows_the_rows(made):
    before = PreparedDataset.open(made.path).fingerprint
    metadata = made.path / "metadata.csv"
    metadata.write_text(metadata.read_text().replace("anger", "surprise", 1))
    assert PreparedDataset.open(made.path).fingerprint != before


def test_the_latest_dataset_is_the_one_finished_last(tmp_path):
    import os

    for number, name in enumerate(("b", "a", "c")):
        card = made_dataset(tmp_path / name, subjects=3).path / "dataset.json"
        os.utime(card, (1_700_000_000 - number, 1_700_000_000 - number))
    assert latest_dataset(tmp_path) == tmp_path / "b"
    assert latest_dataset(tmp_path / "nowhere") is None


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no folder"):
        PreparedDataset.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="not a prepared dataset"):
        PreparedDataset.open(tmp_path)


def test_an_unfinished_dataset_is_refused_with_what_to_type(made):
    (made.path / "dataset.json").rename(made.path / "unfinished.json")
    with pytest.raises(DatasetError, match="not finished"):
        PreparedDataset.open(made.path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "x"}', "\0"])
def test_a_card_that_says_nothing_is_refused(made, text):
    (made.path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match="not what fer wrote"):
        PreparedDataset.open(made.path)


def test_a_later_version_is_refused(made):
    card = json.loads((made.path / "dataset.json").read_text())
    (made.path / "dataset.json").write_text(json.dumps({**card, "version": 99}))
    with pytest.raises(DatasetError, match="later version"):
        PreparedDataset.open(made.path)


def rewritten(made, row: int, column: str, value: str) -> None:
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    metadata.loc[row, column] = value
    metadata.to_csv(made.path / "metadata.csv", index=False)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("file_name", "../secret.png", "outside its folder"),
        ("neutral_file_name", "/etc/passwd", "outside its folder"),
        ("neutral_file_name", "images/P01/anger.png", "compares a picture with itself"),
        ("label", "joy", "mean nothing here"),
        ("role", "onset", "mean nothing here"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(made, column, value, said):
    rewritten(made, 1, column, value)
    with pytest.raises(DatasetError, match=said):
        PreparedDataset.open(made.path)


def test_a_table_without_its_columns_is_refused(made):
    (made.path / "metadata.csv").write_text("file_name,label\na.png,fear\n")
    with pytest.raises(DatasetError, match="lacks the columns"):
        PreparedDataset.open(made.path)


def test_it_opens_as_a_hugging_face_image_folder(made, tmp_path):
    from datasets import load_dataset

    opened = load_dataset("imagefolder", data_dir=str(made.path), cache_dir=str(tmp_path / "cache"), split="train")
    assert len(opened) == len(made.metadata) == 36
    assert opened.column_names == [
        *("image", "label", "subject", "sequence", "frame", "role"),
        *("neutral", "split", "fold"),
    ]
    assert set(opened["label"]) == {"neutral", *CLASSES}
    for row in opened:
        # ImageFolder opens neutral_file_name too, so that a pair is one row.
        assert row["image"].size == (32, 32)
        assert (row["neutral"] is None) == (row["role"] == "neutral")


def test_without_folds_the_owners_split_is_taken(tmp_path):
    made = made_dataset(tmp_path / "made", subjects=12)
    sides = unnamed(made, {"a": "train", "b": "val", "c": "test"}).split(0, paired=False)
    assert {side: set(rows["split"]) for side, rows in sides.items()} == {
        side: {side} for side in ("train", "val", "test")
    }


def test_without_a_part_to_validate_on_a_tenth_of_each_class_is_set_apart(tmp_path):
    made = made_dataset(tmp_path / "made", subjects=45)
    parts = {"a": "train", "b": "train", "c": "train", "d": "train", "e": "val"}
    sides = unnamed(made, parts).split(0, paired=False)
    assert set(sides["test"]["split"]) == {"val"}
    assert set(sides["val"]["split"]) == set(sides["train"]["split"]) == {"train"}
    assert not set(sides["val"]["file_name"]) & set(sides["train"]["file_name"])
    assert sides["val"]["label"].value_counts().tolist() == [3, 3, 3]


def test_without_folds_and_split_training_is_refused_with_the_reason(tmp_path):
    made = made_dataset(tmp_path / "made", subjects=12)
    with pytest.raises(DatasetError, match="does not say who is shown"):
        unnamed(made, {"a": None}).split(0, paired=False)
