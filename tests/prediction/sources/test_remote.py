import csv
import http.server
import os
import pickle
import sys
import threading
import zipfile
from pathlib import Path

import fsspec
import pytest
from huggingface_hub import HfFileSystem

from fer_cli.errors import PictureError
from fer_cli.faces.video import Every
from fer_cli.prediction import run as running
from fer_cli.prediction.listing import Address, to_path
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.run import check, run
from fer_cli.prediction.sources import Reading, list_inputs, open_sources, read_frames, remote
from tests.hub import Repository, running_hub
from tests.prediction.made import made_pictures
from tests.prediction.sources.test_shards import make_parquet, make_tar, structures
from tests.videos import make_video, shades


@pytest.fixture
def pictures(tmp_path) -> list[bytes]:
    return [path.read_bytes() for path in made_pictures(tmp_path / "made", 5)]


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves ``files``; some refuse, some end midway, and places are read only where ``ranges``."""

    files: dict[str, bytes]
    ranges = True

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        name = self.path.partition("?")[0]
        if name.startswith(("/refused", "/broken")):
            self.send_error(403 if name.startswith("/refused") else 500)
            return
        if name not in self.files:
            self.send_error(404)
            return
        content, start = self.files[name], 0
        if self.ranges and (asked := self.headers.get("Range")):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            content = content[start : end + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if "cut" in name else content)
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def web(pictures):
    """A server on this machine, by its address, and its files."""
    pytest.importorskip("aiohttp")
    handler = type("Here", (Server,), {"files": {f"/{number}.png": each for number, each in enumerate(pictures)}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in for the Hub, with nothing remembered of another."""
    HfFileSystem.clear_instance_cache()
    with running_hub(monkeypatch, tmp_path / "hub-cache") as hub:
        yield hub
    HfFileSystem.clear_instance_cache()


def inputs(*names, **settings):
    return list(list_inputs(open_sources(names, Reading(**settings))))


def frames(*names, **settings):
    sources = open_sources(names, Reading(**settings))
    return list(read_frames(sources, enumerate(list_inputs(sources))))


def done(classifier, *names, finder=None, **settings):
    names = list(map(str, names))
    return run(names, check(names, PredictOptions(**settings)), classifier, finder=finder)


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


@pytest.mark.parametrize(
    ("address", "stem", "suffix"),
    [
        ("s3://bucket/a//b/clip.mp4", "clip", ".mp4"),
        ("https://host/clip.mp4?signature=a.b#c", "clip", ".mp4"),
        ("zip://in/clip.mp4::s3://bucket/album.zip", "clip", ".mp4"),
        ("simplecache::s3://bucket/clip.mp4", "clip", ".mp4"),
        ("https://host/shard.tar?signature=5/clip.mp4", "clip", ".mp4"),
    ],
)
def test_an_address_is_its_text_and_has_the_parts_of_a_path(address, stem, suffix):
    path = to_path(address)
    assert isinstance(path, Address)
    assert (str(path), os.fspath(path), path.stem, path.suffix) == (address, address, stem, suffix)
    again = pickle.loads(pickle.dumps(path))  # noqa: S301
    assert (str(again), again) == (address, path)
    assert "bucket" in str(path.parent) or "host" in str(path.parent)


def test_a_file_s_address_is_its_path():
    assert to_path("file:///x/a.jpg") == Path("/x/a.jpg")
    assert not isinstance(to_path("file:///x/a.jpg"), Address)
    assert not isinstance(to_path("a:b/c.jpg"), Address)


def test_a_folder_at_an_address_gives_its_files_at_every_depth_by_name(memory, pictures):
    for name in ("b.png", "a.png", "deep/er/c.png", ".hidden/d.png", "notes.txt", "clip.mp4"):
        memory.pipe(f"/album/{name}", pictures[0])
    assert [str(each.path) for each in inputs("memory://album")] == [
        *("memory://album/a.png", "memory://album/b.png", "memory://album/clip.mp4", "memory://album/deep/er/c.png")
    ]
    assert [str(each.path) for each in inputs("memory://album/**/*.png")] == [
        *("memory://album/.hidden/d.png", "memory://album/a.png", "memory://album/b.png"),
        "memory://album/deep/er/c.png",
    ]
    assert [frame.data for frame in frames("memory://album/a.png")] == pictures[:1]


def test_folders_are_listed_when_they_are_reached(memory, pictures, monkeypatch):
    for number in range(3):
        memory.pipe(f"/album/{number}/a.png", pictures[number])
    listed = []
    ls = type(memory).ls
    monkeypatch.setattr(type(memory), "ls", lambda self, path, **rest: listed.append(path) or ls(self, path, **rest))
    found = list_inputs(open_sources(["memory://album"]))
    assert str(next(found).path) == "memory://album/0/a.png"
    assert "/album/2" not in listed
    list(found)
    assert "/album/2" in listed


def test_what_is_not_at_an_address_is_said(memory, pictures):
    memory.pipe("/album/a.txt", b"no picture")
    with pytest.raises(PictureError, match="There is no file or folder memory://nowhere"):
        inputs("memory://nowhere")
    assert "nothing matches" in inputs("memory://album/*.png")[0].problem
    (empty,) = inputs("memory://album")
    assert (str(empty.path), empty.problem) == ("memory://album", "a folder without a picture or video")
    with pytest.raises(PictureError, match="knows no nothing://"):
        open_sources(["nothing://a"])


@pytest.mark.parametrize(("name", "package"), [("s3://b/a.png", "s3fs"), ("gs://b/a.png", "gcsfs")])
def test_a_missing_package_is_named_with_what_to_type(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, name.partition(":")[0], raising=False)
    with pytest.raises(PictureError, match=package) as raised:
        open_sources([name])
    assert raised.value.hint == "Type: pip install 'fer-cli[cloud]'"


class NoCredentialsError(Exception):
    """Named as botocore's."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError("Access Denied"), "access is refused"),
        (NoCredentialsError("Unable to locate credentials"), "no credentials for it are set"),
        (OSError("odd\nthing"), "fsspec says: odd thing"),
        (OSError("Forbidden: b/bucket/o"), "access is refused"),
        (TimeoutError(), "no answer in 60 seconds"),
    ],
)
def test_a_bucket_that_refuses_is_a_sentence(alone, memory, pictures, monkeypatch, tmp_path, error, reason):
    def refuse(*_, **__):
        raise error

    memory.pipe("/album/a.png", pictures[0])
    monkeypatch.setattr(type(memory), "info", refuse)
    with pytest.raises(PictureError, match=f"memory://album cannot be read: {reason}"):
        done(alone, "memory://album", out=tmp_path / "p.csv")
    # Nothing stands in the way of the line, corrected.
    assert not [path for path in tmp_path.iterdir() if path.name != "made"]


def test_a_folder_that_refuses_costs_its_own_files_alone(memory, pictures, monkeypatch):
    memory.pipe("/album/a/1.png", pictures[0])
    memory.pipe("/album/b/2.png", pictures[0])
    ls = type(memory).ls

    def listed(self, path, **rest):
        if path.endswith("/a"):
            raise PermissionError("Access Denied")
        return ls(self, path, **rest)

    monkeypatch.setattr(type(memory), "ls", listed)
    found = {str(each.path): each.problem for each in inputs("memory://album")}
    assert found == {
        "memory://album/a": "a folder that cannot be read: access is refused",
        "memory://album/b/2.png": None,
    }


def test_shards_and_zips_at_addresses_are_read(memory, pictures, tmp_path):
    tar = make_tar(tmp_path / "a.tar", {f"{number}.png": pictures[number] for number in range(3)})
    table = make_parquet(tmp_path / "a.parquet", {"image": structures(pictures)})
    memory.pipe("/set/a.tar", tar.read_bytes())
    memory.pipe("/set/b.parquet", table.read_bytes())
    found = frames("memory://set")
    assert [frame.data for frame in found] == [*pictures[:3], *pictures]
    assert [str(frame.path) for frame in found[2:4]] == ["memory://set/a.tar/2.png", "memory://set/b.parquet:0"]
    assert [frame.data for frame in frames("memory://set/{a,c}.tar".replace("c", "a"))] == pictures[:3] * 2
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        for number in range(3):
            made.writestr(f"in/{number}.png", pictures[number])
    memory.pipe("/a.zip", (tmp_path / "a.zip").read_bytes())
    for rest in (f"{tmp_path}/a.zip", "memory://a.zip"):
        found = frames(f"zip://in/*.png::{rest}")
        assert [frame.data for frame in found] == pictures[:3]
        assert str(found[1].path) == f"zip://in/1.png::{rest}"


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
def test_a_zip_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(PictureError, match="not a regular file"):
        inputs(f"zip://a.png::{tmp_path}/a.zip")


def test_videos_are_read_through_a_copy_of_limited_size(memory, tmp_path, monkeypatch):
    clip = make_video(tmp_path / "clip.mp4", shades(10)).read_bytes()
    memory.pipe("/clip.mp4", clip)
    memory.pipe("/unnamed", clip)
    for name in ("memory://clip.mp4", "memory://unnamed"):
        *found, end = frames(name, every=Every(frames=4))
        assert [frame.number for frame in found] == [0, 4, 8]
        assert (end.end, end.problem) == (True, None)
    monkeypatch.setattr("fer_cli.prediction.sources.base.MAX_VIDEO_BYTES", 1000)
    (lost,) = frames("memory://clip.mp4")
    assert "larger than" in lost.problem


def test_the_size_is_that_of_the_bytes_that_came(memory, pictures, monkeypatch):
    memory.pipe("/a.png", pictures[0])
    monkeypatch.setattr("fer_cli.prediction.sources.base.MAX_BYTES", 1000)
    assert "larger than" in frames("memory://a.png")[0].problem


def test_a_picture_and_a_pattern_of_shards_come_from_a_web_server(web, pictures, tmp_path):
    address, here = web
    here.files["/a.tar"] = make_tar(tmp_path / "a.tar", {"x.png": pictures[3], "y.png": pictures[4]}).read_bytes()
    names = [f"{address}/{number}.png?signature=1.2" for number in range(3)]
    assert [frame.data for frame in frames(*names, f"{address}/a.tar")] == pictures
    here.ranges = False
    assert [frame.data for frame in frames(f"{address}/a.tar")] == pictures[3:]


def test_of_web_addresses_each_that_fails_is_a_row_with_its_reason(web, alone, pictures, tmp_path):
    address, here = web
    here.files["/cut.png"] = pictures[0]
    names = ["0.png", "refused.png", "nowhere.png", "broken.png", "cut.png", "1.png"]
    summary = done(alone, *(f"{address}/{name}" for name in names), out=tmp_path / "p.csv")
    assert (summary.faces, summary.faults) == (2, 4)
    reasons = {row["file"].rpartition("/")[2]: row["reason"] for row in read(tmp_path / "p.errors.csv")}
    assert reasons == {
        "refused.png": "access is refused (HTTP 403)",
        "nowhere.png": "no such file",
        "broken.png": "the server answers with HTTP 500",
        "cut.png": "the connection ended before the file did",
    }


def test_a_shard_that_is_refused_or_ends_midway_is_a_row_and_the_others_are_read(web, pictures, tmp_path):
    address, here = web
    tar = make_tar(tmp_path / "a.tar", {"x.png": pictures[0], "y.png": pictures[1]}).read_bytes()
    here.files |= {"/a.tar": tar, "/cut.tar": tar, "/cut.parquet": b"PAR1" * 100}
    found = frames(*(f"{address}/{name}" for name in ("refused.tar", "cut.tar", "cut.parquet", "a.tar")))
    assert [frame.data for frame in found if frame.problem is None] == pictures[:2]
    assert [frame.problem is not None for frame in found] == [True] * 3 + [False] * 2
    assert "HTTP 403" in found[0].problem
    assert "the connection ended" in found[1].problem


def test_a_dataset_of_the_hub_is_read_by_folder_pattern_file_and_shard(hub, pictures, tmp_path):
    tar = make_tar(tmp_path / "a.tar", {"x.png": pictures[3], "y.png": pictures[4]}).read_bytes()
    files = {f"train/{number}.png": pictures[number] for number in range(2)}
    files |= {"train/deep/2.png": pictures[2], "shards/a.tar": tar, "README.md": b"faces"}
    hub.repositories["datasets/anna/faces"] = Repository(private=True, commits=[files])
    address = "hf://datasets/anna/faces"
    assert [frame.data for frame in frames(f"{address}/train")] == pictures[:3]
    assert [str(each.path) for each in inputs(f"{address}/train/*.png")] == [
        f"{address}/train/{number}.png" for number in range(2)
    ]
    assert [frame.data for frame in frames(f"{address}/train/1.png", f"{address}/shards/a.tar")] == [
        pictures[1],
        *pictures[3:],
    ]


def test_a_dataset_that_the_hub_does_not_give_is_said(hub, pictures, monkeypatch):
    hub.repositories["datasets/anna/faces"] = Repository(private=True, commits=[{"0.png": pictures[0]}])
    for name in ("anna/nothing", "anna/faces/nothing.png"):
        with pytest.raises(PictureError, match=f"no file or folder hf://datasets/{name}"):
            inputs(f"hf://datasets/{name}")
    monkeypatch.delenv("HF_TOKEN")
    HfFileSystem.clear_instance_cache()
    with pytest.raises(PictureError) as caught:
        inputs("hf://datasets/anna/faces/0.png")
    assert "hf auth login" in (caught.value.hint or "")


@pytest.mark.usefixtures("web")
def test_a_server_that_is_not_there_is_a_row():
    (frame,) = frames("http://127.0.0.1:1/a.png")
    assert frame.problem == "the server cannot be reached"


def test_lists_may_name_addresses_of_the_web_and_of_buckets_alone(web, pictures, tmp_path, memory):
    address, _ = web
    memory.pipe("/a.png", pictures[0])
    lines = [f"{address}/0.png", "memory://a.png", f"zip://a.png::{address}/a.zip", "made/001.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    found = frames(tmp_path / "list.txt")
    assert found[0].data == pictures[0]
    assert [isinstance(frame.path, Address) for frame in found] == [True, False, False, False]
    (tmp_path / "list.csv").write_text(f"subject,path\nanna,{address}/1.png\n")
    (frame,) = frames(tmp_path / "list.csv")
    assert (frame.subject, frame.data) == ("anna", pictures[1])


def test_many_addresses_are_fetched_at_once_and_come_in_order(memory, pictures, monkeypatch):
    for number in range(40):
        memory.pipe(f"/album/{number:02d}.png", pictures[number % 5])
    met, fetch = threading.Barrier(8, timeout=60), remote.fetch

    def together(path, **rest):
        if int(path.stem) < 8:
            met.wait()
        return fetch(path, **rest)

    monkeypatch.setattr("fer_cli.prediction.sources.base.fetch", together)
    found = frames("memory://album")
    assert [frame.path.stem for frame in found] == [f"{number:02d}" for number in range(40)]
    assert [frame.data for frame in found] == [pictures[number % 5] for number in range(40)]


def test_a_prediction_at_an_address_is_resumed(alone, memory, pictures, tmp_path, monkeypatch):
    for number in range(5):
        memory.pipe(f"/album/{number}.png", pictures[number])
    done(alone, "memory://album", out=tmp_path / "whole.csv")
    assert read(tmp_path / "whole.csv")[0]["file"] == "memory://album/0.png"
    count = running._count
    monkeypatch.setattr(running, "_count", lambda *_: lambda result: 1 / (3 - result.frame.index))
    with pytest.raises(ZeroDivisionError):
        done(alone, "memory://album", out=tmp_path / "p.csv")
    monkeypatch.setattr(running, "_count", count)
    done(alone, "memory://album", out=tmp_path / "p.csv", resume=True)
    assert (tmp_path / "p.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_pictures_at_addresses_are_sorted_as_copies_and_drawn(alone, memory, pictures, tmp_path):
    memory.pipe("/al bum/a.png", pictures[0])
    memory.pipe("/al bum/clip.mp4", make_video(tmp_path / "clip.mp4", shades(6)).read_bytes())
    folders = {name: tmp_path / name for name in ("annotate", "crops", "sort_into")}
    done(alone, "memory://al bum", out=tmp_path / "p.csv", every="3", **folders)
    assert sorted(path.name for path in folders["annotate"].iterdir()) == ["000000-a.jpg", "000001-clip.mp4"]
    (copy,) = (path for path in folders["sort_into"].rglob("*") if path.is_file())
    assert (copy.name, copy.read_bytes()) == ("000000-a.png", pictures[0])
