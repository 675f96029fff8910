import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fer_cli.corpora.base import Frame
from fer_cli.dataset.crops import CropJob, make_crops
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


def test_a_picture_that_kills_its_process_is_named_and_the_others_are_made(jobs, tmp_path):
    deadly = CropJob(Frame(tmp_path / "3.png", landmarks=Deadly()), tmp_path / "out" / "deadly.png")
    results = {result.job: result for result in make_crops([*jobs[:5], deadly, *jobs[5:]], CropTemplate(32), None)}
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
