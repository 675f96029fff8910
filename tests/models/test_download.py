"""Downloads, from a server on this machine that can cut them off."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fer_cli.errors import ModelError
from fer_cli.models.weights import digest, download

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``cut`` bytes of it where set."""

    cut: int | None = None
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: self.server.cut])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


SHA = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_fetched_whole_and_its_progress_told(server, tmp_path):
    told = []
    target = tmp_path / "cache" / "weights.bin"
    download(
        server.url, target, sha256=SHA, progress=lambda stage, done, total, /, **_: told.append((stage, done, total))
    )
    assert target.read_bytes() == CONTENT
    assert told == [("fetching weights.bin", 0, None)]
    assert digest(target) == SHA


def test_a_download_that_was_cut_off_is_refused_and_begun_anew(server, tmp_path):
    target = tmp_path / "weights.bin"
    server.cut = 4096
    with pytest.raises(ModelError):
        download(server.url, target, sha256=SHA)
    assert list(tmp_path.iterdir()) == []
    server.cut = None
    download(server.url, target, sha256=SHA[:8])
    assert target.read_bytes() == CONTENT


def test_another_file_than_expected_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(ModelError, match="checksum differs"):
        download(server.url, tmp_path / "weights.bin", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="cannot be downloaded"):
        download("http://127.0.0.1:9/weights.bin", tmp_path / "weights.bin", sha256=SHA)
