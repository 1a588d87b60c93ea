"""A Hugging Face Hub on the loopback: repositories, LFS, commits and tags as the real one answers them (xet
off), faults on demand.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_" + "T" * 34


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.safetensors filter=lfs\n"})
    commits: list[str] = field(default_factory=lambda: [hashlib.sha1(b"initial").hexdigest()])
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Hub:
    """What the stub holds and what it was asked. committed: the paths of every commit, in order."""

    url: str = ""
    token: str = TOKEN
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    committed: list[list[str]] = field(default_factory=list)
    faults: list[tuple[str, int | None]] = field(default_factory=list)
    ignores_visibility: bool = False

    def fail_once(self, pattern: str, status: int) -> None:
        """The next request like `POST /path` that matches gets this status and has no effect."""
        self.faults.append((pattern, status))

    def lose_answer_once(self, pattern: str) -> None:
        """The next request that matches has its effect, and the connection closes without an answer."""
        self.faults.append((pattern, None))

    def asked(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path in self.requests)

    def fault(self, request: str) -> tuple[bool, int | None]:
        for number, (pattern, status) in enumerate(self.faults):
            if re.search(pattern, request):
                del self.faults[number]
                return True, status
        return False, None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.dispatch("GET")

    def do_POST(self) -> None:
        self.dispatch("POST")

    def do_PUT(self) -> None:
        self.dispatch("PUT")

    def do_HEAD(self) -> None:
        self.dispatch("HEAD")

    def dispatch(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.hub.requests.append((method, path))
        faulty, status = self.hub.fault(f"{method} {path}")
        if faulty and status is not None:
            return self.answer(status, {"error": "injected"})
        signed = path.startswith("/lfs/")  # the real one's storage is reached by signed links
        if not signed and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.answer(401, {"error": "Invalid username or password."})
        reply = self.route(method, path, body)
        if faulty:
            self.close_connection = True
            return None
        return self.answer(*reply)

    def answer(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def route(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("GET", "/api/whoami-v2"):
            return 200, {"type": "user", "name": "you"}
        if (method, path) == ("POST", "/api/repos/create"):
            return self.create(json.loads(body))
        if (method, path) == ("POST", "/api/validate-yaml"):
            return self.validate(json.loads(body)["content"])
        if method == "PUT" and path.startswith("/lfs/"):
            oid = path.rpartition("/")[2]
            if hashlib.sha256(body).hexdigest() != oid:
                return 400, {"error": "hash"}
            self.hub.blobs[oid] = body
            return 200, {}
        if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/(batch|verify)", path):
            return (200, {}) if match[2] == "verify" else self.batch(json.loads(body))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/refs", path):
            return 200, self.refs(self.hub.repos[match[1]])
        match = re.fullmatch(
            r"/api/models/([^/]+/[^/]+)(?:/(preupload|commit|tag|tree|revision)/([^/]+))?", path
        )
        repo = self.hub.repos.get(match[1]) if match else None
        if repo is None:
            return 404, {"error": "not found"}
        if method == "GET":
            return 200, self.tree(repo) if match[2] == "tree" else self.info(match[1], repo)
        return getattr(self, match[2])(repo, body)

    def create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            return 409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repos[name] = Repo(private and not self.hub.ignores_visibility)
        return 200, {"url": f"{self.hub.url}/{name}", "name": name}

    def validate(self, content: str) -> tuple[int, Any]:
        try:
            metadata = yaml.safe_load(content.split("---\n")[1])
        except (yaml.YAMLError, IndexError) as error:
            return 400, {"errors": [{"message": str(error)}], "warnings": []}
        if not isinstance(metadata, dict):
            return 400, {"errors": [{"message": "metadata is not a mapping"}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def info(self, name: str, repo: Repo) -> dict[str, Any]:
        siblings = [
            {"rfilename": path, "size": len(content), **_lfs(path, content)}
            for path, content in repo.files.items()
        ]
        return {
            "id": name,
            "private": repo.private,
            "sha": repo.commits[-1],
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
        }

    def tree(self, repo: Repo) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path, "size": len(content), "oid": _git_oid(content)}
            for path, content in repo.files.items()
        ]

    def refs(self, repo: Repo) -> dict[str, Any]:
        main = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commits[-1]}]
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
            for name, commit in repo.tags.items()
        ]
        return {"branches": main, "converts": [], "tags": tags}

    def preupload(self, repo: Repo, body: bytes) -> tuple[int, Any]:
        files = []
        for file in json.loads(body)["files"]:
            row = {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            if (there := repo.files.get(file["path"])) is not None:
                row["oid"] = (
                    hashlib.sha256(there).hexdigest() if row["uploadMode"] == "lfs" else _git_oid(there)
                )
            files.append(row)
        return 200, {"files": files}

    def batch(self, asked: dict[str, Any]) -> tuple[int, Any]:
        objects = []
        for wanted in asked["objects"]:
            row: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.blobs:
                verify = f"{self.hub.url}/x/y.git/info/lfs/objects/verify"
                row["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"},
                    "verify": {"href": verify},
                }
            objects.append(row)
        return 200, {"transfer": "basic", "objects": objects}

    def commit(self, repo: Repo, body: bytes) -> tuple[int, Any]:
        lines = [json.loads(line) for line in body.splitlines() if line]
        parent = next(line["value"] for line in lines if line["key"] == "header").get("parentCommit")
        if parent is not None and parent != repo.commits[-1]:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        new = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        new |= {
            line["value"]["path"]: self.hub.blobs[line["value"]["oid"]]
            for line in lines
            if line["key"] == "lfsFile"
        }
        repo.files |= new
        repo.commits.append(hashlib.sha1(body + repo.commits[-1].encode()).hexdigest())
        self.hub.committed.append(sorted(new))
        name = next(name for name, other in self.hub.repos.items() if other is repo)
        return 200, {
            "commitUrl": f"{self.hub.url}/{name}/commit/{repo.commits[-1]}",
            "commitOid": repo.commits[-1],
        }

    def tag(self, repo: Repo, body: bytes) -> tuple[int, Any]:
        name = json.loads(body)["tag"]
        if name in repo.tags:
            return 409, {"error": "Tag reference exists already"}
        repo.tags[name] = self.path.rpartition("/")[2].partition("?")[0]
        return 200, {}


def _lfs(path: str, content: bytes) -> dict[str, Any]:
    if not path.endswith(".safetensors"):
        return {"blobId": _git_oid(content)}
    return {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}}


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub of its own on a free port; its `url` goes into HF_ENDPOINT."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
