import os
import shutil
import zipfile
from collections import Counter

import pytest

from fer_cli.corpora.base import Sequence, Still
from fer_cli.corpora.ckplus import CKPlus
from fer_cli.dataset.pairing import assign_folds, pair
from fer_cli.errors import CorpusError
from fer_cli.labels import CLASS_SETS
from tests.corpora.ckplus_tree import COUNTS, FOLDS, golden_tree, sequence


def read(root, **settings):
    corpus = CKPlus()
    corpus.make(root)
    return corpus.read(corpus.locate(root), **settings)


def by_id(reading) -> dict[str, Sequence]:
    return {f"{record.subject}/{record.sequence}": record for record in reading.records}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return golden_tree(tmp_path_factory.mktemp("golden"))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "CK+"
    sequence(root, "S005", "001", label="disgust", landmarks=True)
    sequence(root, "S005", "002")
    sequence(root, "S010", "001", label="happiness")
    return root


def test_the_published_counts_come_out(golden):
    reading = read(golden)
    assert reading.found == {"sequences": 593, "labelled": 327}
    labels = Counter(record.label for record in reading.records if record.label)
    assert labels == COUNTS
    assert len({record.subject for record in reading.records}) == 123
    assert len({record.subject for record in reading.records if record.label}) == 118


def test_the_published_folds_come_out(golden):
    samples = pair(read(golden).records, CLASS_SETS["7-contempt"]).samples
    apexes = [sample for sample in samples if sample.role == "apex"]
    assert len(apexes) == 981
    folds = assign_folds([(sample.subject, sample.label) for sample in apexes], 10, "id-step")
    assert len(folds) == 118
    sequences = Counter(folds[subject] for subject, _ in {(sample.subject, sample.sequence) for sample in apexes})
    assert tuple(sequences[fold] for fold in range(10)) == FOLDS == (33, 39, 40, 35, 30, 37, 29, 29, 33, 22)
    subjects = Counter(folds.values())
    assert [subjects[fold] for fold in range(10)] == [12] * 8 + [11, 11]
    assert "fear" not in {sample.label for sample in apexes if folds[sample.subject] == 9}


def test_with_neutral_as_a_class_there_are_1308_pictures_without_contempt_counted_in(golden):
    samples = pair(read(golden).records, CLASS_SETS["8"]).samples
    assert len(samples) == 981 + 327 == 1308


def test_six_classes_keep_309_sequences_of_106_subjects_and_order_matters(golden):
    records = read(golden).records
    samples = [sample for sample in pair(records, CLASS_SETS["6"]).samples if sample.role == "apex"]
    assert len({(sample.subject, sample.sequence) for sample in samples}) == 309
    assert len({sample.subject for sample in samples}) == 106
    filtered_first = assign_folds([(sample.subject, sample.label) for sample in samples], 10, "id-step")
    labelled = [(record.subject, record.label) for record in records if record.label]
    folded_first = assign_folds(labelled, 10, "id-step")
    assert any(filtered_first[subject] != folded_first[subject] for subject in filtered_first)


def test_a_sequence_is_neutral_first_and_apex_last(root):
    record = by_id(read(root))["S005/001"]
    assert [frame.path.name for frame in record.frames] == [f"S005_001_{n:08d}.png" for n in range(1, 6)]
    assert (record.neutral, record.apexes, record.apex_source) == (0, (2, 3, 4), "last 3 frames")
    assert by_id(read(root, apex_frames=1))["S005/001"].apexes == (4,)


def test_a_short_sequence_never_takes_its_neutral_frame_for_an_apex(root):
    sequence(root, "S011", "001", label="fear", frames=3)
    sequence(root, "S011", "002", label="fear", frames=1)
    reading = read(root)
    assert by_id(reading)["S011/001"].apexes == (1, 2)
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [("a sequence of fewer than two frames", True)]


def test_landmarks_are_joined_by_name_and_may_be_missing(root):
    (root / "Landmarks/S005/001/S005_001_00000003_landmarks.txt").unlink()
    records = by_id(read(root))
    assert [frame.landmarks is not None for frame in records["S005/001"].frames] == [True, True, False, True, True]
    assert records["S005/001"].frames[0].landmarks.name == "S005_001_00000001_landmarks.txt"
    assert {frame.landmarks for frame in records["S010/001"].frames} == {None}


@pytest.mark.parametrize("how", ["folder absent", "folder empty", "file empty"])
def test_no_label_is_no_label_and_never_neutral(root, how):
    folder = root / "Emotion/S005/001"
    [label] = folder.iterdir()
    if how == "file empty":
        label.write_bytes(b"")
    else:
        label.unlink()
        if how == "folder absent":
            folder.rmdir()
    reading = read(root)
    assert by_id(reading)["S005/001"].label is None
    assert reading.found == {"sequences": 3, "labelled": 1}


@pytest.mark.parametrize("text", ["   3.0000000e+00\n", "3", " 3.0 \r\n"])
def test_a_code_is_read_as_a_number(root, text):
    next((root / "Emotion/S005/001").iterdir()).write_text(text)
    assert by_id(read(root))["S005/001"].label == "disgust"


@pytest.mark.parametrize("text", ["8.0", "-1", "3.5", "nan", "inf", "1e400"])
def test_a_code_that_is_none_is_an_error_that_names_the_file(root, text):
    path = next((root / "Emotion/S005/001").iterdir())
    path.write_text(text, encoding="latin-1")
    with pytest.raises(CorpusError) as caught:
        read(root)
    assert path.name in caught.value.message
    assert "7 surprise" in caught.value.hint


def test_litter_of_file_systems_is_neither_a_frame_nor_a_sequence(root):
    for place in (root, root / "cohn-kanade-images", root / "cohn-kanade-images/S005", root / "Emotion/S005/001"):
        (place / ".DS_Store").write_bytes(b"\0")
    frames = root / "cohn-kanade-images/S005/001"
    for name in (".DS_Store", "._S005_001_00000001.png", "Thumbs.db"):
        (frames / name).write_bytes(b"\0")
    reading = read(root)
    assert len(by_id(reading)["S005/001"].frames) == 5
    assert reading.skipped == []
    assert reading.found["sequences"] == 3


def test_files_in_the_wrong_place_are_skipped_and_said(root):
    (root / "cohn-kanade-images/S005/001/S010_001_00000009.png").touch()
    (root / "Emotion/S005/001/S005_001_00000099_emotion.txt").write_text("1.0")
    (root / "Emotion/S099/001").mkdir(parents=True)
    (root / "Emotion/S099/001/S099_001_00000005_emotion.txt").write_text("1.0")
    reading = read(root)
    assert {entry.reason for entry in reading.skipped} == {
        "a file that is no frame of its sequence",
        "a label that names no frame of its sequence",
        "a label without pictures",
    }
    assert all(entry.fault for entry in reading.skipped)
    assert by_id(reading)["S005/001"].label == "disgust"


def test_frames_missing_in_the_middle_are_said_and_the_sequence_is_used(root):
    (root / "cohn-kanade-images/S005/001/S005_001_00000003.png").unlink()
    reading = read(root)
    assert len(by_id(reading)["S005/001"].frames) == 4
    assert [entry.reason for entry in reading.skipped] == ["frames missing in the middle (the sequence is used)"]


def test_names_that_are_no_utf_8_end_nothing(root):
    import os

    folder = os.fsencode(root / "cohn-kanade-images/S005/001")
    with open(os.path.join(folder, b"caf\xe9.png"), "wb"):  # noqa: PTH118, PTH123
        pass
    reading = read(root)
    assert [entry.reason for entry in reading.skipped] == ["a file that is no frame of its sequence"]
    assert len(reading.records) == 3


def test_two_labels_that_disagree_are_none(root):
    (root / "Emotion/S005/001/S005_001_00000004_emotion.txt").write_text("1.0")
    reading = read(root)
    assert by_id(reading)["S005/001"].label is None
    assert {entry.reason for entry in reading.skipped} == {"one of several labels for a sequence"}


def test_the_original_cks_time_codes_are_frames(tmp_path):
    frames = sequence(tmp_path, "S010", "001", label="fear", first=1594213, frames=4)
    assert frames[-1].name == "S010_001_01594216.png"
    [record] = read(tmp_path).records
    assert [frame.path for frame in record.frames] == frames
    assert record.label == "fear"


@pytest.mark.parametrize(
    "moves",
    [
        {"Emotion": "Emotion_labels/Emotion", "Landmarks": "Landmarks2/Landmarks"},
        {"cohn-kanade-images": "extended-cohn-kanade-images/cohn-kanade-images"},
        {"cohn-kanade-images": "a/b/c/Cohn-Kanade-Images", "Emotion": "labels"},
    ],
)
def test_usual_nestings_are_found(root, moves):
    expected = {name: (record.label, len(record.frames)) for name, record in by_id(read(root)).items()}
    for old, new in moves.items():
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root / old, root / new)
    found = by_id(read(root))
    assert {name: (record.label, len(record.frames)) for name, record in found.items()} == expected
    assert found["S005/001"].frames[0].landmarks is not None


def test_reading_does_not_depend_on_the_file_systems_order(golden, monkeypatch):
    from pathlib import Path

    plain = read(golden)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listed(self), reverse=True))
    assert read(golden).records == plain.records


def zipped(root, names=("extended-cohn-kanade-images", "Emotion_labels", "Landmarks")):
    for name, folder in zip(names, ("cohn-kanade-images", "Emotion", "Landmarks"), strict=True):
        with zipfile.ZipFile(root / f"{name}.zip", "w") as file:
            for path in sorted((root / folder).rglob("*")):
                file.write(path, path.relative_to(root))
            file.writestr("__MACOSX/._litter", b"")
        shutil.rmtree(root / folder)


def test_unopened_zips_are_unpacked_beside_them(root):
    expected = {name: (record.label, len(record.frames)) for name, record in by_id(read(root)).items()}
    zipped(root)
    found = by_id(read(root))
    assert {name: (record.label, len(record.frames)) for name, record in found.items()} == expected
    assert found["S005/001"].frames[0].landmarks is not None
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    read(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.png")} == before


def test_locating_writes_nothing(root):
    zipped(root)
    before = sorted(root.rglob("*"))
    CKPlus().locate(root)
    assert sorted(root.rglob("*")) == before


def test_an_interrupted_unpacking_is_begun_anew(root):
    zipped(root)

    def interrupt(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CKPlus().make(root, interrupt)
    assert len(read(root).records) == 3


def test_members_cannot_leave_the_folder(root, tmp_path):
    zipped(root)
    with zipfile.ZipFile(root / "extended-cohn-kanade-images.zip", "a") as file:
        for name in (
            "../../evil.png",
            "/evil.png",
            "../S001/001/S001_001_00000001.png",
            "S001/001/S001_001_../../x.png",
        ):
            file.writestr(name, b"evil")
    read(root)
    assert not list(tmp_path.rglob("*evil*"))
    written = [path for path in tmp_path.rglob("*.png") if path.read_bytes() == b"evil"]
    assert [path.relative_to(root).as_posix() for path in written] == [
        "fer-unpacked/images/S001/001/S001_001_00000001.png"
    ]


def test_a_broken_zip_is_said(root):
    zipped(root)
    path = root / "extended-cohn-kanade-images.zip"
    data = bytearray(path.read_bytes())
    data[60:200] = b"\xff" * 140
    path.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match=r"cannot be unpacked|not CK"):
        read(root)


def test_pictures_without_any_label_say_where_labels_come_from(root):
    shutil.rmtree(root / "Emotion")
    with pytest.raises(CorpusError) as caught:
        read(root)
    assert "no emotion label" in caught.value.message
    assert "Emotion_labels.zip" in caught.value.hint


@pytest.mark.parametrize("there", [[], ["holiday.jpg", "mail"]])
def test_what_is_not_ck_plus_is_told_with_what_is_there_and_what_is_expected(tmp_path, there):
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(CorpusError) as caught:
        CKPlus().locate(tmp_path)
    assert all(name in caught.value.message for name in there)
    assert "cohn-kanade-images/S005/001" in caught.value.hint
    with pytest.raises(CorpusError, match="no folder"):
        CKPlus().locate(tmp_path / "nowhere")


def test_the_mirror_ck48_gives_apexes_with_their_subjects_and_no_neutral(tmp_path):
    for label in ("anger", "happy", "contempt"):
        folder = tmp_path / "CK+48" / label
        folder.mkdir(parents=True)
        for frame in (16, 17, 18):
            (folder / f"S010_004_{frame:08d}.png").touch()
    reading = read(tmp_path)
    assert reading.found == {"pictures": 9}
    assert all(isinstance(record, Still) and record.subject == "S010" for record in reading.records)
    assert Counter(record.label for record in reading.records) == {"anger": 3, "happiness": 3, "contempt": 3}


def test_the_table_of_pixels_is_refused_because_it_does_not_say_who(tmp_path):
    (tmp_path / "ckextended.csv").write_text("emotion,pixels,Usage\n6,0 0,Training\n")
    with pytest.raises(CorpusError, match="does not say who is shown"):
        CKPlus().locate(tmp_path)


def test_a_pipe_is_no_label_and_nobody_waits_for_it(root):
    label = next((root / "Emotion/S005/001").iterdir())
    label.unlink()
    os.mkfifo(label)
    assert [(entry.path, entry.reason) for entry in read(root).skipped] == [
        (str(label), "a label file that cannot be read")
    ]


def test_case_03_sequences_and_subjects_behind_links_are_those_of_the_tree(root, tmp_path):
    linked = tmp_path / "linked"
    for part in ("cohn-kanade-images", "Emotion", "Landmarks"):
        for subject in (root / part).iterdir():
            (linked / part).mkdir(parents=True, exist_ok=True)
            (linked / part / subject.name).symlink_to(subject)
    (linked / "up").symlink_to(tmp_path)
    own, behind = by_id(read(root)), by_id(read(linked))
    assert {name: (record.label, len(record.frames)) for name, record in behind.items()} == {
        name: (record.label, len(record.frames)) for name, record in own.items()
    }
    assert behind["S005/001"].frames[0].landmarks is not None


def test_case_19_ck48_is_read_whatever_its_classes_are_called(tmp_path):
    for name in ("Angry", "happy", "SADNESS"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "S010_004_00000017.png").touch()
    assert sorted(still.label for still in read(tmp_path).records) == ["anger", "happiness", "sadness"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *((content, "holds no number") for content in (b"disgust", b"3 3", b"\xff", "³".encode(), b"3\x00")),
        *((content, "cannot be read") for content in (b"9" * 5_000, b"   3.0" + b" " * 2_000)),
    ],
)
def test_a_label_file_that_holds_no_number_is_told_and_ends_nothing(root, content, reason):
    path = next((root / "Emotion/S005/001").iterdir())
    path.write_bytes(content)
    reading = read(root)
    assert by_id(reading)["S005/001"].label is None
    assert [(entry.path, entry.reason, entry.fault) for entry in reading.skipped] == [
        (str(path), f"a label file that {reason}", True)
    ]


def test_case_31_a_second_copy_is_counted_once_and_told(root):
    alone = read(root)
    shutil.copytree(root / "cohn-kanade-images", root / "z-copy" / "cohn-kanade-images")
    reading = read(root)
    assert reading.records == alone.records
    [entry] = [entry for entry in reading.skipped if "z-copy" in entry.path]
    assert (entry.reason, entry.fault) == ("another copy of the pictures (counted once)", False)


def mirror(folder):
    for label in ("anger", "happy"):
        for subject in ("S010", "S011"):
            path = folder / "CK+48" / label / f"{subject}_004_00000017.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (folder / "CK+48/anger/Thumbs.db").touch()
    return folder


@pytest.mark.parametrize("how", ["zip", "tar", "folders deep"])
def test_case_30_the_mirror_is_read_from_its_archive_and_from_deep_below(tmp_path, how):
    root = tmp_path / "root"
    if how == "folders deep":
        mirror(root / "archive" / "ck")
    else:
        root.mkdir()
        shutil.make_archive(str(root / "archive"), how, mirror(tmp_path / "made"))
    reading = read(root)
    assert Counter(still.label for still in reading.records) == {"anger": 2, "happiness": 2}
    assert reading.skipped == []


def test_case_30_the_mirrors_zip_itself_may_be_typed(tmp_path):
    from fer_cli.corpora.io import unpack_root
    from fer_cli.progress import silent

    shutil.make_archive(str(tmp_path / "archive"), "zip", mirror(tmp_path / "made"))
    shutil.rmtree(tmp_path / "made")
    assert len(read(unpack_root(tmp_path / "archive.zip", silent)).records) == 4


def test_a_zip_of_labels_that_was_not_downloaded_to_its_end_is_named(root):
    shutil.make_archive(str(root / "Emotion_labels"), "zip", root, "Emotion")
    shutil.rmtree(root / "Emotion")
    path = root / "Emotion_labels.zip"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorpusError, match=r"Emotion_labels\.zip cannot be unpacked"):
        read(root)
