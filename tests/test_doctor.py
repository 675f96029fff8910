"""What is wrong with a machine or an installation is found, and each problem says what to type."""

import hashlib
import json
import os
import shutil
import socket
import stat
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from matplotlib import font_manager
from PIL import features
from safetensors.torch import save_file
from typer.testing import CliRunner

from fer_cli import doctor, pretrained
from fer_cli.cli.app import app
from fer_cli.errors import ModelError
from fer_cli.faces import yunet
from fer_cli.models.weights import ImageNetWeights


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path, no_packaged_model):
    """No waiting, no network, no cache of this machine's; the installation's own packaged model."""
    monkeypatch.setattr(pretrained, "FOLDER", Path(pretrained.__file__).parent / pretrained.NAME)
    monkeypatch.setattr(doctor, "BATCH", 1)
    monkeypatch.setattr(doctor, "REPEATS", 1)
    monkeypatch.setattr(doctor, "busy_cores", lambda: 0.0)
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))


def only(findings, name):
    [found] = [each for each in findings if each.name == name]
    return found


def test_each_problem_and_note_says_what_to_type():
    findings = list(doctor.diagnose(network=False))
    assert {each.topic for each in findings} >= {"versions", "device", "threads", "caches", "weights", "speed"}
    assert all(each.hint for each in findings if each.status != "ok")
    assert all(type(value) is str for each in findings for value in json.loads(json.dumps(each.to_dict())).values())
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
    found = doctor._load(2, busy, 2)
    assert found.status == status
    assert status == "ok" or "OMP_NUM_THREADS=1" in found.hint
    # Who has taken that advice is not given it again.
    assert "OMP_NUM_THREADS" not in doctor._load(2, busy, 1).hint


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


class Silent(BaseHTTPRequestHandler):
    """A server with nothing to give."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    """The address of a server, which the Hub's client asks by no proxy."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()
    with HTTPServer(("127.0.0.1", 0), Silent) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
    close_session()


def test_a_server_that_answers_and_one_that_does_not(monkeypatch, server):
    monkeypatch.setattr(constants, "ENDPOINT", server)
    assert next(doctor.reach()).status == "ok"
    # A port that is free, for nobody listens any more.
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    assert next(doctor.reach()).status == "note"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in next(doctor.reach()).value


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_a_proxy_that_does_not_answer_is_named_without_its_password(monkeypatch, server, variable):
    monkeypatch.setattr(constants, "ENDPOINT", "http://example.org")
    monkeypatch.setenv(variable, "http://anna:secret@127.0.0.1:1")
    found = next(doctor.reach())
    assert found.status == "note"
    assert "by the proxy 127.0.0.1:1" in found.value
    assert "secret" not in found.value
    assert "proxy" in found.hint
    # It is the proxy that is asked, whoever the Hub is.
    monkeypatch.setenv(variable, server)
    close_session()
    assert next(doctor.reach()).status == "ok"


IMAGENET = "mobilenet_v3_small"


@pytest.fixture
def torch_home(monkeypatch, tmp_path) -> Path:
    """Torch's cache, empty; the Hub's is empty too."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "checkpoints"


def test_weights_are_whole_by_the_digest_in_their_name(torch_home, monkeypatch):
    content = b"all of it"
    name = f"{IMAGENET}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(ImageNetWeights, "_url", lambda self: f"https://example.org/{self.name}/{name}")
    (torch_home / name).write_bytes(content)
    assert only(doctor.weights(), IMAGENET).value == f"{torch_home / name}: whole"
    (torch_home / name).write_bytes(content[:-1])
    found = only(doctor.weights(), IMAGENET)
    assert found.status == "problem"
    assert "damaged" in found.value
    assert found.hint == f"Type: rm '{torch_home / name}'; fer weights fetch {IMAGENET}"


@pytest.mark.parametrize("content", [b"", b"no tensors at all", b"version https://git-lfs.github.com/spec/v1\n"])
@pytest.mark.usefixtures("torch_home")
def test_imported_weights_that_are_damaged(tmp_path, content):
    file = tmp_path / "cache" / "vggface2.safetensors"
    file.parent.mkdir()
    file.write_bytes(content)
    found = only(doctor.weights(), "vggface2")
    assert (found.status, bool(found.hint)) == ("problem", True)
    save_file({"weight": torch.zeros(2)}, file)
    assert only(doctor.weights(), "vggface2").status == "ok"


@pytest.mark.usefixtures("torch_home")
def test_a_packaged_model_that_is_damaged_hides_no_other_weights(monkeypatch, tmp_path):
    shutil.copytree(pretrained.FOLDER, tmp_path / "faces")
    (tmp_path / "faces" / "config.json").write_text("{}")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "faces")
    found = list(doctor.weights())
    assert only(found, "faces").status == "problem"
    assert only(found, "faces").hint
    assert only(found, "yunet").status == "ok"


def test_ffmpeg_that_reads_fewer_formats_is_noted(monkeypatch):
    [found] = doctor.video()
    assert found.status == "ok"
    monkeypatch.setattr(av, "codecs_available", {"h264", "vp9", "av1"})
    [found] = doctor.video()
    assert found.status == "note"
    assert "does not read HEVC" in found.value
    assert "writes MPEG-4" in found.value
    monkeypatch.setitem(sys.modules, "av", None)
    [found] = doctor.video()
    assert (found.status, found.hint) == ("ok", "pip install 'fer-cli[video]'")


def test_fonts_that_are_missing(monkeypatch):
    assert {each.status for each in doctor.fonts()} == {"ok"}
    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setattr(font_manager, "findfont", raise_value_error)
    found = list(doctor.fonts())
    assert [each.status for each in found] == ["problem", "problem"]
    assert all("pip install" in each.hint for each in found)


def raise_value_error(*_, **__):
    raise ValueError("Failed to find font")


def test_it_says_where_it_is_installed():
    assert str(Path(doctor.__file__).parent) in only(doctor.versions(), "fer").value
