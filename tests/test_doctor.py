"""What is wrong with a machine or an installation is found, and each problem says what to type."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from fer_cli import doctor, pretrained
from fer_cli.cli.app import app
from fer_cli.errors import ModelError
from fer_cli.faces import yunet


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path, no_packaged_model):
    """No waiting, no network, no cache of this machine's; the installation's own packaged model."""
    monkeypatch.setattr(pretrained, "FOLDER", Path(pretrained.__file__).parent / pretrained.NAME)
    monkeypatch.setattr(doctor, "BATCH", 1)
    monkeypatch.setattr(doctor, "REPEATS", 1)
    monkeypatch.setattr(doctor, "_busy_cores", lambda: 0.0)
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))


def only(findings, name):
    [found] = [each for each in findings if each.name == name]
    return found


def test_each_problem_and_note_says_what_to_type():
    findings = list(doctor.diagnose(network=False))
    assert {each.topic for each in findings} >= {"versions", "device", "threads", "caches", "weights", "speed"}
    assert all(each.hint for each in findings if each.status != "ok")
    assert only(findings, "faces").status == "ok"


def test_json_is_an_object_a_line(monkeypatch):
    monkeypatch.setattr(doctor, "diagnose", lambda *_, **__: iter([doctor.Finding("a", "b", "note", "c", "d")]))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"topic": "a", "name": "b", "status": "note", "value": "c", "hint": "d"}


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_the_exit_code_says_whether_there_is_a_problem(monkeypatch, status, code):
    monkeypatch.setattr(doctor, "diagnose", lambda *_, **__: iter([doctor.Finding("a", "b", status, "c", "d")]))
    assert CliRunner().invoke(app, ["doctor"]).exit_code == code


def test_a_part_that_breaks_is_a_problem_and_the_others_follow(monkeypatch):
    def broken():
        raise ModelError("The packaged model is damaged.", hint="Install it again.")
        yield

    monkeypatch.setattr(doctor, "weights", broken)
    findings = list(doctor.diagnose(network=False))
    found = only(findings, "weights")
    assert (found.status, found.value, found.hint) == (
        "problem",
        "The packaged model is damaged.",
        "Install it again.",
    )
    assert only(findings, "processor")


@pytest.mark.parametrize(
    ("cuda", "hip", "nvidia", "status", "words"),
    [
        (None, None, False, "ok", "sees no GPU"),
        ("12.8", None, False, "ok", "sees no GPU"),
        (None, None, True, "problem", "built for processors only"),
        ("12.8", None, True, "problem", "built for CUDA 12.8"),
    ],
)
def test_an_unused_gpu_is_explained(cuda, hip, nvidia, status, words):
    found, why, hint = doctor._why_no_gpu(cuda, hip, nvidia)
    assert found == status
    assert words in why
    assert bool(hint) == (status == "problem")


@pytest.mark.parametrize(("busy", "status"), [(None, "ok"), (0.1, "ok"), (1.0, "note"), (7.5, "note")])
def test_a_busy_machine_is_noted(busy, status):
    found = doctor._load(2, busy)
    assert found.status == status
    assert status == "ok" or "OMP_NUM_THREADS=1" in found.hint


def test_time_that_is_not_idle_is_busy(monkeypatch):
    # user nice system idle iowait irq softirq steal, in hundredths of seconds: of 200 ticks of 2 cores half are busy.
    ticks = iter([(100, 1000), (200, 1200)])
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "_ticks", lambda: next(ticks))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert doctor._busy_cores(0) == 1.0


@pytest.mark.parametrize(
    ("rates", "status", "words"),
    [
        ({1: 150.0, 2: 290.0}, "ok", "150 by 1 thread, 290 by 2 threads"),
        ({1: 150.0, 2: 80.0}, "note", "OMP_NUM_THREADS=1"),
        ({1: 20.0, 2: 38.0}, "note", "slow"),
        ({1: 150.0}, "ok", "150 by 1 thread:"),
    ],
)
def test_the_known_workload_shows_a_slow_machine_and_threads_that_disturb_each_other(rates, status, words):
    found = doctor._speed(rates)
    assert found.status == status
    assert words in f"{found.value} {found.hint}"


def test_caches_that_cannot_be_used(tmp_path):
    file = tmp_path / "file"
    file.touch()
    found = doctor._cache("fer", file / "cache", "FER_CACHE")
    assert (found.status, "not a folder" in found.value, "FER_CACHE" in found.hint) == ("problem", True, True)
    assert doctor._cache("fer", tmp_path / "new" / "cache", "FER_CACHE").status == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_cache_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    found = doctor._cache("fer", tmp_path, "FER_CACHE")
    tmp_path.chmod(stat.S_IRWXU)
    assert (found.status, "cannot be written" in found.value) == ("problem", True)


@pytest.mark.parametrize("broken", ["x.incomplete", "half.onnx", "link"])
def test_what_was_downloaded_in_part_is_found(tmp_path, broken):
    (tmp_path / "whole.onnx").write_bytes(b"1" * 2**20)
    (tmp_path / "empty.txt").touch()
    assert doctor._cache("fer", tmp_path, "FER_CACHE").value.endswith(": 1 MiB")
    if broken == "link":
        (tmp_path / broken).symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / broken).touch()
    found = doctor._cache("fer", tmp_path, "FER_CACHE")
    assert (found.status, broken in found.value, broken in found.hint) == ("problem", True, True)


@pytest.mark.parametrize("content", [b"", b"no network at all"])
def test_a_detector_that_does_not_work(monkeypatch, tmp_path, content):
    (tmp_path / "yunet.onnx").write_bytes(content)
    monkeypatch.setenv(yunet.VARIABLE, str(tmp_path / "yunet.onnx"))
    [found] = doctor.detector()
    assert (found.status, bool(found.hint)) == ("problem", True)
    monkeypatch.setenv(yunet.VARIABLE, str(tmp_path / "nothing.onnx"))
    [found] = doctor.detector()
    assert (found.status, found.hint) == ("problem", f"Type: unset {yunet.VARIABLE}")


def test_a_server_that_answers_and_one_that_does_not(monkeypatch):
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        assert next(doctor.reach()).status == "ok"
    assert next(doctor.reach()).status == "note"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in next(doctor.reach()).value


def test_it_says_where_it_is_installed():
    assert str(Path(doctor.__file__).parent) in only(doctor.versions(), "fer").value
