"""Downloads, from a server on this machine that can cut them off."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fer_cli.errors import ModelError
from fer_cli.models import download as downloading
from fer_cli.models.download import digest, download

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``cut`` bytes at a time where set, and in parts only where ``ranges``."""

    cut: int | None = None
    ranges = True
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        part = self.headers.get("Range")
        self.server.asked.append(part)
        begin = int(part.removeprefix("bytes=").rstrip("-")) if part and self.server.ranges else 0
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        rest = CONTENT[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.cut])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


SHA = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_fetched_whole_and_its_progress_told(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "CHUNK", 1024)
    told = []
    target = tmp_path / "cache" / "weights.bin"
    download(
        server.url, target, sha256=SHA, progress=lambda stage, done, total, /, **_: told.append((stage, done, total))
    )
    assert target.read_bytes() == CONTENT
    assert told[0] == ("fetching weights.bin (MB)", 1, 10)
    assert told[-1][1:] == (10, 10)
    assert digest(target) == SHA


def test_a_download_that_was_cut_off_goes_on_from_where_it_was(server, tmp_path):
    target = tmp_path / "weights.bin"
    server.cut = 4096
    with pytest.raises(ModelError) as caught:
        download(server.url, target, sha256=SHA)
    assert "same line again" in caught.value.hint
    assert not target.exists()
    server.cut = None
    download(server.url, target, sha256=SHA[:8])
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=4096-"]


def test_a_server_that_gives_no_parts_is_asked_for_the_whole(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(CONTENT[:100])
    server.ranges = False
    download(server.url, tmp_path / "weights.bin", sha256=SHA)
    assert (tmp_path / "weights.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "weights.bin", sha256=SHA)
    assert (tmp_path / "weights.bin").read_bytes() == CONTENT


def test_another_file_than_expected_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(ModelError, match="checksum differs"):
        download(server.url, tmp_path / "weights.bin", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="cannot be downloaded"):
        download("http://127.0.0.1:9/weights.bin", tmp_path / "weights.bin", sha256=SHA)
