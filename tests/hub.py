"""A stand-in for the Hugging Face Hub on this machine, which speaks what its client speaks.

Repositories, commits by ndjson, large files by the LFS batch API, and downloads by ``resolve`` with the headers
that the client's cache is keyed by. Datasets are repositories whose names begin with ``datasets/``, and are listed by
folder and read in parts. ``faults`` make a request fail: (method, a part of the path, a status or ``cut``).
"""

import base64
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_made"
OWNER = "anna"
#: What the Hub keeps as large files, whatever their size.
LARGE = (".safetensors",)


@dataclass
class Repository:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=list)

    def names(self) -> list[str]:
        return [hashlib.sha1(f"commit {place}".encode()).hexdigest() for place in range(len(self.commits))]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        names = self.names()
        if revision == "main" and names:
            return names[-1], self.commits[-1]
        return (revision, self.commits[names.index(revision)]) if revision in names else None


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[tuple[str, str, int | str]] = []
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """The same under the name of another host, as the real one's storage is: its client sends no token there."""
        return f"http://localhost:{self.server_port}"

    def handle_error(self, *_) -> None:
        pass


def is_large(path: str) -> bool:
    return path.endswith(LARGE)


def oid(path: str, content: bytes) -> str:
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        for fault in self.server.faults:
            method, part, what = fault
            if method == self.command and part in path:
                self.server.faults.remove(fault)
                if what == "cut":
                    self.rfile.read(1)
                    self.connection.close()
                    self.close_connection = True
                    return
                self.body()
                self.answer({"error": "made to fail"}, what)
                return
        parts = path.strip("/").split("/")
        body = self.body()
        if self.headers.get("authorization") not in (None, f"Bearer {TOKEN}"):
            self.answer({"error": "Invalid credentials"}, 401)
        elif parts[:2] == ["api", "validate-yaml"]:
            self.validate(json.loads(body))
        elif parts[:3] == ["api", "repos", "create"]:
            self.create(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self.api("/".join(parts[2:4]), parts[4:], body)
        elif parts[:2] == ["api", "datasets"]:
            self.api("/".join(parts[1:4]), parts[4:], body)
        elif parts[0] == "lfs":
            self.lfs_object(parts[1], body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.batch(json.loads(body))
        elif len(parts) > 4 and parts[2] == "resolve":
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif len(parts) > 5 and parts[0] == "datasets" and parts[3] == "resolve":
            self.resolve("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        else:
            self.answer({"error": "no such address"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, content: object, status: int = 200, **headers: str) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def repository(self, name: str) -> Repository | None:
        """The repository; None, and the Hub's answer, where it is not there or not for whoever asks."""
        found = self.server.repositories.get(name)
        token = self.headers.get("authorization")
        if found is None or (found.private and token is None):
            self.answer({"error": "Repository not found"}, 404 if token else 401, X_Error_Code="RepoNotFound")
            return None
        return found

    def validate(self, sent: dict) -> None:
        try:
            metadata = yaml.safe_load(sent["content"].split("---\n")[1])
            problem = None if isinstance(metadata.get("license"), str) else "license must be a string"
        except (yaml.YAMLError, IndexError, AttributeError) as error:
            problem = str(error)
        self.answer({"errors": [{"message": problem}] if problem else [], "warnings": []}, 400 if problem else 200)

    def create(self, sent: dict) -> None:
        name = f"{sent.get('organization') or OWNER}/{sent['name']}"
        if self.headers.get("authorization") is None:
            self.answer({"error": "Unauthorized"}, 401)
        elif sent.get("organization") not in (None, OWNER):
            self.answer({"error": "You don't have the rights to create a model under the namespace"}, 403)
        elif name in self.server.repositories:
            self.answer({"error": "You already created this model repo", "url": f"{self.server.url}/{name}"}, 409)
        else:
            private = sent.get("visibility") == "private" or sent.get("private") is True
            self.server.repositories[name] = Repository(private, [{".gitattributes": b""}])
            self.answer({"url": f"{self.server.url}/{name}", "name": name})

    def api(self, name: str, rest: list[str], body: bytes) -> None:
        found = self.repository(name)
        if found is None:
            return
        what, revision = [*rest, "main"][:2] if rest else ("revision", "main")
        at = found.at(revision)
        if at is None:
            self.answer({"error": "Revision not found"}, 404, X_Error_Code="RevisionNotFound")
            return
        commit, files = at
        if what == "revision":
            siblings = [{"rfilename": path} for path in files]
            self.answer({"_id": "1", "id": name, "sha": commit, "private": found.private, "siblings": siblings})
        elif what == "tree":
            inside = "".join(f"{part}/" for part in rest[2:])
            self.answer(self.tree(files, inside, recursive="recursive=true" in self.path.lower()))
        elif what in ("preupload", "commit") and not name.startswith(f"{OWNER}/"):
            self.answer({"error": "Forbidden"}, 403)
        elif what == "preupload":
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if is_large(each["path"]) else "regular",
                    "shouldIgnore": False,
                    "oid": oid(each["path"], files[each["path"]]) if each["path"] in files else None,
                }
                for each in json.loads(body)["files"]
            ]
            self.answer({"files": modes})
        else:
            self.commit(found, files, body)

    def entry(self, path: str, content: bytes) -> dict:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        large = {"oid": oid(path, content), "size": len(content), "pointerSize": 134}
        entry = {"type": "file", "path": path, "size": len(content), "oid": blob}
        return {**entry, "lfs": large} if is_large(path) else entry

    def tree(self, files: dict[str, bytes], inside: str, *, recursive: bool) -> list[dict]:
        """What lies in a folder: its files and folders, and with ``recursive`` theirs."""
        names = [name for name in files if name.startswith(inside)]
        folders = {name[: place.start()] for name in names for place in re.finditer("/", name)} - {inside[:-1]}
        entries = [
            {"type": "directory", "path": path, "oid": ""} for path in sorted(folders) if path.startswith(inside)
        ]
        entries += [self.entry(name, files[name]) for name in names]
        return [each for each in entries if recursive or "/" not in each["path"][len(inside) :]]

    def commit(self, found: Repository, files: dict[str, bytes], body: bytes) -> None:
        made = dict(files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                made[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    self.answer({"error": "LFS pointer pointed to a file that does not exist"}, 400)
                    return
                made[value["path"]] = self.server.objects[value["oid"]]
        found.commits.append(made)
        name = found.names()[-1]
        self.answer({"success": True, "commitOid": name, "commitUrl": f"{self.server.url}/{OWNER}/x/commit/{name}"})

    def batch(self, sent: dict) -> None:
        objects = []
        for each in sent["objects"]:
            there = each["oid"] in self.server.objects
            upload = {"upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}}
            objects.append({**each} if there else {**each, "actions": upload})
        self.answer({"transfer": "basic", "objects": objects})

    def lfs_object(self, name: str, body: bytes) -> None:
        if self.command != "PUT":
            self.answer(self.server.objects[name])
        elif hashlib.sha256(body).hexdigest() != name:
            self.answer({"error": "not the content that was announced"}, 400)
        else:
            self.server.objects[name] = body
            self.answer({})

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self.repository(name)
        if found is None:
            return
        at = found.at(revision)
        if at is None:
            self.answer({"error": "Revision not found"}, 404, X_Error_Code="RevisionNotFound")
            return
        commit, files = at
        if path not in files:
            self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        content, etag = files[path], f'"{oid(path, files[path])}"'
        if is_large(path):
            linked = {"X_Linked_Size": str(len(content)), "X_Linked_ETag": etag, "X_Repo_Commit": commit}
            self.answer(b"", 302, Location=f"{self.server.storage}/lfs/{oid(path, content)}", **linked)
        elif asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            start, stop = int(asked[1]), int(asked[2] or len(content)) + 1
            span = f"bytes {start}-{min(stop, len(content)) - 1}/{len(content)}"
            self.answer(content[start:stop], 206, Content_Range=span, ETag=etag, X_Repo_Commit=commit)
        else:
            self.answer(content, ETag=etag, X_Repo_Commit=commit)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def running_hub(monkeypatch, cache):
    """A hub that the client takes for the real one, with ``cache`` as the folder of what it downloads."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(cache),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # The client waits between its attempts.
        monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))
        yield hub
        hub.shutdown()
