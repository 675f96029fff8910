"""FER2013 in the forms in which it is passed on, and FER+'s rule for its votes."""

import csv
import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_cli.corpora.fer2013 import COLUMNS, Fer2013
from fer_cli.corpora.registry import detect
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import CorpusError, DatasetError, PictureError
from fer_cli.faces.decode import pixel_row


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
    corpus = Fer2013(ferplus=root / "fer2013new.csv")
    reading = corpus.read(root)
    assert [still.label for still in reading.records] == list(votes.values())[:4]
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [
        (reason, False) for reason in list(votes.values())[4:]
    ]
    assert corpus.title_at(root) == "FER+ (majority of votes)"


def test_ferplus_by_plurality_is_called_so(tmp_path):
    votes = {"4,0,0,1,3,2,0,0,0,0": "neutral", "5,5,0,0,0,0,0,0,0,0": None, "0,0,0,0,1,0,0,0,9,0": None}
    root = fer2013(tmp_path / "fer", ROWS[:3], list(votes))
    corpus = Fer2013(ferplus=root / "fer2013new.csv", ferplus_rule="plurality")
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
    reading = Fer2013(ferplus=published, ferplus_rule=rule).read(tmp_path)
    assert Counter(still.split for still in reading.records) == splits
    if rule == "majority":
        assert Counter(still.label for still in reading.records) == {
            **{"neutral": 11_012, "happiness": 9_045, "surprise": 3_960, "sadness": 3_749},
            **{"anger": 2_660, "fear": 677, "disgust": 161, "contempt": 148},
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
    prepare(Fer2013(), root, tmp_path / "out", Preparation(size=48, jobs=1))
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
    [entry] = prepare(Fer2013(), root, tmp_path / "out", Preparation(size=48, jobs=1)).card["left_out"]
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
    prepare(Fer2013(), given, tmp_path / "out", Preparation(size=48, jobs=1))
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
