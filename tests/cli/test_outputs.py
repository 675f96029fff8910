"""What commands write: by one process at a time, whole or not at all, and a full disk is one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.files import locked
from tests.evaluation.predictions import random_table
from tests.evaluation.test_compare import better, evaluated
from tests.made import made_dataset
from tests.prediction.made import made_pictures
from tests.prediction.runs import write_run

resource = pytest.importorskip("resource", reason="no limits on file sizes here")

TRAIN = ("train", "difference", "--encoder", "scratch", "--backbone", "mobilenet_v3_small", "--size", "32")
TRAIN = (*TRAIN, "--epochs", "1", "--batch-size", "8", "--features", "target", "--device", "cpu")
PREPARE = ("prepare", "files", "photos", "--pattern", "{label}/{subject}.png", "--folds", "3", "--size", "32")
PREPARE = (*PREPARE, "--detector", "none", "--out", "data")
SYNTHETIC = ("prepare", "synthetic", "corpus", "--subjects", "3", "--frames", "4", "--folds", "3", "--out", "data")


@pytest.fixture(scope="module")
def _run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs"), features="target").path


@pytest.fixture
def here(tmp_path, monkeypatch, _run) -> Path:
    """A folder to stand in, with photographs, a run, and two evaluated runs."""
    monkeypatch.chdir(tmp_path)
    made_pictures(tmp_path / "faces", 4)
    shutil.copytree(_run, tmp_path / "run")
    rows = random_table(0, subjects=20)
    for name, share in (("plain", 0), ("mended", 1)):
        evaluated(tmp_path / name, better(rows, share))
    for label in ("anger", "surprise"):
        for subject in range(6):
            path = tmp_path / "photos" / label / f"{subject}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([subject, len(label)]).integers(0, 256, (60, 60, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
    return tmp_path


def fer(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})
    assert result.exit_code == code, f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.output


class Room:
    """Within it, as on a disk that is full, no file can grow beyond ``size`` bytes."""

    def __init__(self, size: int):
        self._size = size

    def __enter__(self):
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


PREDICT = ("predict", "faces", "--run", "run", "--device", "cpu", "--runtime", "torch")
#: Where they write, how much room there is, the mark of what is finished, and the line.
WRITING = {
    "prepare files": ("data", 2500, "data/dataset.json", PREPARE),
    "prepare synthetic, its pictures": ("corpus", 20_000, "corpus/synthetic.json", SYNTHETIC),
    "compare": ("cmp", 20_000, "cmp/comparison.csv", ("compare", "plain", "mended", "--out", "cmp")),
    "predict, as it goes on": ("p.csv", 500, "p.csv", (*PREDICT, "--out", "p.csv")),
    "predict, crops": ("crops", 1500, "crops/000000-000-0.png", (*PREDICT, "--crops", "crops")),
    "predict, drawn": ("drawn", 500, "drawn/000000-000.jpg", (*PREDICT, "--annotate", "drawn")),
    "export": (".", 100_000, "m.onnx", ("export", "run", "--out", "m.onnx")),
}


@pytest.mark.parametrize("case", WRITING)
def test_a_full_disk_is_a_sentence_and_leaves_nothing_that_looks_finished(here, case):
    place, size, finished, words = WRITING[case]
    with Room(size):
        said = fer(*words, code=1)
    assert "The disk is full (File too large): nothing more can be written to" in said
    assert place in said.partition("written to")[2]
    assert "type the same line" in said
    assert not (here / finished).exists()
    assert not list(here.rglob("*.part"))
    fer(*words, *(["--resume"] if "--resume" in said else []))
    assert (here / finished).exists()


def test_a_full_disk_under_the_tables_of_a_preparation_is_the_same_sentence(here):
    for path in here.glob("photos/*/*.png"):
        Image.new("L", (60, 60)).save(path)
    with Room(1500):
        said = fer(*PREPARE, code=1)
    assert "The disk is full (File too large): nothing more can be written to data" in said
    # All crops are made but not all is known of them: the rest is made again.
    assert len(list(here.glob("data/images/*/*.png"))) > 1
    assert not (here / "data" / "metadata.csv").exists()
    fer(*PREPARE)
    assert len(PreparedDataset.open(here / "data").metadata) == 12


def test_a_cache_that_is_full_stops_no_prediction(here, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(here / "cache"))
    with Room(100_000):
        said = fer(*PREDICT[:-2])
    assert "torch: no graph for onnxruntime (The disk is full" in said
    assert "4 faces in 4 of 4 pictures" in said


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_table_that_finds_no_room_is_not_there(tmp_path, ending):
    from fer_cli.errors import DiskFullError
    from fer_cli.prediction.sinks.rows import FORMATS

    path = tmp_path / f"p.{ending}"

    def write() -> None:
        with FORMATS[ending](path, {"file": str}) as writer:
            for number in range(1000):
                writer.add({"file": f"picture {number * 7919}"})

    with Room(2000), pytest.raises(DiskFullError, match="disk is full"):
        write()
    assert not list(tmp_path.iterdir())
    write()
    assert path.stat().st_size > 2000


def test_a_training_and_an_evaluation_on_a_full_disk_go_on_when_there_is_room(here):
    made_dataset(here / "data")
    words = (*TRAIN, "--data", "data", "--out", "runs/a")
    with Room(100_000):
        assert "nothing more can be written to runs/a" in fer(*words, code=1)
    assert not (here / "runs/a/run.json").exists()
    fer(*words)
    evaluate = ("evaluate", "runs/a", "--out", "judged", "--device", "cpu")
    with Room(3000):
        said = fer(*evaluate, code=1)
    assert "The disk is full (File too large): nothing more can be written to judged" in said
    assert not (here / "judged" / "metrics.json").exists()
    fer(*evaluate)
    assert (here / "judged" / "report.html").exists()


def test_weights_that_find_no_room_are_not_there(here, monkeypatch):
    import torch
    from safetensors.torch import save_file

    from fer_cli.files import written_whole
    from fer_cli.models import vggface2

    def convert(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as beside:
            save_file({"a": torch.zeros(1000)}, beside)

    monkeypatch.setattr(vggface2, "import_published", convert)
    monkeypatch.setenv("FER_CACHE", str(here / "cache"))
    with Room(1000):
        assert "nothing more can be written to" in fer("weights", "import", "x.pkl", code=1)
    assert not list((here / "cache").iterdir())
    fer("weights", "import", "x.pkl")
    with locked(here / "cache" / "vggface2.safetensors", "importing to"):
        assert "Another process is importing to" in fer("weights", "import", "x.pkl", code=1)


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for a few crops."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_preparation_on_a_disk_that_fills_up_is_never_a_smaller_dataset(here, small_disk):
    words = (*PREPARE[:-1], "disk/data")
    said = fer(*words, code=1)
    assert "The disk is full (No space left on device): nothing more can be written to" in said
    assert list(small_disk.rglob("*.png"))
    assert not (small_disk / "data" / "dataset.json").exists()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    fer(*words)
    assert len(PreparedDataset.open(small_disk / "data").metadata) == 12


HELD = {
    "preparing into": ("data", PREPARE),
    "drawing into": ("corpus", SYNTHETIC),
    "training into": ("runs/b", (*TRAIN, "--data", "made", "--out", "runs/b")),
    "comparing into": ("cmp", ("compare", "plain", "mended", "--out", "cmp")),
    "exporting to": ("m.onnx", ("export", "run", "--out", "m.onnx")),
    **{
        f"predicting into {name}": (place, (*PREDICT, *words, place))
        for name, (place, *words) in {
            "out": ("p.csv", "--out"),
            "errors": ("e.csv", "--errors"),
            "its errors": ("p.errors.csv", "--out", "p.csv", "--errors"),
            "timeline": ("t.png", "--timeline"),
            "crops": ("crops", "--crops"),
            "annotate": ("drawn", "--annotate"),
            "sort": ("sorted", "--sort-into"),
        }.items()
    },
}


@pytest.mark.parametrize("case", HELD)
def test_what_another_process_writes_to_is_left_alone(here, case):
    place, words = HELD[case]
    if words[0] == "train":
        made_dataset(here / "made")
    before = sorted(here.rglob("*"))
    with locked(here / place, "at work on"):
        said = fer(*words, code=1)
    assert f"Another process is {' '.join(case.split()[:2])} {place}." in said
    assert sorted(here.rglob("*")) == before


def test_two_preparations_into_one_folder_make_one_dataset(here):
    line = [sys.executable, "-m", "fer_cli", *PREPARE]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=200)[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 1]), said
    if codes == [0, 1]:
        assert "Another process is preparing into data." in said[0] + said[1]
    assert len(PreparedDataset.open(here / "data").metadata) == 12
    assert len(list(here.glob("data/images/*/*.png"))) == 12
    assert not list(here.rglob("*.part"))
    card = json.loads((here / "data" / "dataset.json").read_text())
    assert card["counts"]["crops"] == 12


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_names_that_are_no_utf_8_are_prepared_and_those_that_steer_terminals_shown(here):
    for number in range(3):
        for label in ("anger", "surprise"):
            folder = here / "photos" / label
            shutil.copy(folder / "0.png", os.fsencode(folder) + b"/caf\xe9-%d.png" % number)
            shutil.copy(folder / "0.png", folder / f"\x1b[2J{number}.png")
    (here / "photos" / "anger" / "b\x1b]0;x\x07.png").write_bytes(b"")
    said = fer(*PREPARE, code=3)
    assert r"anger/b\x1b]0;x\x07.png" in said
    assert "\x1b" not in said
    rows = PreparedDataset.open(here / "data").metadata
    assert len(rows) == 24
    assert r"caf\xe9-0" in set(rows["subject"])
    journal = [json.loads(line) for line in (here / "data" / "faces.jsonl").read_text("utf-8").splitlines()]
    assert b"anger/caf\xe9-0.png" in {os.fsencode(entry["source"]) for entry in journal}
    assert "it was complete already" in fer(*PREPARE, code=3)
