"""Videos whose names say who shows what."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from fer_cli.corpora.base import Reading, Sequence
from fer_cli.corpora.crema_d import CremaD
from fer_cli.corpora.io import frame_count
from fer_cli.corpora.layouts import COPY
from fer_cli.corpora.ravdess import Ravdess
from fer_cli.dataset.pairing import pair
from fer_cli.errors import CorpusError
from fer_cli.labels import CLASS_SETS
from tests.videos import make_video, shades

CREMA = {
    "VideoFlash/1001_DFA_ANG_XX.flv": ("1001", "anger"),
    "VideoFlash/1001_DFA_NEU_XX.flv": None,
    "VideoFlash/1001_IEO_HAP_HI.flv": ("1001", "happiness"),
    "VideoFlash/1002_IEO_SAD_LO.flv": ("1002", "sadness"),
    "VideoFlash/1002_ITS_NEU_XX.flv": None,
}
RAVDESS = {
    "Actor_12/02-01-06-01-02-01-12.mp4": ("12", "fear"),
    "Actor_12/02-01-01-01-02-01-12.mp4": None,
    "Actor_12/02-01-08-02-01-01-12.mp4": ("12", "surprise"),
    "Actor_12/01-01-08-02-01-01-12.mp4": None,
    "Actor_12/02-01-02-01-01-01-12.mp4": None,
}
BOTH = pytest.mark.parametrize(
    ("corpus", "files"), [(CremaD(), CREMA), (Ravdess(), RAVDESS)], ids=["crema-d", "ravdess"]
)


def made(root: Path, files) -> Path:
    for name in files:
        make_video(root / name, shades(31), rate=30)
    return root


def clips_in(reading: Reading) -> list[Sequence]:
    return [record for record in reading.records if isinstance(record, Sequence)]


@BOTH
def test_a_clip_is_compared_with_the_middle_of_the_actors_neutral_clip(corpus, files, tmp_path):
    reading = corpus.read(corpus.locate(made(tmp_path, files)))
    clips = clips_in(reading)
    assert {
        record.frames[0].path.relative_to(tmp_path).as_posix(): (record.subject, record.label) for record in clips
    } == {name: shown for name, shown in files.items() if shown}
    for record in clips:
        assert record.neutral is None
        assert [record.frames[index].index for index in record.apexes] == [14, 15, 16]
        assert record.apex_source == "middle of the clip"
    samples = pair(reading.records, CLASS_SETS["6"]).samples
    neutral_of = {sample.frame: sample.neutral for sample in samples if sample.role == "apex"}
    for record in clips:
        [neutral] = {neutral_of[frame] for frame in record.frames}
        assert (neutral.path != record.frames[0].path, neutral.index) == (True, 15)
    assert reading.found["clips"] == len(files) - ("Actor_12/01-01-08-02-01-01-12.mp4" in files)
    assert not any(entry.fault for entry in reading.skipped)


@BOTH
def test_one_neutral_clip_is_one_neutral_sample_and_never_its_own(corpus, files, tmp_path):
    samples = pair(corpus.read(made(tmp_path, files)).records, CLASS_SETS["8"]).samples
    resting = [sample for sample in samples if sample.role == "neutral"]
    assert len({sample.frame for sample in resting}) == len(resting) == len({sample.subject for sample in resting})
    assert {sample.neutral for sample in resting} == {None}


def test_a_song_is_not_compared_with_speech(tmp_path):
    """Nobody sings disgust or surprise, so that speech behind a song would be a sign of the other four."""
    shown = [f"02-{channel}-{code}-01-02-01-12.mp4" for channel in ("01", "02") for code in ("01", "06")]
    made(tmp_path / "Actor_12", shown)
    samples = pair(Ravdess().read(tmp_path).records, CLASS_SETS["6"]).samples
    pairs = {(sample.frame.path.name[3:8], sample.neutral.path.name[3:8]) for sample in samples if sample.neutral}
    assert pairs == {("01-06", "01-01"), ("02-06", "02-01")}


def test_an_actor_without_a_neutral_clip_and_a_broken_video_are_named(tmp_path):
    made(tmp_path, CREMA)
    (tmp_path / "VideoFlash/1002_ITS_NEU_XX.flv").write_bytes(b"no video")
    reading = CremaD().read(tmp_path)
    pairing = pair(reading.records, CLASS_SETS["6"])
    assert {(Path(entry.path).name, entry.reason) for entry in [*reading.skipped, *pairing.skipped]} == {
        ("1002_ITS_NEU_XX.flv", "a video that cannot be read"),
        ("1002_IEO_SAD_LO.flv", "no neutral picture of this subject (unpaired)"),
    }


@BOTH
def test_case_31_two_copies_of_a_corpus_count_once(corpus, files, tmp_path):
    alone = corpus.read(made(tmp_path / "one", files))
    made(tmp_path / "two", files)
    reading = corpus.read(tmp_path)
    assert reading.records == alone.records
    assert reading.found == alone.found
    copies = [entry for entry in reading.skipped if "/two/" in entry.path]
    assert {(entry.reason, entry.fault) for entry in copies} == {(COPY, False)}
    assert len(copies) == len(files)


def test_case_31_ravdess_with_sound_is_read_where_there_is_nothing_else(tmp_path):
    names = ["01-01-01-01-01-01-12.mp4", "01-01-03-01-01-01-12.mp4", "02-01-05-01-01-01-12.mp4"]
    made(tmp_path / "Actor_12", [*names, "01-01-05-01-01-01-12.mp4"])
    reading = Ravdess().read(tmp_path)
    assert {record.frames[0].path.name: record.label for record in clips_in(reading)} == {
        "01-01-03-01-01-01-12.mp4": "happiness",
        "02-01-05-01-01-01-12.mp4": "anger",
    }
    assert [(Path(entry.path).name, entry.fault) for entry in reading.skipped] == [("01-01-05-01-01-01-12.mp4", False)]
    assert reading.found == {"clips": 3}


def test_case_02_the_owners_misspelt_clip_is_read_and_unknown_names_are_told(tmp_path):
    made(tmp_path, ["1040_IEO_NEU_XX.flv", "1040_ITH_SAD_X.flv", "1040_ITH_SAD_QQ.flv", "1040_ITH_SAD.flv"])
    for name in ("AudioWAV/1040_IEO_NEU_XX.wav", "README.md", "faces.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    reading = CremaD().read(tmp_path)
    assert [record.frames[0].path.name for record in clips_in(reading)] == ["1040_ITH_SAD_X.flv"]
    assert {(Path(entry.path).name, entry.fault) for entry in reading.skipped} == {
        ("1040_ITH_SAD_QQ.flv", True),
        ("1040_ITH_SAD.flv", True),
        ("faces.jpg", True),
        ("1040_IEO_NEU_XX.wav", False),
        ("README.md", False),
    }


def test_case_02_a_git_lfs_pointer_is_named(tmp_path):
    made(tmp_path, ["1001_DFA_NEU_XX.flv"])
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:92\nsize 414429\n"
    (tmp_path / "1001_DFA_ANG_XX.flv").write_text(pointer)
    [entry] = CremaD().read(tmp_path).skipped
    assert entry.fault
    assert "git lfs pull" in entry.reason


def test_a_corpus_behind_thousands_of_other_files_is_found(tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    for number in range(2_500):
        (tmp_path / f"AudioWAV/{number}.wav").touch()
    (tmp_path / "VideoFlash").mkdir()
    (tmp_path / "VideoFlash/1001_DFA_NEU_XX.flv").touch()
    assert CremaD().locate(tmp_path) == tmp_path


@pytest.mark.parametrize("claimed", [-1, 2**31 - 1, 2**62])
def test_a_number_of_frames_that_no_clip_has_is_not_believed(tmp_path, monkeypatch, claimed):
    import av

    class Claims:
        frames = claimed

    container = type("Container", (), {"streams": type("Streams", (), {"video": [Claims]})})
    monkeypatch.setattr(av, "open", lambda path: nullcontext(container))
    (tmp_path / "clip.mp4").touch()
    assert frame_count(tmp_path / "clip.mp4") is None


def test_a_code_that_is_none_is_an_error_that_names_the_file(tmp_path):
    made(tmp_path, ["1001_DFA_JOY_XX.flv"])
    with pytest.raises(CorpusError, match="1001_DFA_JOY_XX"):
        CremaD().read(tmp_path)


@BOTH
def test_another_folder_is_refused_with_the_layout(corpus, files, tmp_path):
    with pytest.raises(CorpusError) as caught:
        corpus.locate(tmp_path)
    assert corpus.layout in caught.value.hint
