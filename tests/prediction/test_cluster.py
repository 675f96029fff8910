"""Predictions by the actors of a Ray cluster; one with a single processor is started for all of these tests."""

import csv
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_cli import extras
from fer_cli.errors import FerError, UsageError
from fer_cli.prediction import cluster
from fer_cli.prediction.actor import make_job
from fer_cli.prediction.checkpoint import Block, Checkpoint
from fer_cli.prediction.cluster import Pool, connected, predict_blocks
from fer_cli.prediction.neutral.given import FixedNeutral
from fer_cli.prediction.options import NeutralOptions, PredictOptions
from fer_cli.prediction.people import known_people, people_finder
from fer_cli.prediction.pipeline import Neutral
from fer_cli.prediction.predictor import open_model
from fer_cli.prediction.results import Frame, FrameResult
from fer_cli.prediction.run import check, run
from tests.prediction.made import made_classifier, made_pictures
from tests.prediction.runs import write_run

CROPS = {"detector": "none"}
#: Bytes, the least that Ray takes.
OBJECT_STORE = 80_000_000
#: The cosine distance within which only some of the pictures are one person's.
NEAR = 0.01


@pytest.mark.parametrize(
    ("machines", "device", "pool"),
    [
        ([{"CPU": 1}], "auto", Pool(1, 1)),
        ([{"CPU": 2}], "auto", Pool(1, 2)),
        ([{"CPU": 6}], "cpu", Pool(2, 3)),
        ([{"CPU": 64}, {"CPU": 4}], "auto", Pool(17, 4)),
        ([{"CPU": 64}, {"CPU": 2}], "auto", Pool(33, 2)),
        # A head that gives nothing takes no actor.
        ([{"CPU": 0}, {}, {"CPU": 3}], "auto", Pool(1, 3)),
        ([{"CPU": 16, "GPU": 2}, {"CPU": 8}], "auto", Pool(2, 4, 1)),
        ([{"CPU": 16, "GPU": 2}], "cuda", Pool(2, 4, 1)),
        ([{"CPU": 2, "GPU": 4}], "auto", Pool(2, 1, 1)),
        ([{"CPU": 16, "GPU": 2}], "cpu", Pool(4, 4)),
    ],
)
def test_a_pool_never_asks_for_more_than_there_is(machines, device, pool):
    found = Pool.on(machines, device)
    assert found == pool
    assert found.actors * found.cpus <= sum(machine.get("CPU", 0) for machine in machines)
    assert found.actors * found.gpus <= sum(machine.get("GPU", 0) for machine in machines)


def test_a_pool_of_single_threads():
    assert Pool.on([{"CPU": 3}, {"CPU": 0.5}, {"CPU": 4}], "auto", threads=1) == Pool(7, 1)
    assert Pool.on([{"CPU": 3}, {"CPU": 16, "GPU": 2}], "auto", threads=1) == Pool(2, 1, 1)


def test_a_cluster_without_room_for_an_actor_is_a_sentence():
    with pytest.raises(UsageError, match="wait for ever"):
        Pool.on([{"CPU": 0.5}, {}], "auto")
    with pytest.raises(UsageError, match="no machine of the Ray cluster has a GPU"):
        Pool.on([{"CPU": 8}], "cuda")


def test_ctrl_c_while_ray_ends_is_ignored():
    before = signal.getsignal(signal.SIGINT)
    with cluster._no_interrupt():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("begun", [False, True])
def test_what_waits_for_processors_says_so_and_what_has_begun_does_not(begun, monkeypatch):
    class Cluster:
        """The little of Ray that is asked."""

        def __init__(self):
            self.asked = threading.Event()
            self.begun = self
            self.available_resources, self.cluster_resources = (lambda: {"CPU": 0.0}), (lambda: {"CPU": 2.0})

        def remote(self):
            return begun

        def get(self, value):
            if value:
                self.asked.set()
            return value

    monkeypatch.setattr(cluster, "PATIENCE", 0.0)
    made, notes = Cluster(), []

    def progress(stage, done, total, /, note):
        notes.append((stage, note))
        made.asked.set()

    with cluster.watched(made, Pool(2, 1), made, "cells", progress):
        assert made.asked.wait(10)
    expected = ("cells", "nothing has begun yet: it needs 1 of the cluster's 2 processors, and 0 are free")
    assert [(stage, note.partition(";")[0]) for stage, note in notes] == ([] if begun else [expected])


def test_where_ray_is_not_installed_what_to_type_is_said(monkeypatch, faces, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs Ray Data") as failure:
        check([str(faces[0])], PredictOptions(out=tmp_path / "p.csv", engine="ray"))
    assert "fer-cli[ray]" in failure.value.hint


def test_ray_needs_a_file_and_sources_that_can_be_listed(monkeypatch, faces, tmp_path):
    monkeypatch.setattr(extras, "is_installed", lambda module: True)
    with pytest.raises(UsageError, match="--out FILE"):
        check([str(faces[0])], PredictOptions(engine="ray"))
    with pytest.raises(UsageError, match="can be listed"):
        check(["-"], PredictOptions(out=tmp_path / "p.csv", engine="ray"))


def test_an_address_is_for_ray():
    with pytest.raises(UsageError, match="--engine is local"):
        PredictOptions(ray_address="host:6379")


def test_torchrun_is_told_of_ray(monkeypatch, faces, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun has started 2 processes") as failure:
        check([str(faces[0])], PredictOptions(out=tmp_path / "p.csv"))
    assert "--engine ray" in failure.value.hint


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """A cluster of this machine with one processor, which the only actor takes."""
    ray = pytest.importorskip("ray", reason="Ray Data is not installed (fer-cli[ray])")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=1, object_store_memory=OBJECT_STORE, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with 30 pictures and a file that is none."""
    monkeypatch.chdir(tmp_path)
    made_pictures(tmp_path / "faces", 30)
    (tmp_path / "faces" / "015.png").write_bytes(b"no picture")
    return tmp_path


def predicted(out: str, classifier, finder, engine: str = "ray", people=None, **settings) -> tuple[bytes, bytes]:
    """The bytes of the rows and of what was skipped."""
    options = check(["faces"], PredictOptions(out=Path(out), engine=engine, **CROPS, **settings))
    summary = run(["faces"], options, classifier, finder=finder, people=people)
    assert (summary.used, summary.frames, summary.faults) == (29, 30, 1)
    return options.out.read_bytes(), options.errors.read_bytes()


def test_the_rows_are_those_of_the_plain_engine_and_what_was_stored_is_not_done_again(ray, here, paired, monkeypatch):
    mean = FixedNeutral(Neutral("mean", embedding=np.linspace(-1, 1, 576, dtype=np.float32)))
    plain = predicted("plain.csv", paired, mean, engine="local")
    assert b",mean," in plain[0]
    stored = Checkpoint.store_block

    def stop_after_one(checkpoint: Checkpoint, start: int, stop: int, lines: bytes) -> None:
        if list(checkpoint.folder.glob("part-*")):
            raise KeyboardInterrupt
        stored(checkpoint, start, stop, lines)

    monkeypatch.setattr(Checkpoint, "store_block", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        predicted("ray.csv", paired, mean)
    [part] = Path(".ray.csv.unfinished").glob("part-*")
    again = []

    def noted(checkpoint: Checkpoint, start: int, stop: int, lines: bytes) -> None:
        again.append((start, stop))
        stored(checkpoint, start, stop, lines)

    monkeypatch.setattr(Checkpoint, "store_block", noted)
    rows, skipped = predicted("ray.csv", paired, mean, resume=True, crops=Path("crops"))
    done = [tuple(map(int, part.stem.split("-")[1:]))]
    assert sorted(again + done) == [(0, 8), (8, 16), (16, 24), (24, 30)]
    assert (rows, skipped) == plain
    # An actor writes them, with the names that the plain engine gives them.
    assert {path.name[:6] for path in Path("crops").iterdir()} == {
        f"{index:06d}" for start, stop in again for index in range(start, stop) if index != 15
    }
    assert not Path(".ray.csv.unfinished").exists()


def test_people_of_a_store_and_thumbnails_are_those_of_the_plain_engine(ray, here):
    model = open_model(write_run(here / "run", features="both").path, device="cpu", runtime="torch")
    one = NeutralOptions(people=Path("people"), identity_threshold=2)
    people = people_finder(one, model)
    run(["faces/00?.png"], PredictOptions(**CROPS), model.classifier, finder=people, people=people)
    store = Path("people/people.sqlite").read_bytes()
    found = {}
    for engine in ("local", "ray"):
        known = known_people(replace(one, identity_threshold=NEAR), model)
        page = Path(f"{engine}.html")
        rows = predicted(f"{engine}.csv", model.classifier, known, engine, people=known, report=page)
        found[engine] = *rows, page.read_text()
    assert found["ray"] == found["local"]
    assert found["ray"][2].count("data:image/jpeg") >= 29
    rows = list(csv.DictReader(found["ray"][0].decode().splitlines()))
    assert {row["person"] for row in rows} == {"", "person-1"}
    assert {row["neutral"].partition(" ")[0] for row in rows} == {"mean", "people:person-1"}
    assert Path("people/people.sqlite").read_bytes() == store


def blocks_of(count: int) -> list[Block]:
    return [Block(index, index + 1, f'["{index}.png", null, null, 0]\n'.encode()) for index in range(count)]


def test_what_kills_actors_is_named_and_so_is_what_to_type(ray, monkeypatch):
    # A process takes seconds to begin, so that one has to be enough.
    monkeypatch.setattr(cluster, "ATTEMPTS", 1)

    def predict(inputs, *_):
        for index, given in inputs:
            if index == 2:
                # What the system does to a process that takes too much memory.
                os.kill(os.getpid(), 9)
            yield FrameResult(Frame(index, given.path))

    job = make_job(predict, made_classifier(), None, [], PredictOptions(**CROPS), "cpu")
    with pytest.raises(FerError, match=r"1 actor died.*on 2\.png to 2\.png.*memory") as failure:
        list(predict_blocks(job, lambda actors: blocks_of(3), None))
    assert "--resume" in failure.value.hint


def test_processors_that_others_hold_are_waited_for_with_a_note_and_what_an_actor_raises_is_raised(ray, monkeypatch):
    import ray as module

    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    holder = module.remote(num_cpus=1)(type("Holder", (), {"ready": lambda self: None})).remote()
    module.get(holder.ready.remote())
    notes = []

    def progress(*_, note="", **__):
        notes.append(note)
        if "nothing has begun" in note:
            module.kill(holder)

    def predict(inputs, *_):
        raise UsageError("No such neutral picture.", hint="Type another.")
        yield

    job = make_job(predict, made_classifier(), None, [], PredictOptions(**CROPS), "cpu")
    with pytest.raises(UsageError, match="No such neutral picture") as failure:
        list(predict_blocks(job, lambda actors: blocks_of(1), None, progress))
    assert failure.value.hint == "Type another."
    assert "Ray: 1 actor of 1 thread on 1 machine" in notes[0]
    assert "needs 1 of the cluster's 1 processors, and 0 are free" in notes[1]


def test_no_cluster_at_an_address_is_a_sentence(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray Data is not installed (fer-cli[ray])")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(address, **_):
        raise ConnectionError(f"nobody answers at {address}")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(FerError, match="no Ray cluster at nowhere:6379") as failure, connected("nowhere:6379"):
        pass
    assert "--ray-address" in failure.value.hint
    monkeypatch.setenv("RAY_ADDRESS", "away:6379")
    with pytest.raises(FerError, match="no Ray cluster at away:6379") as failure, connected(None):
        pass
    assert "Set RAY_ADDRESS" in failure.value.hint
