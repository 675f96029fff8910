import json
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from fer_cli.dataset.prepared import PreparedDataset, latest_dataset
from fer_cli.errors import DatasetError
from fer_cli.labels import VOTES
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
    metadata.write_text(metadata.read_text().replace(",anger,", ",surprise,", 1))
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


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "x"}', "\0", "[" * 100_000, '{"version": 1}', "1"])
def test_a_card_that_says_nothing_is_refused(made, text):
    (made.path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match="not what fer wrote"):
        PreparedDataset.open(made.path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("corpus", 1),
        ("protocol", []),
        ("protocol.classes", "anger"),
        ("protocol.classes", ["anger", "joy"]),
        ("protocol.classes", ["anger"]),
        ("protocol.classes", ["anger", "anger"]),
        ("protocol.folds", -1),
        ("protocol.folds", 2),
        ("protocol.folds", 2.5),
        ("protocol.folds", True),
        ("protocol.fold_rule", "dice"),
        ("protocol.pairing", None),
        ("crop.size", "32"),
        ("crop.size", 0),
        ("crop.margin", None),
        ("checksums.crops", 5),
    ],
)
def test_a_card_with_a_field_of_another_type_is_refused_by_its_name(made, field, value):
    card = json.loads((made.path / "dataset.json").read_text())
    *above, name = field.split(".")
    part = card
    for step in above:
        part = part[step]
    part[name] = value
    (made.path / "dataset.json").write_text(json.dumps(card))
    with pytest.raises(DatasetError, match="not what fer wrote") as caught:
        PreparedDataset.open(made.path)
    assert name in caught.value.message


def test_a_card_of_before_the_pairing_was_noted_opens(made):
    card = json.loads((made.path / "dataset.json").read_text())
    del card["protocol"]["pairing"]
    (made.path / "dataset.json").write_text(json.dumps(card))
    assert PreparedDataset.open(made.path).protocol == made.protocol


def test_a_later_version_is_refused(made):
    card = json.loads((made.path / "dataset.json").read_text())
    (made.path / "dataset.json").write_text(json.dumps({**card, "version": 99}))
    with pytest.raises(DatasetError, match="later version"):
        PreparedDataset.open(made.path)


def rewritten(made, row: int, **values: str | None) -> None:
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    for column, value in values.items():
        metadata.loc[row, column] = value
    metadata.to_csv(made.path / "metadata.csv", index=False)


# In the made dataset row 1 is P01's neutral face, rows 2 to 4 their apexes, row 5 P02's neutral face. P01 is in fold 0.
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"file_name": "../secret.png"}, "row 2: 'file_name' is '../secret.png', which is no path inside its folder"),
        ({"file_name": "/etc/passwd"}, "row 2: 'file_name' is '/etc/passwd', which is no path inside its folder"),
        ({"file_name": None}, "row 2: 'file_name' is empty, which is no path inside its folder"),
        ({"file_name": "images/P01/happiness.png"}, "row 3: 'file_name' is 'images/P01/happiness.png', as in row 2"),
        ({"file_name": "images/gone.png"}, "row 2: 'file_name' is 'images/gone.png', and there is no such file"),
        ({"neutral_file_name": "../x.png"}, "row 2: 'neutral_file_name' is '../x.png', which is no path inside"),
        ({"neutral_file_name": "gone.png"}, "row 2: 'neutral_file_name' is 'gone.png', which is the 'file_name' of no"),
        ({"neutral_file_name": "images/P01/anger.png"}, "anger.png', which compares a picture with itself"),
        ({"neutral_file_name": "images/P01/happiness.png"}, "happiness.png', which shows happiness"),
        ({"neutral_file_name": "images/P02/neutral.png"}, "neutral.png', which shows P02, and the row P01"),
        ({"subject": None, "fold": None}, "neutral.png', which shows P01, and the row nobody who is named"),
        ({"label": "joy"}, "row 2: 'label' is 'joy', none of neutral, anger"),
        ({"label": None}, "row 2: 'label' is empty, none of neutral, anger"),
        ({"role": "onset"}, "row 2: 'role' is 'onset', none of neutral, apex"),
        ({"role": "neutral"}, "row 2: 'label' is 'anger', though the row's 'role' is neutral"),
        *(
            ({"fold": fold}, f"row 2: 'fold' is '{fold}', no fold from 0 to 2")
            for fold in ("-1", "0.5", "inf", "3", "²")
        ),
        ({"fold": "9" * 5000}, f"row 2: 'fold' is '{'9' * 80}…', no fold from 0 to 2"),
        ({"fold": None}, "row 2: 'fold' is empty, no fold from 0 to 2"),
        ({"fold": "1"}, "row 2: 'fold' is '1', and subject P01 is in fold 0 before"),
        ({"subject": None, "neutral_file_name": None}, "row 2: 'fold' is '0', though the row names no subject"),
    ],
)
def test_a_row_that_no_preparation_writes_is_refused_by_its_number_field_and_value(made, values, said):
    rewritten(made, 1, **values)
    with pytest.raises(DatasetError) as caught:
        PreparedDataset.open(made.path)
    assert said in caught.value.message


def test_folds_that_a_program_wrote_as_decimals_are_folds(made):
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    metadata["fold"] += ".0"
    metadata.to_csv(made.path / "metadata.csv", index=False)
    opened = PreparedDataset.open(made.path).metadata["fold"]
    assert opened.tolist() == made.metadata["fold"].tolist()


@pytest.mark.parametrize(
    ("values", "said"), [({"fold": "0"}, "the protocol has no folds"), ({"split": "tset"}, "none of train")]
)
def test_without_folds_a_row_has_none_and_one_of_the_owners_splits(made, values, said):
    unnamed(made, {"a": "train", "b": "test"})
    rewritten(made, 1, **values)
    with pytest.raises(DatasetError, match=said):
        PreparedDataset.open(made.path)


@pytest.mark.parametrize("text", ["", "\0", '"', "file_name,label\n", "\udcff", "a" * 100])
def test_a_table_that_is_none_is_refused(made, text):
    (made.path / "metadata.csv").write_text(text, errors="surrogateescape")
    with pytest.raises(DatasetError, match=r"metadata\.csv"):
        PreparedDataset.open(made.path)


def test_a_table_that_is_a_folder_or_a_pipe_is_refused(made):
    (made.path / "metadata.csv").unlink()
    os.mkfifo(made.path / "metadata.csv")
    with pytest.raises(DatasetError, match="not a regular file"):
        PreparedDataset.open(made.path)


def test_crops_of_another_size_are_refused(made):
    for name in made.metadata["file_name"]:
        Image.new("RGB", (40, 40)).save(made.path / name)
    with pytest.raises(DatasetError, match="40×40 pixels, and the dataset's crops have 32×32"):
        PreparedDataset.open(made.path)


@pytest.mark.parametrize("what", ["crop", "folder"])
def test_a_link_cannot_leave_the_folder(made, tmp_path, what):
    link = made.path / ("images/P01/anger.png" if what == "crop" else "images/P01")
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="leaves its folder by a symbolic link"):
        PreparedDataset.open(made.path)


def test_a_link_to_the_dataset_or_inside_it_is_followed(made, tmp_path):
    (made.path / "images/P01/anger.png").rename(made.path / "images/P01/kept.png")
    (made.path / "images/P01/anger.png").symlink_to("kept.png")
    (tmp_path / "link").symlink_to(made.path)
    assert len(PreparedDataset.open(tmp_path / "link").metadata) == 36


def test_a_crop_that_is_a_pipe_is_refused(made):
    (made.path / "images/P01/anger.png").unlink()
    os.mkfifo(made.path / "images/P01/anger.png")
    with pytest.raises(DatasetError, match="no such file"):
        PreparedDataset.open(made.path)


def without_a_name(made, *rows: int) -> PreparedDataset:
    """The dataset with nobody named in those rows, counted from 0."""
    for row in rows:
        rewritten(made, row, subject=None, fold=None, neutral_file_name=None)
    return PreparedDataset.open(made.path)


def test_pictures_that_name_nobody_are_on_no_side_where_there_are_folds(made):
    opened = without_a_name(made, 1, 6)
    nobody = {made.metadata["file_name"][row] for row in (1, 6)}
    assert nobody < set(opened.samples(paired=False)["file_name"])
    for fold in range(3):
        sides = opened.split(fold, paired=False)
        assert not nobody & {name for rows in sides.values() for name in rows["file_name"]}
        assert sum(map(len, sides.values())) == 27 - 2
    assert opened.without_subject == 2
    assert made.without_subject == 0


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


def with_votes(made: PreparedDataset, **changes: str) -> Path:
    """The dataset as of a corpus that publishes votes: eight for each row's label, and ``changes`` in row 2."""
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    for name in VOTES:
        rows[f"votes_{name}"] = [str(8 * (label == name)) for label in rows["label"]]
    for column, value in changes.items():
        rows.loc[1, column] = value or pd.NA
    rows.to_csv(made.path / "metadata.csv", index=False)
    return made.path


def test_votes_are_whole_numbers(made):
    rows = PreparedDataset.open(with_votes(made, votes_fear="2.0")).metadata
    assert rows["votes_fear"].dtype == "Int64"
    assert rows.loc[1, [f"votes_{name}" for name in ("neutral", "anger", "fear")]].tolist() == [0, 8, 2]
    assert (rows["votes_unknown"] == 0).all()


def test_rows_may_be_without_votes(made):
    rows = PreparedDataset.open(with_votes(made, **dict.fromkeys((f"votes_{name}" for name in VOTES), ""))).metadata
    assert rows.loc[1, "votes_anger"] is pd.NA
    assert rows["votes_anger"].notna().sum() == len(rows) - 1


@pytest.mark.parametrize("number", ["-1", "nan", "inf", "1.5", "1e3", "9" * 5000, "²", "many", ""])
def test_votes_that_are_no_numbers_are_refused_with_their_row(number, made):
    with pytest.raises(DatasetError, match=r"row 2: 'votes_fear' is .*, no number of votes"):
        PreparedDataset.open(with_votes(made, votes_fear=number))


def test_a_row_of_no_votes_at_all_is_refused(made):
    with pytest.raises(DatasetError, match=r"row 2: 'votes_neutral' is '0', as all votes of its row are"):
        PreparedDataset.open(with_votes(made, votes_anger="0"))


def test_votes_for_some_things_alone_are_refused(made):
    rows = pd.read_csv(with_votes(made) / "metadata.csv", dtype="string")
    rows.drop(columns=["votes_fear", "votes_unknown"]).to_csv(made.path / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="has votes, and lacks the columns votes_fear, votes_unknown"):
        PreparedDataset.open(made.path)


def test_a_row_without_a_label_is_there_for_its_votes_and_met_by_none_but_a_training_by_them(made):
    dataset = PreparedDataset.open(with_votes(made, label=""))
    name, fold = dataset.metadata.loc[1, ["file_name", "fold"]]
    assert name not in dataset.samples(paired=False)["file_name"].tolist()
    for tested in range(3):
        plain = dataset.split(tested, paired=False)
        more = dataset.split(tested, paired=False, unlabelled=True)
        assert name not in pd.concat(plain.values())["file_name"].tolist()
        # In no fold but its own subject's, and on no side but that to train on.
        trains = (fold - tested) % 3 == 2
        assert (name in more["train"]["file_name"].tolist()) == trains
        assert len(more["train"]) == len(plain["train"]) + trains
        assert more["val"].equals(plain["val"])
        assert more["test"].equals(plain["test"])
        assert dataset.split(tested, paired=True, unlabelled=True)["train"]["label"].notna().all()


def test_a_row_without_a_label_has_votes_for_expressions(made):
    with pytest.raises(DatasetError, match="row 2: 'label' is empty, none of neutral"):
        PreparedDataset.open(with_votes(made, label="", votes_anger="0", votes_unknown="8"))


def test_a_row_without_a_label_is_no_test_picture(made):
    unnamed(made, {"a": "train", "b": "test"})
    with pytest.raises(DatasetError, match="row 2: 'label' is empty, though the row is not one to train on"):
        PreparedDataset.open(with_votes(made, label=""))
