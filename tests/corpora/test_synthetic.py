"""The synthetic corpus as a corpus: its files, its settings, its folder, and what can be repeated."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_cli.corpora.synthetic import Synthetic
from fer_cli.errors import CorpusError, UsageError
from fer_cli.labels import CLASS_SETS

SETTINGS = Synthetic(subjects=2, frames=4)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("corpora") / "synthetic"
    SETTINGS.make(root)
    return root


def test_it_draws_seven_sequences_a_subject_in_the_owners_layout(corpus):
    frames = sorted(path.relative_to(corpus).as_posix() for path in corpus.glob("cohn-kanade-images/*/*/*.png"))
    assert len(frames) == 2 * 7 * 4
    assert frames[0] == "cohn-kanade-images/S001/001/S001_001_00000001.png"
    assert frames[-1] == "cohn-kanade-images/S002/007/S002_007_00000004.png"
    # CK+ has a landmark file for every frame, and a label for a sequence, named after its last frame.
    landmarks = sorted(path.relative_to(corpus).as_posix() for path in corpus.glob("Landmarks/*/*/*"))
    names = [name.replace("cohn-kanade-images", "Landmarks").replace(".png", "_landmarks.txt") for name in frames]
    assert landmarks == names
    labels = sorted(path.relative_to(corpus).as_posix() for path in corpus.glob("Emotion/*/*/*"))
    assert labels[0] == "Emotion/S001/001/S001_001_00000004_emotion.txt"
    assert len(labels) == len(list(corpus.glob("FACS/*/*/*_00000004_facs.txt"))) == 14


def test_labels_are_printed_as_the_owners_print_them_and_every_subject_shows_all_seven(corpus):
    for subject in ("S001", "S002"):
        written = {path.read_bytes() for path in corpus.glob(f"Emotion/{subject}/*/*.txt")}
        assert written == {f"   {code}.0000000e+00\n".encode() for code in range(1, 8)}


def test_the_order_of_sequences_does_not_tell_the_label(corpus):
    orders = [
        [path.read_text() for path in sorted(corpus.glob(f"Emotion/{subject}/*/*.txt"))] for subject in ("S001", "S002")
    ]
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_a_landmark_file_has_68_points_within_the_picture(corpus):
    for path in corpus.glob("Landmarks/S001/*/*.txt"):
        assert path.read_text().startswith("   ")
        points = np.loadtxt(path)
        assert points.shape == (68, 2)
        assert (points > 0).all()
        assert (points < (640, 490)).all()


def test_frames_are_640_by_490(corpus):
    assert cv2.imread(str(next(corpus.glob("cohn-kanade-images/S001/*/*.png")))).shape == (490, 640, 3)


def test_facs_rows_name_the_units_of_the_label(corpus):
    for path in corpus.glob("Emotion/*/*/*.txt"):
        if float(path.read_text()) == 7:
            rows = np.loadtxt(str(path).replace("Emotion", "FACS").replace("_emotion", "_facs"))
            assert rows[:, 0].tolist() == [1, 2, 5, 25, 26]
            assert set(rows[:, 1]) <= {1, 2, 3, 4, 5}


def test_the_ckplus_reader_reads_it(corpus):
    reading = SETTINGS.read(SETTINGS.locate(corpus), apex_frames=3)
    assert len(reading.records) == 14
    assert not [entry for entry in reading.skipped if entry.fault]
    assert {record.label for record in reading.records} == set(CLASS_SETS["7-contempt"])
    assert {(record.neutral, record.apexes) for record in reading.records} == {(0, (1, 2, 3))}
    assert all(frame.landmarks for record in reading.records for frame in record.frames)


def test_the_same_settings_draw_the_same_bytes_and_a_subject_is_the_same_in_any_company(corpus, tmp_path):
    Synthetic(subjects=1, frames=4).make(tmp_path / "alone")
    first = {name: digest for name, digest in digests(corpus).items() if "S001" in name}
    alone = {name: digest for name, digest in digests(tmp_path / "alone").items() if "S001" in name}
    assert len(first) == 7 * (4 + 4 + 1 + 1)
    assert alone == first


def test_another_seed_draws_another_person(corpus, tmp_path):
    Synthetic(subjects=1, frames=4, seed=1).make(tmp_path / "other")
    name = "Landmarks/S001/001/S001_001_00000001_landmarks.txt"
    difference = np.abs(np.loadtxt(corpus / name) - np.loadtxt(tmp_path / "other" / name))
    assert difference.mean() > 1


def test_a_finished_corpus_is_left_alone(corpus):
    stages = []
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    SETTINGS.make(corpus, lambda *step, **facts: stages.append(step))
    assert stages == []
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_progress_counts_frames_to_the_end(tmp_path):
    steps = []
    Synthetic(subjects=1, frames=4).make(tmp_path / "new", lambda *step, **facts: steps.append(step))
    assert steps[-1] == ("drawing", 28, 28)


class Killed(BaseException):
    pass


def test_a_killed_drawing_is_completed_without_drawing_again_what_is_there(corpus, tmp_path):
    root = tmp_path / "killed"

    def kill(*step, **facts):
        raise Killed

    with pytest.raises(Killed):
        SETTINGS.make(root, kill)
    assert not (root / "synthetic.json").exists()
    kept = sorted(root.glob("cohn-kanade-images/*/*/*.png"))
    times = [path.stat().st_mtime_ns for path in kept]
    # As if it had been killed in the middle of a sequence.
    sequence = kept[0].parent
    (sequence / sorted(path.name for path in sequence.iterdir())[-1]).unlink()
    untouched = [(path, time) for path, time in zip(kept, times, strict=True) if path.exists()]
    assert untouched

    SETTINGS.make(root)
    assert digests(root) == digests(corpus)
    assert [path.stat().st_mtime_ns for path, _ in untouched] == [time for _, time in untouched]


def test_the_card_holds_the_settings(corpus):
    card = json.loads((corpus / "synthetic.json").read_text())
    assert card == {"version": card["version"], "subjects": 2, "frames": 4, "seed": 0, "confound": 0.0}
    assert sorted(path.name for path in corpus.iterdir() if path.is_file()) == ["synthetic.json"]


@pytest.mark.parametrize("marker", ["synthetic.json", "synthetic.unfinished.json"])
def test_a_corpus_of_other_settings_is_refused_by_what_differs(tmp_path, marker):
    (tmp_path / marker).write_text(json.dumps(SETTINGS.settings()))
    with pytest.raises(CorpusError, match="seed 0 rather than 5") as caught:
        Synthetic(subjects=2, frames=4, seed=5).make(tmp_path)
    assert "another folder" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == [marker]


@pytest.mark.parametrize("marker", ["holiday.jpg", "synthetic.json"])
def test_a_folder_of_something_else_is_refused(tmp_path, marker):
    (tmp_path / marker).write_text("[]")
    with pytest.raises(CorpusError, match="in the way"):
        SETTINGS.make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [marker]


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="in the way"):
        SETTINGS.make(tmp_path / "file")
    with pytest.raises(CorpusError, match="cannot be written"):
        SETTINGS.make(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("subjects", 0),
        ("subjects", 1000),
        ("frames", 3),
        ("frames", 100),
        ("seed", -1),
        ("confound", -0.1),
        ("confound", 1.1),
        ("confound", float("nan")),
    ],
)
def test_a_setting_out_of_range_names_its_flag(setting, value):
    with pytest.raises(UsageError, match=f"--{setting}"):
        Synthetic(**{setting: value})


def test_the_example_shows_it_on_one_page(corpus, tmp_path):
    script = Path(__file__).resolve().parents[2] / "examples" / "contact_sheet.py"
    subprocess.run([sys.executable, script, corpus, tmp_path / "sheet.png"], check=True)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (24 + 2 * 140, 8 * 136, 3)
    assert len(np.unique(sheet[24:].reshape(-1, 3), axis=0)) > 100


def test_importing_it_imports_nothing_heavy():
    script = (
        "import sys, fer_cli.corpora.synthetic\n"
        "print(sorted({'numpy', 'cv2', 'PIL', 'pandas', 'torch'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_another_seed_draws_other_people_under_the_same_names():
    assert Synthetic().people == Synthetic(confound=1.0, subjects=9).people == "synthetic"
    assert Synthetic(seed=1).people not in (Synthetic().people, Synthetic(seed=2).people)
