"""FER2013 in the forms in which it is passed on, and FER+'s rule for its votes."""

import csv
import io
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_cli.corpora import detect
from fer_cli.corpora.fer2013 import COLUMNS, Fer2013
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import CorpusError, DatasetError, PictureError
from fer_cli.faces.decode import pixel_row
from fer_cli.labels import VOTES


def fer2013(root: Path, rows: list[tuple[int, str]], votes: list[str] | None = None) -> Path:
    root.mkdir(parents=True)
    lines = ["emotion,pixels,Usage"]
    for number, (code, usage) in enumerate(rows):
        levels = " ".join(str((number * 7 + place) % 256) for place in range(48 * 48))
        lines.append(f"{code},{levels},{usage}")
    (root / "fer2013.csv").write_text("\n".join(lines) + "\n")
    if votes is not None:
        header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
        table = [header, *(f"Training,fer{n:07d}.png,{row}" for n, row in enumerate(votes))]
        (root / "fer2013new.csv").write_text("\n".join(table) + "\n")
    return root


ROWS = [(code, usage) for usage in ("Training", "PublicTest", "PrivateTest") for code in range(7)]


def test_fer2013s_codes_splits_and_pixels(tmp_path):
    from fer_cli.faces.decode import pixel_row

    corpus = Fer2013()
    root = corpus.locate(fer2013(tmp_path / "deep" / "fer", ROWS).parent)
    reading = corpus.read(root)
    assert [(still.label, still.split) for still in reading.records[:8]] == [
        *((label, "train") for label in ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")),
        ("anger", "val"),
    ]
    assert reading.found == {"pictures": 21, "train": 7, "val": 7, "test": 7}
    for number, still in enumerate(reading.records):
        pixels = pixel_row(still.frame.path, still.frame.offset)
        assert pixels.shape == (48, 48, 3)
        assert pixels[0, 5].tolist() == [number * 7 + 5] * 3


def test_ferplus_takes_the_published_majority_and_says_where_there_is_none(tmp_path):
    # neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, no face
    votes = {
        "0,8,0,0,0,0,0,0,2,0": "happiness",
        "0,0,0,0,0,0,0,9,1,0": "contempt",
        "6,1,1,1,1,0,0,0,0,0": "neutral",
        "4,1,1,1,1,1,1,0,0,0": "neutral",  # the six that stand alone are dropped: 4 of 4
        "5,5,0,0,0,0,0,0,0,0": "no majority of votes",
        "4,0,0,1,3,2,0,0,0,0": "no majority of votes",  # 4 of 9, though no other has as many
        "5,0,0,0,3,2,0,0,0,0": "no majority of votes",  # a half is not more than half
        "1,1,1,1,1,1,1,1,1,1": "no majority of votes",
        "0,0,0,0,0,0,0,0,0,0": "no majority of votes",
        "0,0,0,0,1,0,0,0,9,0": "voted unknown",
        "0,0,0,0,0,0,0,0,0,10": "voted no face",
    }
    root = fer2013(tmp_path / "fer", ROWS[: len(votes)], list(votes))
    corpus = Fer2013(ferplus=root / "fer2013new.csv", unlabelled=False)
    reading = corpus.read(root)
    assert [still.label for still in reading.records] == list(votes.values())[:4]
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [
        (reason, False) for reason in list(votes.values())[4:]
    ]
    assert corpus.title_at(root) == "FER+ (majority of votes)"


def test_ferplus_by_plurality_is_called_so(tmp_path):
    votes = {"4,0,0,1,3,2,0,0,0,0": "neutral", "5,5,0,0,0,0,0,0,0,0": None, "0,0,0,0,1,0,0,0,9,0": None}
    root = fer2013(tmp_path / "fer", ROWS[:3], list(votes))
    corpus = Fer2013(ferplus=root / "fer2013new.csv", ferplus_rule="plurality", unlabelled=False)
    reading = corpus.read(root)
    assert [still.label for still in reading.records] == ["neutral"]
    assert [entry.reason for entry in reading.skipped] == ["a tie of votes", "voted unknown"]
    assert corpus.title_at(root) == "FER+ (plurality of votes)"


@pytest.mark.parametrize(
    ("rule", "splits"),
    [
        ("majority", {"train": 25_060, "val": 3_199, "test": 3_153}),
        ("plurality", {"train": 26_940, "val": 3_396, "test": 3_376}),
    ],
)
def test_the_published_counts_of_ferplus_come_out(rule, splits, shared, tmp_path):
    published = shared / "data/ferplus/fer2013new.csv"
    with published.open(newline="") as file:
        usage = [row["Usage"] for row in csv.DictReader(file)]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "".join(f"0,0 0 0 0,{each}\n" for each in usage))
    reading = Fer2013(ferplus=published, ferplus_rule=rule, unlabelled=False).read(tmp_path)
    assert Counter(still.split for still in reading.records) == splits
    if rule == "majority":
        assert Counter(still.label for still in reading.records) == {
            **{"neutral": 11_012, "happiness": 9_045, "surprise": 3_960, "sadness": 3_749},
            **{"anger": 2_660, "fear": 677, "disgust": 161, "contempt": 148},
        }


def folders(root: Path, votes: dict[str, dict[str, str]]) -> Path:
    """FER+'s folders, as its own program writes them: ``votes`` by folder and by picture."""
    for folder, rows in votes.items():
        (root / folder).mkdir(parents=True)
        lines = [f'{name},"(0, 0, 48, 48)",{row}' for name, row in rows.items()]
        (root / folder / "label.csv").write_text("\n".join(lines) + "\n")
        for number, name in enumerate(rows):
            Image.fromarray(np.full((48, 48), 10 * number, np.uint8)).save(root / folder / name)
    return root


#: Neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, no face.
VOTED = {
    "FER2013Train": {
        "fer0000000.png": "0,8,0,0,0,0,0,0,2,0",
        "fer0000001.png": "4,0,0,1,3,2,0,0,0,0",
        "fer0000002.png": "0,0,0,0,1,0,0,0,9,0",
        "fer0000003.png": "0,2,0,0,0,0,0,0,3,5",
        "fer0000004.png": "1,0,0,0,0,0,0,9,0,0",
    },
    "FER2013Valid": {"fer0000005.png": "9,0,1,0,0,0,0,0,0,0", "fer0000006.png": "5,5,0,0,0,0,0,0,0,0"},
    "FER2013Test": {"fer0000007.png": "0,0,0,0,0,0,9,0,0,1"},
}


def test_ferplus_own_folders_are_read_with_their_votes(tmp_path):
    root = folders(tmp_path / "deep" / "FERPlus", VOTED)
    corpus = Fer2013()
    assert corpus.locate(tmp_path) == root
    assert corpus.title_at(root) == "FER+ (majority of votes)"
    reading = corpus.read(root)
    assert reading.found == {"pictures": 8, "train": 5, "val": 2, "test": 1}
    assert [(still.frame.path.name, still.label, still.split) for still in reading.records] == [
        ("fer0000007.png", "fear", "test"),
        ("fer0000000.png", "happiness", "train"),
        # Kept to train on its votes: most are for expressions, none of which has the majority.
        ("fer0000001.png", None, "train"),
        ("fer0000004.png", "contempt", "train"),
        ("fer0000005.png", "neutral", "val"),
    ]
    # Votes are kept raw, those that stand alone too, in the vocabulary's order.
    assert dict(zip(VOTES, reading.records[3].votes, strict=True)) == {
        **dict.fromkeys(VOTES, 0),
        **{"neutral": 1, "contempt": 9},
    }
    assert [(entry.path, entry.reason, entry.fault) for entry in reading.skipped] == [
        ("FER2013Train/label.csv:3", "voted unknown", False),
        # Neither picture of a person's face nor, with the fewest votes for expressions, one to learn them from.
        ("FER2013Train/label.csv:4", "no majority of votes", False),
        # Only training pictures are of use without a label.
        ("FER2013Valid/label.csv:2", "no majority of votes", False),
    ]


def test_pictures_without_a_label_can_be_done_without(tmp_path):
    reading = Fer2013(unlabelled=False).read(folders(tmp_path / "FERPlus", VOTED))
    assert [still.label for still in reading.records] == ["fear", "happiness", "contempt", "neutral"]
    assert ("FER2013Train/label.csv:2", "no majority of votes") in [
        (each.path, each.reason) for each in reading.skipped
    ]


@pytest.mark.parametrize("given", ["folder", "file"])
def test_votes_become_columns_and_pictures_without_a_label_are_trained_on_by_them_alone(given, tmp_path):
    root = folders(tmp_path / "made", VOTED)
    given = tmp_path / "downloads" / ("ferplus.zip" if given == "file" else "")
    (tmp_path / "downloads").mkdir()
    with zipfile.ZipFile(tmp_path / "downloads" / "ferplus.zip", "w") as archive:
        for path in sorted(root.rglob("*.*")):
            archive.write(path, path.relative_to(root))
    prepared = prepare(Fer2013(), given, tmp_path / "out", Preparation(size=48, jobs=1, detector="none"))
    assert prepared.card["counts"]["without_label"] == 1
    assert prepared.card["counts"]["per_class"] == {"neutral": 1, "contempt": 1, "fear": 1, "happiness": 1}
    dataset = PreparedDataset.open(tmp_path / "out")
    row = dataset.metadata[dataset.metadata["frame"] == "fer0000001"].iloc[0]
    assert pd.isna(row["label"])
    assert row["split"] == "train"
    assert row[[f"votes_{name}" for name in VOTES]].tolist() == [4, 3, 0, 2, 0, 0, 1, 0, 0, 0]
    # No reader but a training by votes meets it.
    assert dataset.samples(paired=False)["label"].notna().all()
    sides = dataset.split(0, paired=False)
    assert {side: rows["frame"].tolist() for side, rows in sides.items()} == {
        **{"train": ["fer0000000", "fer0000004"], "val": ["fer0000005"], "test": ["fer0000007"]},
    }


@pytest.mark.parametrize("count", ["9" * 5000, "inf", "-1", "nan", "1e3", "", "²", "1.5", "0x1"])
def test_votes_in_a_list_that_are_none_are_said_with_their_line(count, tmp_path):
    root = folders(tmp_path, {"FER2013Train": {"fer1.png": "9,0,0,0,0,0,0,0,0,0", "fer2.png": f"9,{count}" + ",0" * 8}})
    reading = Fer2013().read(root)
    assert [still.frame.path.name for still in reading.records] == ["fer1.png"]
    [entry] = reading.skipped
    assert (entry.path, entry.reason, entry.fault) == (
        "FER2013Train/label.csv:2",
        "a row of FER+ without ten numbers of votes",
        True,
    )


def test_a_list_that_does_not_fit_its_folder_is_said(tmp_path):
    votes = "9,0,0,0,0,0,0,0,0,0"
    root = folders(tmp_path / "root", {"FER2013Train": {"fer1.png": votes, "fer2.png": votes, "fer3.png": votes}})
    Image.new("L", (48, 48)).save(tmp_path / "outside.png")
    Image.new("L", (48, 48)).save(root / "FER2013Train" / "fer9.png")
    (root / "FER2013Train" / "notes.txt").touch()
    with (root / "FER2013Train" / "label.csv").open("a") as file:
        for name in ("../../outside.png", str(tmp_path / "outside.png"), "fer8.png", "fer2.png", ".", ""):
            file.write(f'{name},"(0, 0, 48, 48)",{votes}\n')
        file.write(f'fer3.png,"(0, 0, 48, 48)",{votes},4\n')
    reading = Fer2013().read(root)
    assert [still.frame.path.name for still in reading.records] == ["fer1.png"]
    assert [(Path(entry.path).name, entry.reason, entry.fault) for entry in reading.skipped] == [
        ("label.csv:2", "a picture that label.csv has more than once", True),
        ("label.csv:3", "a picture that label.csv has more than once", True),
        *((f"label.csv:{line}", "a picture of label.csv that is not there", True) for line in (4, 5, 6)),
        ("label.csv:7", "a picture that label.csv has more than once", True),
        *((f"label.csv:{line}", "a picture of label.csv that is not there", True) for line in (8, 9)),
        ("label.csv:10", "a picture that label.csv has more than once", True),
        ("fer9.png", "a picture that label.csv does not have", True),
        ("notes.txt", "neither a picture nor a video", False),
    ]


def test_a_row_of_a_list_with_more_votes_than_there_are_is_said(tmp_path):
    root = folders(tmp_path, {"FER2013Train": {"fer1.png": "9,0,0,0,0,0,0,0,0,0", "fer2.png": "9,0,0,0,0,0,0,0,0,0,3"}})
    reading = Fer2013().read(root)
    assert [entry.reason for entry in reading.skipped] == ["a row of FER+ without ten numbers of votes"]
    (tmp_path / "FER2013Train" / "label.csv").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(CorpusError, match=r"label\.csv"):
        Fer2013().read(root)


def test_the_table_of_votes_is_joined_with_the_folders_by_name(tmp_path):
    root = folders(tmp_path / "root", VOTED)
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    rows = ["Training,fer0000000.png,0,0,9,0,0,0,0,0,1,0", "Training,,0,0,0,0,0,0,0,0,0,10"]
    rows.append("Training,fer0000000.png,0,0,0,0,0,0,0,0,0,10")
    (tmp_path / "fer2013new.csv").write_text("\n".join([header, *rows]) + "\n")
    reading = Fer2013(ferplus=tmp_path / "fer2013new.csv").read(root)
    assert [(still.frame.path.name, still.label) for still in reading.records] == [("fer0000000.png", "surprise")]
    assert Counter(entry.reason for entry in reading.skipped) == {"a picture that FER+'s table does not have": 7}


@pytest.mark.parametrize(
    ("table", "splits", "unlabelled"),
    [
        (None, {"train": 25_045, "val": 3_191, "test": 3_137}, 3_423),
        # As the table's rows alone come to, but for three second rows of a training picture.
        ("fer2013new.csv", {"train": 25_057, "val": 3_199, "test": 3_153}, 3_412),
    ],
)
def test_the_pictures_of_ferplus_as_they_are_shipped(table, splits, unlabelled, shared, tmp_path, monkeypatch):
    shipped = shared / "data/ferplus"
    pictures: dict[str, list[Path]] = {}
    with zipfile.ZipFile(shipped / "ferplus.zip") as archive:
        for name in archive.namelist():
            path = tmp_path / name
            if path.name == "label.csv":
                path.parent.mkdir()
                path.write_bytes(archive.read(name))
            else:
                pictures.setdefault(path.parent.name, []).append(path)
    # As if the pictures were there, whose writing takes longest.
    monkeypatch.setattr("fer_cli.corpora.fer2013.children", lambda folder: pictures.get(folder.name, []))
    monkeypatch.setattr("fer_cli.corpora.fer2013.is_file", lambda path: True)
    corpus = Fer2013(ferplus=None if table is None else shipped / table)
    reading = corpus.read(corpus.locate(tmp_path))
    assert Counter(still.split for still in reading.records if still.label) == splits
    assert Counter(still.split for still in reading.records if still.label is None) == {"train": unlabelled}
    assert reading.found == corpus.promises_at(tmp_path)
    assert not [entry for entry in reading.skipped if entry.fault]
    assert Counter(sum(still.votes) for still in reading.records) == {
        **{10: sum(splits.values()) + unlabelled - 1, 9: 1}
    }


@pytest.mark.parametrize("count", ["9" * 5000, "inf", "-1", "nan", "1e3", "", "²", "1.5", "0x1"])
def test_votes_that_are_none_are_said_with_their_row(count, tmp_path):
    root = fer2013(tmp_path / "fer", ROWS[:2], ["9,0,0,0,0,0,0,0,0,0", f"{count},9,0,0,0,0,0,0,0,0"])
    reading = Fer2013(ferplus=root / "fer2013new.csv").read(root)
    assert [still.label for still in reading.records] == ["neutral"]
    [entry] = reading.skipped
    assert (entry.path, entry.fault) == ("fer2013.csv, row 2", True)
    assert entry.reason == "a row of FER+ without ten numbers of votes"


def test_a_short_row_of_votes_is_said_and_numbers_may_be_written_as_decimals(tmp_path):
    root = fer2013(tmp_path / "fer", ROWS[:2], ["9.0,1.0,0,0,0,0,0,0,0,0", "9,1"])
    reading = Fer2013(ferplus=root / "fer2013new.csv").read(root)
    assert [still.label for still in reading.records] == ["neutral"]
    assert [entry.path for entry in reading.skipped] == ["fer2013.csv, row 2"]


def test_tables_that_do_not_belong_together_are_refused(tmp_path):
    root = fer2013(tmp_path / "fer", ROWS[:3], ["1,0,0,0,0,0,0,0,0,0"])
    with pytest.raises(CorpusError, match="has 1 rows"):
        Fer2013(ferplus=root / "fer2013new.csv").read(root)
    with pytest.raises(CorpusError, match="lacks the columns"):
        Fer2013(ferplus=root / "fer2013.csv").read(root)


@pytest.mark.parametrize("code", ["7", "x", "9" * 5000, "inf", "-1", "", "²", "3.5"])
def test_a_code_that_fer2013_does_not_have_is_said_with_its_row(code, tmp_path):
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,0 0 0 0,Training\n{code},0 0 0 0,Training\n")
    reading = Fer2013().read(tmp_path)
    assert [still.label for still in reading.records] == ["happiness"]
    [entry] = reading.skipped
    assert (entry.path, entry.fault) == ("fer2013.csv, row 2", True)
    assert "none of 0 anger, 1 disgust" in entry.reason


@pytest.mark.parametrize(
    "row",
    [
        *(
            "3,,Training",
            "3,1 2 3,Training",
            "3,1 2 3 999,Training",
            "3",
            "3,a b c d,Training",
            "",
            "3,nan 0 0 0,Training",
        ),
        *("3,inf 0 0 0,Training", "3,-1 0 0 0,Training", f"3,{'9' * 5000} 0 0 0,Training", "3,0.5 0 0 0,Training"),
    ],
)
def test_a_row_without_a_square_of_grey_levels_is_said(tmp_path, row):
    from fer_cli.faces.decode import pixel_row

    (tmp_path / "fer2013.csv").write_text(row + "\n")
    with pytest.raises(PictureError, match="row"):
        pixel_row(tmp_path / "fer2013.csv", 0)


def test_a_row_of_pixels_becomes_a_crop(tmp_path):
    root = fer2013(tmp_path / "fer", ROWS)
    prepare(Fer2013(), root, tmp_path / "out", Preparation(size=48, jobs=1, detector="none"))
    dataset = PreparedDataset.open(tmp_path / "out")
    assert len(dataset.metadata) == 21
    assert set(dataset.metadata["split"]) == {"train", "val", "test"}
    assert dataset.metadata["fold"].isna().all()
    with Image.open(tmp_path / "out" / "images/unknown/fer2013-00003.png") as crop:
        assert np.asarray(crop)[0, 5].tolist() == [3 * 7 + 5] * 3
    sides = dataset.split(0, paired=False)
    assert {side: (set(rows["split"]), len(rows)) for side, rows in sides.items()} == {
        "train": ({"train"}, 7),
        "val": ({"val"}, 7),
        "test": ({"test"}, 7),
    }
    with pytest.raises(DatasetError, match="no fold 3"):
        dataset.split(3, paired=False)


def test_a_row_whose_pixels_are_none_is_said_with_its_number(tmp_path):
    root = fer2013(tmp_path / "fer", ROWS)
    table = root / "fer2013.csv"
    lines = table.read_text().splitlines()
    lines[3] = "2,0 0 999 0,Training"
    table.write_text("\n".join(lines))
    [entry] = prepare(Fer2013(), root, tmp_path / "out", Preparation(size=48, jobs=1, detector="none")).card["left_out"]
    assert entry == {
        "reason": "a row that holds no square of grey levels",
        **{"fault": True, "count": 1, "paths": ["fer2013.csv, row 3"]},
    }


def pixels(number: int) -> str:
    return " ".join(str((number * 7 + place) % 256) for place in range(48 * 48))


def written_as(form: str) -> str:
    """The rows of ROWS as a table in one of the forms in which it is passed on."""
    columns = {
        "blanks": ["emotion", " Usage", " pixels"],
        "index": ["", "emotion", "pixels", "Usage"],
        "upper": ["EMOTION", "PIXELS", "USAGE"],
    }.get(form, ["emotion", "pixels", "Usage"])
    out = io.StringIO()
    writer = csv.writer(
        out,
        quoting=csv.QUOTE_ALL if form == "quoted" else csv.QUOTE_MINIMAL,
        delimiter=";" if form == "semicolons" else ",",
        lineterminator="\r\n" if form == "windows" else "\n",
    )
    writer.writerow(columns)
    for number, (code, usage) in enumerate(ROWS):
        row = {"": number, "emotion": code, "pixels": pixels(number), "usage": usage}
        writer.writerow([row[column.strip().lower()] for column in columns])
    junk = "\n\x00\x00\x00\nfer2013/README\nThe training set consists of 28,709 examples.\nImages, labels, a, b, c, d\n"
    return ("\ufeff" if form == "mark" else "") + out.getvalue() + (junk if form == "junk" else "")


@pytest.mark.parametrize("form", ["blanks", "index", "upper", "quoted", "semicolons", "windows", "mark", "junk"])
@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv", "fer2013"])
def test_case_07_the_table_is_read_in_every_form_that_it_is_passed_on_in(form, name, tmp_path):
    (tmp_path / "fer").mkdir()
    (tmp_path / "fer" / name).write_text(written_as(form), encoding="utf-8", newline="")
    reading = Fer2013().read(Fer2013().locate(tmp_path))
    assert reading.found == {"pictures": 21, "train": 7, "val": 7, "test": 7}
    labels = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert [(still.label, still.split) for still in reading.records] == [
        (label, split) for split in ("train", "val", "test") for label in labels
    ]
    for number, still in enumerate(reading.records):
        levels = pixel_row(still.frame.path, still.frame.offset)[..., 0].ravel().tolist()
        assert levels == [(number * 7 + place) % 256 for place in range(48 * 48)]
    # Of a table cut off by an archive's own bytes the rest is said, row by row.
    assert [entry.reason for entry in reading.skipped] == ["a row that does not have the header's columns"] * (
        4 if form == "junk" else 0
    )


def test_case_07_what_follows_the_last_picture_does_not_keep_ferplus_from_being_joined(tmp_path):
    root = fer2013(tmp_path / "fer", ROWS[:1], ["9,0,0,0,0,0,0,0,0,0"])
    with (root / "fer2013.csv").open("a") as file:
        file.write("fer2013/README\n")
    reading = Fer2013(ferplus=root / "fer2013new.csv").read(root)
    assert [still.label for still in reading.records] == ["neutral"]


def test_case_07_kaggles_training_set_alone_is_read_and_its_unlabelled_pictures_are_said(tmp_path):
    rows = "".join(f"{code},{pixels(code)}\n" for code in range(7))
    (tmp_path / "train.csv").write_text(f"emotion,pixels\n{rows}")
    (tmp_path / "test.csv").write_text(f"pixels\n{pixels(1)}\n")
    assert [kind.name for kind in detect(tmp_path)] == ["fer2013"]
    reading = Fer2013().read(tmp_path)
    assert Counter(still.split for still in reading.records) == {"train": 7}
    assert [(Path(entry.path).name, entry.fault) for entry in reading.skipped] == [("test.csv", False)]
    # The table that says which part a row belongs to is preferred.
    (tmp_path / "icml_face_data.csv").write_text(written_as("blanks"))
    reading = Fer2013().read(tmp_path)
    assert Counter(still.split for still in reading.records) == {"train": 7, "val": 7, "test": 7}
    assert reading.skipped == []


@pytest.mark.parametrize("training", ["train", "Training"])
def test_case_07_the_pictures_in_folders_are_read(training, tmp_path):
    expected = {}
    for split, folder in (("train", training), ("test", "test")):
        for spelling, label in (("angry", "anger"), ("happy", "happiness"), ("neutral", "neutral")):
            path = tmp_path / "archive" / "images" / folder / spelling / "im1.png"
            path.parent.mkdir(parents=True)
            path.touch()
            expected[path] = (label, split)
    reading = Fer2013().read(Fer2013().locate(tmp_path))
    assert {still.frame.path: (still.label, still.split) for still in reading.records} == expected
    with pytest.raises(CorpusError, match="cannot be joined"):
        Fer2013(ferplus=tmp_path / "fer2013new.csv").read(Fer2013().locate(tmp_path))


@pytest.mark.parametrize("given", ["folder", "file"])
def test_case_07_the_table_is_taken_out_of_its_tar(given, tmp_path):
    fer2013(tmp_path / "made" / "fer2013", ROWS)
    root = tmp_path / "downloads"
    root.mkdir()
    with tarfile.open(root / "fer2013.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "made" / "fer2013", "fer2013")
    given = root if given == "folder" else root / "fer2013.tar.gz"
    prepare(Fer2013(), given, tmp_path / "out", Preparation(size=48, jobs=1, detector="none"))
    assert len(PreparedDataset.open(tmp_path / "out").metadata) == 21


def test_another_table_of_the_name_is_not_fer2013(tmp_path):
    (tmp_path / "train.csv").write_text("id,survived\n1,0\n")
    (tmp_path / "fer2013.csv").write_text("emotion\n1\n")
    with pytest.raises(CorpusError, match="is not FER2013"):
        Fer2013().locate(tmp_path)
    assert set(COLUMNS[:-2]) == {
        "neutral",
        *("anger", "contempt", "disgust", "fear"),
        *("happiness", "sadness", "surprise"),
    }


def test_faces_are_aligned_where_they_are_found_and_no_picture_is_lost(shared, tmp_path):
    root = folders(
        tmp_path / "FERPlus", {"FER2013Train": dict.fromkeys(("fer0.png", "fer1.png"), "9,0,0,0,0,0,0,0,0,0")}
    )
    with (root / "FER2013Train" / "label.csv").open("a") as file:
        file.write('fer2.png,"(0, 0, 48, 48)",0,9,0,0,0,0,0,0,0,0\n')
    for number, state in ((0, "neutral"), (2, "smiling")):
        with Image.open(shared / f"data/london/{state}/001.jpg") as portrait:
            face = portrait.convert("L").crop((120, 130, 400, 410)).resize((48, 48))
        face.save(root / "FER2013Train" / f"fer{number}.png")
    settings = Preparation(size=64, jobs=1, detector_model=shared / "models/face_detection_yunet_2023mar.onnx")
    prepared = prepare(Fer2013(), root, tmp_path / "out", settings)
    assert prepared.card["crop"]["detector"] == "yunet"
    assert prepared.card["counts"]["crops"] == 3
    assert prepared.card["counts"]["pictures_without_a_face"] == 1
    lines = map(json.loads, (tmp_path / "out" / "faces.jsonl").read_text().splitlines())
    assert [(line["file_name"][-8:], line["aligned_by"], line["faces_found"]) for line in lines] == [
        ("fer0.png", "detector", 1),
        ("fer1.png", "none", 0),
        ("fer2.png", "detector", 1),
    ]
