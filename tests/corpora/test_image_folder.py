"""Patterns of paths: what a regular expression would find, in a time that a regular expression does not keep."""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fer_cli.corpora.base import Frame, Sequence, Still
from fer_cli.corpora.image_folder import ImageFolder, PathPattern
from fer_cli.corpora.io import files_below
from fer_cli.dataset.pairing import pair
from fer_cli.errors import CorpusError, UsageError
from tests.videos import make_video, shades


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_stills_are_told_by_their_paths(tmp_path):
    tree(tmp_path, "neutral/001.jpg", "smiling/001.JPG", "smiling/002.jpg", "eyes.csv", "README.md")
    reading = ImageFolder(pattern="{label}/{subject}.jpg", rename=("smiling=happiness",)).read(tmp_path)
    assert [(still.subject, still.label, still.frame.path.name) for still in reading.records] == [
        ("001", "neutral", "001.jpg"),
        ("001", "happiness", "001.JPG"),
        ("002", "happiness", "002.jpg"),
    ]
    assert reading.skipped == []
    assert reading.found == {"pictures": 3}


def test_frames_make_sequences_in_the_order_of_their_numbers(tmp_path):
    tree(tmp_path, *(f"A/fear/{frame}.png" for frame in (10, 9, 0, 1, 2)))
    [record] = ImageFolder(pattern="{subject}/{label}/{frame}.png").read(tmp_path).records
    assert isinstance(record, Sequence)
    assert [frame.path.stem for frame in record.frames] == ["0", "1", "2", "9", "10"]
    assert (record.subject, record.label, record.neutral, record.apexes) == ("A", "fear", 0, (2, 3, 4))
    [record] = ImageFolder(pattern="{subject}/{label}/{frame}.png").read(tmp_path, apex_frames=1).records
    assert record.apexes == (4,)


def test_a_sequence_may_have_a_name_of_its_own(tmp_path):
    names = [f"A_fear_{take}_{frame}.png" for take in "12" for frame in range(3)]
    reading = ImageFolder(pattern="{subject}_{label}_{sequence}_{frame}.png").read(tree(tmp_path, *names))
    assert [(record.sequence, len(record.frames)) for record in reading.records] == [("1", 3), ("2", 3)]
    assert reading.found["sequences"] == 2


def test_without_a_subject_pictures_are_stills_of_nobody(tmp_path):
    [still] = ImageFolder(pattern="{label}/*.png").read(tree(tmp_path, "fear/x.png")).records
    assert still == Still(still.frame, "fear", None)


def clips(root: Path, *names: str) -> Path:
    for name in names:
        make_video(root / name, shades(31))
    return root


def test_case_40_clips_are_sequences_from_the_subjects_neutral_clip_to_their_middle(tmp_path):
    clips(tmp_path, "neutral/001.mp4", "smiling/001.MP4", "angry/001.mp4", "smiling/002.mp4")
    files = ImageFolder(pattern="{label}/{subject}.mp4", rename=("smiling=happiness", "angry=anger"))
    reading = files.read(tmp_path)
    samples = pair(reading.records, ("anger", "happiness")).samples
    assert {
        (sample.subject, sample.label, sample.sequence, sample.frame.index, sample.neutral)
        for sample in samples
        if sample.role == "apex"
    } == {
        (subject, label, sequence, index, neutral)
        for subject, label, sequence, neutral in (
            ("001", "anger", "angry-001", Frame(tmp_path / "neutral/001.mp4", index=15, kind="video")),
            ("001", "happiness", "smiling-001", Frame(tmp_path / "neutral/001.mp4", index=15, kind="video")),
            ("002", "happiness", "smiling-002", None),
        )
        for index in (14, 15, 16)
    }
    assert reading.skipped == []
    assert reading.found == {"clips": 4}


def test_case_40_clips_of_nobody_named_are_stills_of_their_middle(tmp_path):
    clips(tmp_path, "fear/a.avi", "anger/b.avi")
    (tmp_path / "anger/c.avi").write_bytes(b"no video")
    (tmp_path / "anger/d.mov").write_bytes(b"")
    reading = ImageFolder(pattern="{label}/*.avi").read(tmp_path)
    assert [(still.label, still.subject, still.frame.index, still.frame.kind) for still in reading.records] == [
        ("anger", None, 15, "video"),
        ("fear", None, 15, "video"),
    ]
    assert sorted((Path(entry.path).name, entry.reason, entry.fault) for entry in reading.skipped) == [
        ("c.avi", "a video that cannot be read", True),
        ("d.mov", "does not follow the pattern", False),
    ]


def test_case_40_a_clip_among_frames_is_told(tmp_path):
    tree(tmp_path, *(f"A/fear/{frame}.png" for frame in range(3)))
    clips(tmp_path, "A/fear/3.mp4")
    reading = ImageFolder(pattern="{subject}/{label}/{frame}.*").read(tmp_path)
    assert [len(record.frames) for record in reading.records] == [3]
    assert [(Path(entry.path).name, entry.fault) for entry in reading.skipped] == [("3.mp4", True)]


def test_frames_numbers_may_have_any_number_of_digits_and_of_any_script(tmp_path):
    tree(tmp_path, *(f"A/fear/{frame}.png" for frame in ("10", "9", "x²", "0002", "1" * 200)))
    [record] = ImageFolder(pattern="{subject}/{label}/{frame}.png").read(tmp_path).records
    assert [frame.path.stem for frame in record.frames] == ["x²", "0002", "9", "10", "1" * 200]


def test_a_sequence_of_one_frame_is_skipped(tmp_path):
    tree(tmp_path, "A/fear/0.png", "B/fear/0.png", "B/fear/1.png")
    reading = ImageFolder(pattern="{subject}/{label}/{frame}.png").read(tmp_path)
    assert [record.subject for record in reading.records] == ["B"]
    assert [entry.reason for entry in reading.skipped] == ["a sequence of one frame"]


def test_pictures_that_do_not_follow_the_pattern_are_counted_and_hidden_files_are_not(tmp_path):
    tree(tmp_path, "fear/001.jpg", "loose.jpg", "fear/deep/002.jpg", "fear/._001.jpg", ".git/fear/9.jpg")
    reading = ImageFolder(pattern="{label}/{subject}.jpg").read(tmp_path)
    assert len(reading.records) == 1
    assert sorted(Path(entry.path).name for entry in reading.skipped) == ["002.jpg", "loose.jpg"]
    assert {entry.fault for entry in reading.skipped} == {False}


def test_an_unknown_label_is_an_error_that_names_the_file_and_the_way_out(tmp_path):
    tree(tmp_path, "grinning/001.jpg")
    with pytest.raises(CorpusError) as caught:
        ImageFolder(pattern="{label}/{subject}.jpg").read(tmp_path)
    assert "grinning/001.jpg" in caught.value.message
    assert "--rename grinning=" in caught.value.hint
    assert "--exclude grinning" in caught.value.hint


def test_nothing_that_follows_the_pattern_is_told_with_what_is_there(tmp_path):
    tree(tmp_path, "001/happy.jpg")
    with pytest.raises(CorpusError) as caught:
        ImageFolder(pattern="{label}/{subject}.png").read(tmp_path)
    assert "{label}/{subject}.png" in caught.value.message
    assert "001/happy.jpg" in caught.value.hint
    with pytest.raises(CorpusError, match="no folder"):
        ImageFolder(pattern="{label}.png").locate(tmp_path / "nowhere")


@pytest.mark.parametrize("rename", ["smiling", "smiling=bored", "=happiness", "", "smiling="])
def test_what_is_no_renaming_is_a_typing_error(rename):
    with pytest.raises(UsageError, match="--rename"):
        ImageFolder(pattern="{label}.jpg", rename=(rename,))


def test_case_03_linked_class_folders_are_followed(tmp_path):
    outside = tree(tmp_path / "outside", "fear/001.jpg")
    root = tree(tmp_path / "root", "fear/002.jpg")
    (root / "anger").symlink_to(outside / "fear")
    (root / "fear" / "up").symlink_to(tmp_path)
    reading = ImageFolder(pattern="{label}/{subject}.jpg").read(root)
    assert [(still.label, still.subject) for still in reading.records] == [("fear", "002"), ("anger", "001")]


def test_case_08_a_split_may_be_a_folder_by_any_of_its_names(tmp_path):
    tree(tmp_path, "Training/1/a.jpg", "validation/1/b.jpg", "dev/2/c.jpg", "Testing/2/d.jpg")
    reading = ImageFolder(pattern="{split}/{label}/*.jpg", rename=("1=surprise", "2=fear")).read(tmp_path)
    found = {still.frame.path.name: (still.label, still.split) for still in reading.records}
    assert found == {
        "a.jpg": ("surprise", "train"),
        "b.jpg": ("surprise", "val"),
        "c.jpg": ("fear", "val"),
        "d.jpg": ("fear", "test"),
    }


def test_case_10_a_split_that_is_none_is_refused_by_name(tmp_path):
    tree(tmp_path, "train/fear/a.jpg", "extra/fear/b.jpg")
    with pytest.raises(CorpusError, match="split 'extra'") as caught:
        ImageFolder(pattern="{split}/{label}/*.jpg").read(tmp_path)
    assert "validation" in caught.value.hint


def test_case_19_labels_need_no_renaming_where_others_spell_them_so(tmp_path):
    tree(tmp_path, *(f"{name}/1.jpg" for name in ("Happy", "sad", "angry", "Surprised", "natural")))
    reading = ImageFolder(pattern="{label}/{subject}.jpg").read(tmp_path)
    assert [still.label for still in reading.records] == ["happiness", "surprise", "anger", "neutral", "sadness"]


@pytest.mark.parametrize("settings", [{"exclude": ("Calm",)}, {"rename": ("calm=-",)}], ids=["exclude", "rename"])
def test_case_19_a_label_can_be_excluded_and_is_counted(tmp_path, settings):
    tree(tmp_path, "calm/1.jpg", "calm/2.jpg", "fear/1.jpg")
    reading = ImageFolder(pattern="{label}/{subject}.jpg", **settings).read(tmp_path)
    assert [still.label for still in reading.records] == ["fear"]
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [("the label calm is excluded", False)] * 2
    assert reading.found["pictures"] == 3


def test_a_renaming_counts_more_than_the_vocabulary(tmp_path):
    tree(tmp_path, "smiling/1.jpg", "happy/2.jpg")
    reading = ImageFolder(pattern="{label}/{subject}.jpg", rename=("smiling=surprised",)).read(tmp_path)
    assert [still.label for still in reading.records] == ["happiness", "surprise"]


def test_case_19_names_that_macos_wrote_are_the_names_that_others_write(tmp_path):
    tree(tmp_path, "Ju\u0308rgen/ga\u0308hnen/1.jpg", "J\u00fcrgen/fear/1.jpg")
    reading = ImageFolder(pattern="{subject}/{label}/*.jpg", rename=("g\u00e4hnen=surprise",)).read(tmp_path)
    assert {still.subject for still in reading.records} == {"J\u00fcrgen"}
    assert {still.label for still in reading.records} == {"fear", "surprise"}


def test_takes_of_several_expressions_may_have_the_same_name(tmp_path):
    tree(tmp_path, *(f"A/{label}/1/{frame}.png" for label in ("fear", "happy") for frame in range(3)))
    reading = ImageFolder(pattern="{subject}/{label}/{sequence}/{frame}.png").read(tmp_path)
    assert [(record.sequence, record.label) for record in reading.records] == [
        ("1-fear", "fear"),
        ("1-happy", "happiness"),
    ]


class Listing:
    """A folder of more files than were once walked through, as ``os.scandir`` gives it, without their being there."""

    COUNT = 200_002

    def __init__(self, folder: str):
        names = (f"{number:06d}.jpg" for number in range(self.COUNT))
        self._entries = (SimpleNamespace(name=name, path=f"{folder}/{name}", is_dir=lambda: False) for name in names)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def __iter__(self):
        return self._entries

    def __next__(self):
        return next(self._entries)


def test_case_04_no_file_is_passed_over_for_there_being_many(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "scandir", Listing)
    assert sum(1 for _ in files_below(tmp_path)) == Listing.COUNT


def test_the_dataset_is_called_after_the_folder(tmp_path):
    assert ImageFolder(pattern="{label}.jpg").dataset_name(tmp_path / "portraits") == "portraits"


def test_the_london_portraits(shared):
    folder = shared / "data" / "london"
    if not folder.is_dir():
        pytest.skip("no portraits beside the checkout")
    reading = ImageFolder(pattern="{label}/{subject}.jpg", rename=("smiling=happiness",)).read(folder)
    assert len(reading.records) == 204
    assert len({still.subject for still in reading.records}) == 102


def test_the_acted_portraits(shared):
    folder = shared / "data" / "london-acted"
    if not folder.is_dir():
        pytest.skip("no portraits beside the checkout")
    reading = ImageFolder(pattern="{subject}/{label}/{frame}.jpg").read(folder)
    assert len(reading.records) == 714
    assert {len(record.apexes) for record in reading.records} == {3}


names = st.text("abcXYZ0189-. ", min_size=1, max_size=8).filter(lambda text: text.strip(". ") == text)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{subject}.jpg",
        "{label}/{label}.jpg",
        "{emotion}/{label}.jpg",
        "{label}/{frame}.jpg",
        "{label/x",
        "{}/{label}",
    ],
)
def test_what_is_no_pattern_is_a_typing_error(pattern):
    with pytest.raises(UsageError, match="--pattern"):
        PathPattern.parse(pattern)


@given(subject=names, label=names, frame=st.integers(0, 9999))
def test_a_path_made_from_fields_gives_them_back(subject, label, frame):
    fields = {"subject": subject, "label": label, "frame": str(frame)}
    assert PathPattern.parse("{subject}/{label}/f_{frame}.png").match(f"{subject}/{label}/f_{frame}.png") == fields


@given(st.text("a.b+c()[x]/", max_size=8), names)
def test_everything_but_fields_and_stars_stands_for_itself(literal, label):
    literal = literal.strip("/")
    pattern = PathPattern.parse(f"{literal}{{label}}.png")
    assert pattern.match(f"{literal}{label}.png") == {"label": label}
    assert pattern.match(f"{literal}{label}xpng") is None


def regex(pattern: str) -> re.Pattern[str]:
    """The same pattern as a regular expression: fields take as little as they can, stars as much."""
    pieces = re.split(r"(\{.*?\}|\*)", pattern)
    forms = {"*": "[^/]*"}
    return re.compile(
        "".join(
            forms.get(piece) or (f"(?P<{piece[1:-1]}>[^/]+?)" if piece.startswith("{") else re.escape(piece))
            for piece in pieces
        ),
        re.IGNORECASE,
    )


pieces = st.lists(st.sampled_from(["*", "{subject}", "{split}", "a", "b", "ab", "_", "/"]), max_size=6)


@given(pieces, pieces, st.text("abAB_/", max_size=12))
@example(["*"], [], "")
@example(["*", "_"], [], "a_b_happy")
@example([], ["_", "*"], "happy_a_b")
def test_it_finds_what_a_regular_expression_finds(before, after, path):
    pattern = "".join([*before, "{label}", *after])
    if any(pattern.count(field) > 1 for field in ("{subject}", "{split}")) or pattern != pattern.strip("/"):
        return
    found = regex(pattern).fullmatch(path)
    assert PathPattern.parse(pattern).match(path) == (found.groupdict() if found else None)


def test_sixty_stars_and_a_path_that_almost_fits_are_done_in_the_time_of_one_walk_through_it():
    pattern = PathPattern.parse("*a" * 60 + "{label}b")
    assert pattern.match("a" * 200) is None
    assert pattern.match("a" * 200 + "b") == {"label": "a"}


def test_case_19_decomposed_letters_follow_a_composed_pattern_and_the_other_way_round():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for typed in (composed, decomposed):
        for written in (composed, decomposed):
            assert PathPattern.parse(f"{typed}/{{label}}.jpg").match(f"{written}/{written}.jpg") == {"label": composed}


def test_letters_that_are_longer_in_lower_case_stay_where_they_are():
    assert PathPattern.parse("{label}/{subject}.jpg").match("İstanbul/İ1.JPG") == {"label": "İstanbul", "subject": "İ1"}
