import os
import re
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_cli.corpora.base import Frame
from fer_cli.dataset.crops import CropJob, crop_names, make_crops
from fer_cli.faces.align import CropTemplate


class Deadly:
    """Brings down the process that it is sent to, as a broken picture may in a decoder written in C."""

    def __reduce__(self):
        return os._exit, (1,)


@pytest.fixture
def jobs(tmp_path):
    jobs = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((40, 40), 20 * number, np.uint8)).save(path)
        jobs.append(CropJob(Frame(path), tmp_path / "out" / f"{number}.png"))
    return jobs


@pytest.mark.processes
def test_a_picture_that_kills_its_process_is_named_and_the_others_are_made(jobs, tmp_path):
    deadly = CropJob(Frame(tmp_path / "3.png", landmarks=Deadly()), tmp_path / "out" / "deadly.png")
    all_jobs = [*jobs[:5], deadly, *jobs[5:]]
    results = {result.job: result for result in make_crops(all_jobs, CropTemplate(32), None, workers=2)}
    assert set(results) == {*jobs, deadly}
    assert "brought the process down" in results[deadly].reason
    for job in jobs:
        assert results[job].reason is None
        assert Image.open(job.target).size == (32, 32)


def test_a_picture_that_cannot_be_used_gives_its_reason_and_no_file(jobs, tmp_path):
    (tmp_path / "0.png").write_bytes(b"")
    reasons = {result.job.target.name: result.reason for result in make_crops(jobs, CropTemplate(32), None, workers=1)}
    assert reasons.pop("0.png") == "empty file"
    assert set(reasons.values()) == {None}
    assert not (tmp_path / "out" / "0.png").exists()
    assert not list((tmp_path / "out").glob("*.part"))


#: Begins to make crops in two processes, and is killed outright.
KILLED = """
import os, signal, sys
from pathlib import Path
from fer_cli.corpora.base import Frame
from fer_cli.dataset.crops import CropJob, make_crops
from fer_cli.faces.align import CropTemplate
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jobs = [CropJob(Frame(path), folder / "out" / path.name) for path in folder.glob("*.png")]
    next(make_crops(jobs, CropTemplate(32), None, workers=2))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_no_process_outlives_one_that_was_killed(jobs, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    # The processes share the pipe of its output: reading to the end of that waits for the last of them.
    done = subprocess.run(
        [sys.executable, tmp_path / "killed.py", tmp_path], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


ROOT = Path("corpus")


def names(*pictures: tuple[str, str | None]) -> list[str]:
    return list(crop_names([(Frame(ROOT / path), subject) for path, subject in pictures], ROOT).values())


def test_a_crop_is_called_after_its_picture_under_its_subject():
    assert names(("images/S005/001/S005_001_00000011.png", "S005")) == ["images/S005/S005_001_00000011.png"]


def test_folders_are_added_where_the_picture_alone_is_not_unique():
    assert names(("smiling/001.jpg", "001"), ("neutral/001.jpg", "001")) == [
        "images/001/smiling-001.png",
        "images/001/neutral-001.png",
    ]


def test_pictures_that_differ_in_their_suffix_only_do_not_share_a_crop():
    assert len(set(names(("a.jpg", "S"), ("a.png", "S")))) == 2


LONG = "表情" * 41  # 246 bytes


def fits(name: str) -> bool:
    """Whether a disk takes the name, and that of the file that it is written as."""
    return len(f".{PurePosixPath(name).name}.{'0' * 8}-{2**22}.part".encode()) <= 255


def test_case_35_long_names_fit_a_disk_and_stay_apart():
    pictures = [(f"{LONG}{end}/{LONG}{number}.jpg", "山" * 85) for end in "ab" for number in range(3)]
    made = names(*pictures)
    assert len(set(made)) == len(pictures)
    assert all(map(fits, made))
    assert all(len(PurePosixPath(name).parts[1].encode()) <= 255 for name in made)
    assert made == names(*reversed(pictures))[::-1]


def test_case_35_frames_of_one_clip_with_a_long_name_have_a_crop_each():
    frames = [Frame(ROOT / f"{LONG}.mp4", index=index, kind="video") for index in range(50)]
    made = crop_names([(frame, "S") for frame in frames], ROOT)
    assert len(set(made.values())) == 50
    assert all(map(fits, made.values()))


def test_a_crops_name_does_not_depend_on_where_the_corpus_is():
    pictures = ["a.jpg", "a.png", f"{LONG}1.jpg", f"{LONG}2.jpg"]
    here, there = (
        list(crop_names([(Frame(root / name), "S") for name in pictures], root).values())
        for root in (Path("/data/corpus"), Path("/home/me/x"))
    )
    assert here == there


@pytest.mark.parametrize(
    ("picture", "crop"),
    [
        ("train_00001_aligned.jpg", "trainset_00001_aligned"),
        ("test.jpg", "testset"),
        ("7-val-dev.jpg", "7-valset-devset"),
        ("validation 3.jpg", "validationset_3"),
        ("Training_0001.jpg", "Training_0001"),  # upper case means nothing to datasets
        ("latest-invalid.jpg", "latest-invalid"),
    ],
)
def test_case_36_no_crop_is_called_after_a_split(picture, crop):
    assert names((picture, "eval")) == [f"images/evalset/{crop}.png"]


def test_case_36_a_name_that_is_cut_short_is_not_called_after_a_split_either():
    [name] = names((f"{'a' * 75}-training.jpg", "S"))
    assert name == f"images/S/{'a' * 75}-trai.png"
    [name] = names((f"{'a' * 74}-training.jpg", "S"))
    assert name == f"images/S/{'a' * 74}-trainset.png"


def infers_a_split(path: str) -> bool:
    from datasets.data_files import DEFAULT_PATTERNS_SPLIT_IN_DIR_NAME, DEFAULT_PATTERNS_SPLIT_IN_FILENAME
    from fsspec.utils import glob_translate

    return any(
        re.match(glob_translate(pattern), path)
        for kind in (DEFAULT_PATTERNS_SPLIT_IN_DIR_NAME, DEFAULT_PATTERNS_SPLIT_IN_FILENAME)
        for patterns in kind.values()
        for pattern in patterns
    )


WORDS = st.sampled_from(
    [
        *("train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation"),
        *("a", "set", "É", *"-._ 01"),
    ]
)
PART = st.lists(WORDS, min_size=1, max_size=5).map("".join).filter(lambda text: not text.startswith("."))


@given(PART, st.lists(PART, min_size=1, max_size=3))
def test_case_36_datasets_infers_no_split_from_any_name(subject, parts):
    assert infers_a_split("images/test/1.png")
    made = crop_names([(Frame(ROOT.joinpath(*parts)), subject), (Frame(ROOT.joinpath("x", *parts)), subject)], ROOT)
    assert not [name for name in made.values() if infers_a_split(name)]


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.text(min_size=1, max_size=120).filter(lambda t: "/" not in t and "\0" not in t and t != "."),
                min_size=1,
                max_size=3,
            ),
            st.one_of(st.none(), st.text(min_size=1, max_size=6)),
        ),
        max_size=12,
    )
)
def test_every_picture_has_a_crop_of_its_own_inside_the_folder(pictures):
    frames = {Frame(ROOT.joinpath(*parts)): subject for parts, subject in pictures if ".." not in parts}
    made = crop_names(frames.items(), ROOT)
    assert set(made) == set(frames)
    assert len({name.casefold() for name in made.values()}) == len(frames)
    for name in made.values():
        parts = PurePosixPath(name).parts
        assert parts[0] == "images"
        assert len(parts) == 3
        assert not any(part.startswith(".") for part in parts)
        assert fits(name)
