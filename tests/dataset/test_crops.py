import os

import numpy as np
import pytest
from PIL import Image

from fer_cli.corpora.record import Frame
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
