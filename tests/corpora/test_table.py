from pathlib import Path

import pytest

from fer_cli.corpora.base import Still
from fer_cli.corpora.image_folder import ImageFolder
from fer_cli.dataset.pairing import pair
from fer_cli.errors import CorpusError, UsageError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "corpus"
    for name in ("a.png", "b.png", "s/0.png", "s/1.png", "s/2.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path, text: str, **settings):
    table = root.parent / "rows.csv"
    table.write_text(text, encoding="utf-8")
    return ImageFolder(table=table, **settings).read(root)


def test_a_row_is_a_still(root):
    reading = read(
        root, "path,label,subject,split\na.png,neutral,P1,train\nb.png,joy,P1,test\n", rename=("joy=happiness",)
    )
    assert [(still.label, still.subject, still.split) for still in reading.records] == [
        ("neutral", "P1", "train"),
        ("happiness", "P1", "test"),
    ]


def test_rows_with_frames_are_sequences(root):
    rows = "\n".join(f"s/{frame}.png,fear,P1,{frame}" for frame in (2, 0, 1))
    [record] = read(root, f"\ufeffpath,label,subject,frame\n{rows}\n").records
    assert [frame.path.name for frame in record.frames] == ["0.png", "1.png", "2.png"]
    assert record.apexes == (1, 2)


def test_rows_that_cannot_be_used_are_named_by_their_line(root):
    rows = ("a.png,fear", "../x.png,fear", "/etc/passwd,fear", "gone.png,fear", ",fear", "b.png,")
    text = "path,label,subject\n" + "".join(f"{row},P1\n" for row in rows)
    reading = read(root, text)
    assert len(reading.records) == 1
    assert [(entry.path, entry.reason) for entry in reading.skipped] == [
        ("rows.csv:3", "a path that leaves the folder"),
        ("rows.csv:4", "a path that leaves the folder"),
        ("rows.csv:5", "a picture of the table that is not there"),
        ("rows.csv:6", "a row without a path or a label"),
        ("rows.csv:7", "a row without a path or a label"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("subject,label\nP1,fear\n", "lacks the columns path: it has subject, label"),
        ("file,what\na.png,fear\n", "lacks the columns label"),
        ("path,label\n", "No row"),
        ("path,label\na.png,grin\n", "'grin'"),
    ],
)
def test_what_is_no_such_table_is_said(root, text, said):
    with pytest.raises(CorpusError, match=said):
        read(root, text)


def test_a_table_or_a_pattern_is_needed_and_not_both(tmp_path):
    for settings in ({}, {"pattern": "{label}.png", "table": tmp_path / "rows.csv"}):
        with pytest.raises(UsageError, match="--pattern or --table"):
            ImageFolder(**settings)
    with pytest.raises(CorpusError, match="cannot be read"):
        ImageFolder(table=tmp_path / "nowhere.csv").read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "path;label;subject\na.png;fear;P1\n",
        "Path, Label,SUBJECT\na.png, fear,P1\n",
        "image\temotion\tsubject\na.png\tFEARFUL\tP1\n",
        "path,label,subject\n./a.png,fear,P1\n",
        "path,label,subject\n.\\a.png,fear,P1\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_case_06_tables_from_elsewhere_say_the_same(root, text, encoding):
    table = root.parent / "rows.csv"
    table.write_bytes(text.encode(encoding))
    [still] = ImageFolder(table=table).read(root).records
    assert (still.frame.path, still.label, still.subject) == (root / "a.png", "fear", "P1")


def test_case_06_rows_that_do_not_fit_the_header_are_faults_with_their_line(root):
    reading = read(root, "path,label,subject\na.png,fear,P1\nb.png,fear\ns/0.png,fear,P1,late\n")
    assert len(reading.records) == 1
    assert [(entry.path, entry.reason, entry.fault) for entry in reading.skipped] == [
        ("rows.csv:3", "a row of 2 values under 3 columns", True),
        ("rows.csv:4", "a row of 4 values under 3 columns", True),
    ]


def test_case_10_a_table_that_is_not_utf_8_is_refused_with_the_way_out(root):
    table = root.parent / "rows.csv"
    table.write_bytes("path,label,subject\na.png,fear,Müller\n".encode("cp1252"))
    with pytest.raises(CorpusError, match="not UTF-8") as caught:
        ImageFolder(table=table).read(root)
    assert "CSV UTF-8" in caught.value.hint


def test_case_10_paths_may_be_windows_or_absolute_where_they_are_inside(root):
    rows = ("s\\0.png,fear", f"{root / 'a.png'},anger", f"{root / 's' / '..' / 'b.png'},sad", "C:\\x\\s\\1.png,fear")
    reading = read(root, "path,label\n" + "".join(f"{row}\n" for row in rows))
    assert [(still.frame.path, still.label) for still in reading.records] == [
        (root / "s/0.png", "fear"),
        (root / "a.png", "anger"),
        (root / "b.png", "sadness"),
    ]
    assert [(entry.path, entry.reason) for entry in reading.skipped] == [
        ("rows.csv:5", "a path that leaves the folder")
    ]


def test_an_absolute_path_through_a_link_to_the_folder_is_inside(root):
    (root.parent / "link").symlink_to(root)
    table = root.parent / "rows.csv"
    table.write_text(f"path,label\n{root}/a.png,fear\n{root.parent}/link/b.png,fear\n")
    assert len(ImageFolder(table=table).read(root.parent / "link").records) == 2


def test_case_10_a_row_that_repeats_another_is_dropped_and_counted(root):
    reading = read(root, "path,label,subject\na.png,happy,P1\nb.png,fear,P1\n./a.png,Happiness,P1\na.png,joy,P1\n")
    assert [(still.frame.path.name, still.label) for still in reading.records] == [
        ("a.png", "happiness"),
        ("b.png", "fear"),
    ]
    assert [(entry.path, entry.reason, entry.fault) for entry in reading.skipped] == [
        ("rows.csv:4", "a row that repeats an earlier one", False),
        ("rows.csv:5", "a row that repeats an earlier one", False),
    ]
    assert reading.found["pictures"] == 2


@pytest.mark.parametrize("other", ["a.png,anger,P1,train", "a.png,fear,P2,train", "a.png,fear,P1,test"])
def test_case_10_rows_that_contradict_each_other_are_faults_and_none_is_used(root, other):
    reading = read(root, f"path,label,subject,split\na.png,fear,P1,train\nb.png,fear,P1,train\n{other}\n")
    assert [still.frame.path.name for still in reading.records] == ["b.png"]
    assert [(entry.path, entry.reason, entry.fault) for entry in reading.skipped] == [
        ("rows.csv:2", "a row that contradicts another of the same picture", True),
        ("rows.csv:4", "a row that contradicts another of the same picture", True),
    ]


def test_sequences_may_share_a_picture(root):
    rows = [f"s/{frame}.png,{label},P1,{label},{frame}" for label in ("fear", "anger") for frame in range(2)]
    reading = read(root, "path,label,subject,sequence,frame\n" + "\n".join(rows))
    assert [(record.label, len(record.frames)) for record in reading.records] == [("fear", 2), ("anger", 2)]
    assert reading.skipped == []


def test_case_10_a_split_is_known_by_its_synonyms_and_another_is_refused_by_name(root):
    rows = ("a.png,fear,Training", "b.png,fear,validation", "s/0.png,fear,Test", "s/1.png,fear,dev", "s/2.png,fear,")
    text = "path,label,split\n" + "".join(f"{row}\n" for row in rows)
    assert [still.split for still in read(root, text).records] == ["train", "val", "test", "val", None]
    with pytest.raises(CorpusError, match=r"split 'holdout' of rows.csv:2"):
        read(root, "path,label,split\na.png,fear,holdout\n")


def test_case_12_a_table_of_raters_whose_repeats_agree_but_for_one(root):
    text = (
        "user.id,image,emotion\n628,a.png,anger\n628,b.png,HAPPINESS\n629,b.png,happiness\n"
        "630,s/0.png,sadness\n631,s/0.png,fear\n"
    )
    reading = read(root, text)
    assert [(still.frame.path.name, still.label, still.subject) for still in reading.records] == [
        ("a.png", "anger", None),
        ("b.png", "happiness", None),
    ]
    assert [entry.fault for entry in reading.skipped] == [False, True, True]


def test_case_19_a_table_with_composed_names_finds_decomposed_files(root):
    (root / "Ju\u0308rgen.png").touch()
    (root / "Zoe\u0308").mkdir()
    (root / "Zoe\u0308" / "1.png").touch()
    reading = read(root, "path,label,subject\nJ\u00fcrgen.png,fear,Zoe\u0308\nZo\u00eb/1.png,anger,Zo\u00eb\n")
    assert [(still.frame.path.name, still.subject) for still in reading.records] == [
        ("Ju\u0308rgen.png", "Zo\u00eb"),
        ("1.png", "Zo\u00eb"),
    ]


def per_frame(root: Path, *courses: str) -> str:
    """A table of takes whose frames each have a label: n, h, s or c for neutral, happiness, sadness, calm."""
    rows = []
    for take, course in enumerate(courses):
        for number, letter in enumerate(course):
            (root / f"t{take}").mkdir(exist_ok=True)
            (root / f"t{take}/{number}.png").touch()
            label = {"n": "neutral", "h": "happiness", "s": "sadness", "c": "calm"}[letter]
            rows.append(f"t{take}/{number}.png,{label},P{take},take,{number}\n")
    return "path,label,subject,sequence,frame\n" + "".join(rows)


def test_case_29_labels_that_change_within_a_sequence_are_kept_frame_by_frame(root):
    courses = ("nnnnhhhhhhnnnn", "hhhh")
    reading = read(root, per_frame(root, *courses))
    assert all(isinstance(record, Still) for record in reading.records)
    assert [record.label[0] for record in reading.records] == list("".join(courses))
    assert [record.subject for record in reading.records] == ["P0"] * 14 + ["P1"] * 4
    assert reading.found == {"pictures": 18, "sequences": 2}


@pytest.mark.parametrize("classes", [("happiness", "sadness"), ("neutral", "happiness")])
def test_case_29_frames_with_labels_of_their_own_are_paired_by_their_sequence_whatever_their_class(root, classes):
    """Neutral frames of one sequence hardly differ: compared with each other they would give their class away."""
    text = per_frame(root, "nnhhnn", "nhhh", "nnsss")
    for take in range(3):
        text = text.replace(f",P{take},take,", f",P0,take{take},")
    reading = read(root, text)
    takes = {record.frame: record.session for record in reading.records}
    assert set(takes.values()) == {"take0", "take1", "take2"}
    pairs = [sample for sample in pair(reading.records, classes).samples if sample.neutral is not None]
    assert {sample.label for sample in pairs} == set(classes)
    same = {takes[sample.frame] == takes[sample.neutral] for sample in pairs}
    assert same == {"neutral" not in classes}


def test_case_29_labels_that_come_back_are_the_frames_own_where_no_sequence_is_named_too(root):
    text = per_frame(root, "nnhhnn", "hhhh").replace(",take,", ",").replace(",sequence,", ",")
    assert [(type(record), record.label[0]) for record in read(root, text).records] == [
        (Still, letter) for letter in "nnhhnnhhhh"
    ]


def test_takes_that_are_numbered_on_are_takes_where_no_sequence_is_named(root):
    text = per_frame(root, "nnnhhh").replace(",take,", ",").replace(",sequence,", ",")
    assert [(record.sequence, record.label, len(record.frames)) for record in read(root, text).records] == [
        ("neutral", "neutral", 3),
        ("happiness", "happiness", 3),
    ]


def test_case_29_what_is_excluded_has_changed_the_label_all_the_same(root):
    reading = read(root, per_frame(root, "cchhcc"), exclude=("calm",))
    assert [record.label for record in reading.records] == ["happiness"] * 2
    assert all(isinstance(record, Still) for record in reading.records)


def test_a_sequence_of_one_label_still_runs_from_neutral_to_its_apex(root):
    [record] = read(root, per_frame(root, "hhhh")).records
    assert (record.label, record.neutral, record.apexes) == ("happiness", 0, (1, 2, 3))


def test_paths_may_be_from_the_folder_of_pictures_that_a_table_stands_next_to(tmp_path):
    for name in ("corpus/images/P1/0.png", "corpus/images/P1/1.png", "corpus/other/x.png", "outside/P1/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = tmp_path / "corpus"
    rows = "P1/0.png,P1,happiness\nP1/1.png,P1,neutral\n../../outside/P1/2.png,P1,fear\n"
    reading = read(root, f"file,subject,label\n{rows}")
    assert [still.frame.path.relative_to(root).as_posix() for still in reading.records] == [
        "images/P1/0.png",
        "images/P1/1.png",
    ]
    assert [entry.reason for entry in reading.skipped] == ["a path that leaves the folder"]
    # Where the folder itself has one of them, the paths are from there.
    (root / "P1").mkdir()
    (root / "P1" / "1.png").touch()
    assert [still.frame.path for still in read(root, f"file,subject,label\n{rows}").records] == [root / "P1/1.png"]
