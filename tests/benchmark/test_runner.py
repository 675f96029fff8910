"""The runner does each cell once, side by side, and what becomes of one stops no other."""

import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from fer_cli.benchmark import runner
from fer_cli.benchmark.engines import Attempt, Local, OnRay, attempt, death, devices, failed
from fer_cli.benchmark.runner import Estimate, Plan, Size, compute_cells, duration, make_plan, shared_trainings
from fer_cli.benchmark.specification import Specification, expand
from fer_cli.distributed import cores
from fer_cli.errors import DiskFullError, FerError, UsageError
from fer_cli.files import locked
from fer_cli.pools import Message
from tests.benchmark.work import begun, cell, compute, evaluate
from tests.made import made_dataset

ROOT = Path(__file__).resolve().parents[2]

SIZES = {"acted": Size(1000, 10), "wild": Size(4000, 5), "london": Size(100, 10)}


def planned(*cells, done=()):
    return make_plan(cells, {each.digest: compute_done(each) for each in done}, SIZES)


def compute_done(each, seconds=1.0):
    from fer_cli.benchmark.cells import CellResult

    return CellResult(each, "done", ({"status": "done"},), seconds=seconds)


def results_of(plan, folder, jobs=1, progress=None):
    with Local(["cpu"] * jobs, partial(compute, folder)) as workers:
        arguments = [plan, workers, progress] if progress else [plan, workers]
        return {result.cell.recipe: result for result in compute_cells(*arguments)}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_cell_whose_process_dies_is_a_row_with_the_reason_and_the_others_are_computed(tmp_path):
    names = ["one", "killed", "two", "exits", "diverges", "memory", "fault", "three"]
    found = results_of(planned(*map(cell, names)), tmp_path)
    assert {name: result.status for name, result in found.items()} == {
        **dict.fromkeys(["one", "two", "three"], "done"),
        **dict.fromkeys(["killed", "exits", "diverges", "memory", "fault"], "failed"),
    }
    assert {name: result.reason for name, result in found.items() if result.reason} == {
        "killed": "its process was killed by signal 9 (SIGKILL): out of memory?",
        "exits": "its process ended with code 7",
        "diverges": "The loss is not a finite number.",
        "memory": "out of memory: CUDA out of memory. Tried to allocate 2 GiB.",
        "fault": "ValueError: a fault",
    }
    for result in found.values():
        assert result.rows[0]["status"] == result.status
        assert result.rows[0].get("reason", "") == result.reason
    # A process is taken again for the next cell, but not after it died or after an error that nobody foresaw.
    assert len({line.split()[2] for line in (tmp_path / "begun").read_text().splitlines()}) == 5


def test_workers_have_one_thread_each_and_their_own_device(tmp_path):
    with Local(["cpu", "cpu"], partial(compute, tmp_path)) as workers:
        found = list(compute_cells(planned(cell("one"), cell("two")), workers))
    assert {result.rows[0]["threads"] for result in found} == {"1"}
    assert {result.rows[0]["device"] for result in found} == {"cpu"}
    assert len({result.rows[0]["process"] for result in found} - {os.getpid()}) == 2


class Scripted:
    """An engine whose cells end in the order that is told, and that notes in which they begin."""

    def __init__(self, workers, ends):
        self.workers, self.ends, self.running, self.begun = workers, iter(ends), {}, []

    @property
    def idle(self):
        return [worker for worker in range(self.workers) if worker not in self.running]

    def submit(self, worker, cell):
        self.running[worker] = cell
        self.begun.append((cell, [each for each in self.running.values() if each is not cell]))

    def wait(self):
        worker = next(self.ends)
        cell = self.running.pop(worker)
        result = failed(cell, "made") if cell.recipe == "fails" else compute_done(cell)
        return [Message(worker, "result", Attempt(result))]


def test_cells_that_may_be_at_one_training_are_not_begun_at_once():
    folds = [cell("a", neutral=neutral) for neutral in ("mean", "found", "given")]
    across = cell("a", evaluation="cross-corpus", test="london")
    other = [cell("a", seed=1), cell("b")]
    engine = Scripted(2, [1, 0, 1, 0, 1, 0])
    assert len(list(compute_cells(planned(across, *folds, *other), engine))) == 6
    # All folds of a cross-validation are trained with the first of its cells; the others run side by side after it.
    assert engine.begun == [
        (folds[0], []),
        (other[0], [folds[0]]),
        (other[1], [folds[0]]),
        (folds[1], [other[1]]),
        (folds[2], [folds[1]]),
        (across, []),
    ]


def test_a_training_that_failed_is_not_begun_twice_at_once():
    fails = [cell("fails", neutral=neutral) for neutral in ("mean", "given")]
    engine = Scripted(2, [0, 0])
    list(compute_cells(planned(*fails), engine))
    assert engine.begun == [(fails[0], []), (fails[1], [])]


def test_what_shares_a_training():
    across = [cell("a", evaluation="cross-corpus", test=name) for name in ("wild", "london")]
    tables = [cell("b", evaluation="predictions", train=(), test=name) for name in ("wild", "london")]
    others = [cell("a"), cell("a", seed=1), cell("a", repeat=1), cell("a", train_subjects=5)]
    groups = shared_trainings([*across, *tables, *others])
    assert groups == [across, *([each] for each in tables), *([each] for each in others)]


def test_a_full_disk_stops_everything(tmp_path):
    with pytest.raises(DiskFullError, match="/somewhere"):
        results_of(planned(cell("disk"), cell("one")), tmp_path)
    assert begun(tmp_path) == ["disk"]


def test_what_is_running_done_and_left_is_reported(tmp_path):
    told = []

    def progress(stage, done, total, /, **facts):
        told.append((stage, done, total, facts))

    results_of(planned(cell("reports"), cell("diverges"), cell("old"), done=[cell("old")]), tmp_path, progress=progress)
    cells = [(done, total, facts["running"]) for stage, done, total, facts in told if stage == "cells"]
    assert cells[0] == (1, 3, "1")
    assert cells[-1] == (3, 3, "0")
    assert told[-1][3]["failed"] == "1"
    assert ("process 1", 3, 10, {"title": "reports, within, acted, neutral none: fold 1"}) in told
    assert told[-2][:3] == ("process 1", 0, 0)


def test_a_plan_has_what_is_to_do_the_longest_first():
    cells = [cell("run", settings={"run": "faces"}), cell("tuned", settings={"train": "vit-se"}), cell("old")]
    plan = planned(*cells, done=[cells[2]])
    assert plan.done == {cells[2].digest}
    assert [each.recipe for each in plan.to_do] == ["tuned", "run"]
    assert not plan.measured
    total = plan.seconds(cells[:2])
    assert plan.remaining(1) == pytest.approx(total)
    # Two workers cannot share one cell.
    assert plan.remaining(2) == pytest.approx(max(total / 2, plan.seconds([cells[1]])))
    assert Plan((), frozenset(), {}).remaining(2) == 0


def test_a_guess_grows_with_rows_folds_and_epochs_and_is_less_for_a_frozen_encoder():
    def seconds(each):
        return make_plan([each], {}, SIZES).seconds([each])

    def trained(**settings):
        return cell("a", settings={"train": "difference", **settings})

    frozen = seconds(trained(epochs=10))
    assert frozen == seconds(trained(epochs=40))
    assert frozen < seconds(trained(epochs=10, tune_encoder=True)) < seconds(trained(epochs=40, tune_encoder=True))
    assert seconds(trained(epochs=10, encoder="scratch")) == seconds(trained(epochs=10, tune_encoder=True))
    larger = cell("a", train=("wild",), test="wild", settings={"train": "difference", "tune_encoder": True})
    assert seconds(larger) > seconds(trained(tune_encoder=True))


def test_an_estimate_is_what_cells_like_it_took_and_only_the_first_pays_for_the_training():
    done = [cell("a", neutral=neutral) for neutral in ("mean", "given")]
    results = {done[0].digest: compute_done(done[0], 100.0), done[1].digest: compute_done(done[1], 4.0)}
    other = [cell("a", neutral=neutral, repeat=1) for neutral in ("mean", "given")]
    plan = make_plan([*done, *other], results, SIZES)
    assert [plan.estimates[each.digest] for each in other] == [Estimate(100.0, True), Estimate(4.0, True)]
    assert plan.measured


SPEC = """
title = "Made"
# The squares of one are those of the other.
allow_shared = true
[datasets]
one = "data/one"
two = "data/two"
[[recipes]]
name = "first"
train = "baseline"
features = "target"
[[recipes]]
name = "second"
train = "difference"
encoder = "scratch"
[evaluations.within]
[evaluations.cross-corpus]
"""


@pytest.fixture
def specification(tmp_path, monkeypatch):
    """A specification of eight cells, which are made up."""
    for name, subjects in (("one", 9), ("two", 6)):
        made_dataset(tmp_path / "data" / name, subjects=subjects, corpus=name)
    monkeypatch.setattr(runner, "compute_cell", evaluate)
    return made_specification(tmp_path)


def made_specification(folder, text=SPEC):
    (folder / "spec.toml").write_text(text)
    return Specification.open(folder / "spec.toml")


def files_of(out):
    names = ("results.parquet", "comparisons.parquet", "results.md", "results.tex", "benchmark.html")
    return {name: (out / name).read_bytes() for name in names}


def run(specification, out, **changes):
    return runner.run(specification, out, **{"jobs": 1, "device": "cpu", **changes})


def test_a_benchmark_writes_its_table_comparisons_and_page_and_is_done_once(specification, tmp_path):
    found = run(specification, tmp_path / "out", jobs=2)
    cells = expand(specification)
    assert set(found.table["cell"]) == {each.digest for each in cells}
    assert (found.table["status"] == "done").all()
    files = files_of(tmp_path / "out")
    assert len(begun(tmp_path / "out")) == len(cells)
    run(specification, tmp_path / "out")
    assert files_of(tmp_path / "out") == files
    assert len(begun(tmp_path / "out")) == len(cells)
    assert (tmp_path / "out" / "specification.toml").read_text() == SPEC


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_benchmark_that_was_killed_goes_on_to_the_same_bytes(specification, tmp_path):
    run(specification, tmp_path / "whole")
    out = tmp_path / "killed"
    out.mkdir()
    for name in ("kill", "specification.toml"):
        (out / name).touch()
    script = (
        "import sys; from pathlib import Path; from fer_cli.benchmark import runner;"
        "from fer_cli.benchmark.specification import Specification; from tests.benchmark.work import evaluate;"
        "runner.compute_cell = evaluate;"
        "runner.run(Specification.open(sys.argv[1]), Path(sys.argv[2]), jobs=1, device='cpu')"
    )
    words = [sys.executable, "-c", script, tmp_path / "spec.toml", out]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(begun(out)) == 4
    assert not (out / "results.parquet").exists()
    before = begun(out)
    (out / "kill").unlink()
    run(specification, out)
    assert files_of(out) == files_of(tmp_path / "whole")
    # Only the cell that killed it is done again, if its result was not yet stored.
    again = Counter(begun(out))
    assert set(again.values()) <= {1, 2}
    assert {name for name, count in again.items() if count == 2} <= {before[-1]}
    assert len(again) == len(expand(specification))


def test_ctrl_c_ends_at_once_and_loses_nothing(specification, tmp_path):
    def interrupt(stage, done, total, /, **facts):
        if stage == "cells" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(specification, tmp_path / "out", progress=interrupt)
    plan, results = runner.plan_of(specification, tmp_path / "out")
    assert len(results) == len(plan.done) == 3
    run(specification, tmp_path / "out")
    assert len(set(begun(tmp_path / "out"))) == len(plan.cells)


def test_a_changed_specification_only_adds_and_removes_cells(specification, tmp_path):
    first = run(specification, tmp_path / "out").table
    text = SPEC.replace('[[recipes]]\nname = "first"', '[[recipes]]\nname = "third"', 1)
    second = run(made_specification(tmp_path, text), tmp_path / "out", earlier=first)
    cells = len(expand(specification))
    assert len(begun(tmp_path / "out")) == cells + 4
    assert Counter(second.changes["change"]) == {"same": cells - 4, "new": 4, "lost": 4}


def test_a_failed_cell_is_a_row_and_is_tried_again(specification, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "specification.toml").touch()
    (out / "fail-first").touch()
    table = run(specification, out).table
    failing = table[table["status"] == "failed"]
    assert set(failing["recipe"]) == {"first"}
    assert set(failing["reason"]) == {"made to fail"}
    assert "made to fail" in (out / "benchmark.html").read_text()
    (out / "fail-first").unlink()
    assert (run(specification, out).table["status"] == "done").all()
    counts = Counter(name.split("-")[0] for name in begun(out))
    assert counts["first"] == 2 * len(failing)


def test_a_folder_of_something_else_is_refused_and_so_is_a_second_process(specification, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        run(specification, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    with locked(tmp_path / "other", "benchmarking into"), pytest.raises(FerError, match="Another process"):
        run(specification, tmp_path / "other")


def test_datasets_that_share_pictures_are_refused_or_stamped(specification, tmp_path):
    strict = made_specification(tmp_path, SPEC.replace("allow_shared = true", ""))
    with pytest.raises(UsageError, match="24 of 24 pictures of two are in one too") as failure:
        run(strict, tmp_path / "out")
    assert "--allow-shared" in failure.value.hint
    assert not (tmp_path / "out").exists()
    table = run(strict, tmp_path / "out", allow_shared=True).table
    stamped = table["notes"].str.contains("24 of 24 pictures of two are in one too")
    assert (stamped == (table["evaluation"] == "cross-corpus")).all()
    assert (run(specification, tmp_path / "out").table["notes"] == table["notes"]).all()


def test_a_dataset_that_has_pictures_twice_is_stamped_and_not_refused(specification, tmp_path, monkeypatch):
    from fer_cli.dataset import duplicates

    twice = duplicates.SharedPictures("one", "one", (36, 36), (duplicates.SharedPicture("a", "b", 1.0, True),))
    monkeypatch.setattr(duplicates, "shared_pictures", lambda *_, **__: [twice])
    told = []
    found = run(
        made_specification(tmp_path, SPEC.replace("allow_shared = true", "")),
        tmp_path / "out",
        progress=lambda *_, **facts: told.append(facts.get("note")),
    )
    assert any("one has 1 of its 36 pictures twice" in note for note in told if note)
    stamped = found.table["notes"].str.contains("twice")
    assert (stamped == ((found.table["evaluation"] == "within") & (found.table["test"] == "one"))).all()


def test_datasets_in_folders_of_one_name_are_called_as_the_specification_calls_them(specification, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "data" / name).rename(tmp_path / "data" / f"{name}-parent")
        (tmp_path / "data" / name).mkdir()
        (tmp_path / "data" / f"{name}-parent").rename(tmp_path / "data" / name / "faces")
    text = SPEC.replace("data/one", "data/one/faces").replace("data/two", "data/two/faces")
    table = run(made_specification(tmp_path, text), tmp_path / "out").table
    stamped = table["notes"].str.contains("24 of 24 pictures of two are in one too")
    assert (stamped == (table["evaluation"] == "cross-corpus")).all()


def test_devices_of_workers(monkeypatch):
    import torch

    from fer_cli.models import device

    assert devices("cpu", None) == ["cpu"] * cores()
    assert devices("cpu", 3) == ["cpu"] * 3
    with pytest.raises(UsageError, match="there is none here"):
        devices("xpu", 1)
    gpus = [torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(device, "available_devices", lambda: gpus)
    assert devices("auto", None) == ["cuda:0", "cuda:1"]
    assert devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices("cuda:1", None) == ["cuda:1"]


def test_deaths_in_words():
    assert death(-9).endswith("(SIGKILL): out of memory?")
    assert death(-11) == "its process was killed by signal 11 (SIGSEGV)"
    assert death("The node died.") == "its process died: The node died."


def test_durations():
    assert [duration(seconds) for seconds in (1, 54, 58, 3599, 7260)] == [
        "5 s",
        "55 s",
        "1 min",
        "1 h 0 min",
        "2 h 1 min",
    ]


def test_an_attempt_never_raises(tmp_path):
    found = attempt(partial(compute, tmp_path / "absent"), cell("one"), "cpu")
    assert found.unforeseen
    assert found.result.reason.startswith("FileNotFoundError")
    assert attempt(partial(compute, tmp_path), cell("one"), "cuda:1").result.rows[0]["device"] == "cuda:1"


def test_without_ray_its_extra_is_named_before_anything_is_done(specification, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="--engine ray needs") as failure:
        run(specification, tmp_path / "out", engine="ray")
    assert "fer-cli[ray]" in failure.value.hint
    assert not (tmp_path / "out").exists()


def test_an_engine_is_given_folders_that_do_not_depend_on_where_it_stands(specification, tmp_path, monkeypatch):
    given = []

    def opened(name, jobs, device, work, command, progress):
        given.extend([work.args[0].path, work.args[1]])
        raise FerError("enough")

    monkeypatch.setattr(runner, "opened", opened)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FerError, match="enough"):
        run(Specification.open("spec.toml"), Path("out"))
    assert given == [tmp_path / "spec.toml", tmp_path / "out"]


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """A cluster of this machine, whose processes stand in another folder than the benchmark."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'fer-cli[ray]'")
    from fer_cli.prediction.cluster import connected

    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    try:
        with connected("local") as ray:
            os.chdir(here)
            yield ray
    finally:
        os.chdir(here)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_cell_of_a_cluster_whose_process_dies_is_a_row_with_the_reason(ray, tmp_path):
    engine = OnRay(ray, 1, "auto", partial(compute, tmp_path))
    plan = planned(*map(cell, ["one", "killed", "diverges", "two"]))
    found = {result.cell.recipe: result for result in compute_cells(plan, engine)}
    assert {name: result.status for name, result in found.items()} == {
        **dict.fromkeys(["one", "two"], "done"),
        **dict.fromkeys(["killed", "diverges"], "failed"),
    }
    assert found["killed"].reason.startswith("its process died: ")
    assert found["one"].rows[0]["threads"] == "1"


def test_a_benchmark_on_a_cluster_comes_to_the_same_bytes(ray, specification, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ray").mkdir()
    for name in ("fail-first", "specification.toml"):
        (tmp_path / "ray" / name).touch()
    first = run(Specification.open("spec.toml"), Path("ray"), engine="ray")
    assert Counter(first.table["status"]) == {"done": 4, "failed": 4}
    (tmp_path / "ray" / "fail-first").unlink()
    run(Specification.open("spec.toml"), Path("ray"), engine="ray")
    run(specification, tmp_path / "local")
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")
    with pytest.raises(UsageError, match="no machine of the Ray cluster has a GPU"):
        run(specification, tmp_path / "gpu", engine="ray", device="cuda")
