"""Hugging Face Jobs on the loopback, beside a Hub with private dataset repositories: refuses unknown fields,
bills whole minutes.

A job is a process in a folder that stands for its container; its volumes are copies of repositories.
"""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.stubs.hub_server import Handler, Hub

CREATE = {
    "dockerImage",
    "spaceId",
    "command",
    "arguments",
    "environment",
    "secrets",
    "flavor",
    "timeoutSeconds",
    "labels",
    "volumes",
}
CREATE |= {"expose", "ssh", "network", "resourceGroupId"}
VOLUME = {"type", "source", "mountPath", "revision", "readOnly", "path"}
FLAVORS = [
    ("cpu-basic", None, "", 0.0002),
    ("l4x1", "L4", "24 GB", 0.0133),
    ("l40sx1", "L40S", "48 GB", 0.03),
    ("l40sx4", "L40S", "192 GB", 0.12),
    ("a100-large", "A100", "80 GB", 0.0417),
]
ENDED = ("COMPLETED", "ERROR", "CANCELED")


@dataclass
class LoopbackJob:
    id: str
    body: dict[str, Any]
    folder: Path
    created: float
    stage: str = "RUNNING"
    process: subprocess.Popen | None = None
    started: float | None = None
    finished: float | None = None
    n_asked: int = 0

    def start(self, environment: dict[str, str]) -> None:
        self.started = time.time()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                self.body["command"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def look(self) -> None:
        """Bring the stage up to date."""
        if self.stage in ENDED or self.process is None:
            return
        code = self.process.poll()
        if code is None and time.time() - (self.started or 0) > self.body["timeoutSeconds"]:
            self.end("ERROR")
        elif code is not None:
            self.finished, self.stage = time.time(), "ERROR" if code else "COMPLETED"

    def end(self, stage: str) -> None:
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.finished, self.stage = time.time(), stage


@dataclass
class JobsHub(Hub):
    """modes: of the next jobs: good, or queued (for ever). unseen: how often GET and list do not know it."""

    folder: Path = Path()
    jobs: dict[str, LoopbackJob] = field(default_factory=dict)
    modes: list[str] = field(default_factory=list)
    unseen: int = 0
    most_alive: int = 0
    victim: int | None = None
    kill_on: tuple[str, str] | None = None  # (pattern of the request, kill_before or kill_after)
    guard: threading.RLock = field(default_factory=threading.RLock)

    def alive(self) -> list[LoopbackJob]:
        for job in self.jobs.values():
            job.look()
        return [job for job in self.jobs.values() if job.stage not in ENDED]

    def bill_usd(self, job: LoopbackJob) -> float:
        price = next(price for name, _, _, price in FLAVORS if name == job.body["flavor"])
        return round(math.ceil(self.running_s(job) / 60) * price, 6)

    def running_s(self, job: LoopbackJob) -> float:
        return int((job.finished or time.time()) - job.started) if job.started else 0

    def billed_usd(self) -> float:
        return sum(map(self.bill_usd, self.jobs.values()))

    def create_job(self, body: dict[str, Any]) -> tuple[int, Any]:
        unknown = [name for name in body if name not in CREATE]
        unknown += [name for volume in body.get("volumes", []) for name in volume if name not in VOLUME]
        if unknown or not body.get("dockerImage") or not isinstance(body.get("command"), list):
            return 400, {"error": f"Unrecognized keys: {unknown}"}
        if body["flavor"] not in [name for name, *_ in FLAVORS]:
            return 400, {"error": "unknown flavor"}
        body.setdefault("timeoutSeconds", 1800)
        job = LoopbackJob(f"job{len(self.jobs)}x", body, self.folder / f"job{len(self.jobs)}x", time.time())
        self.jobs[job.id] = job
        self.most_alive = max(self.most_alive, len(self.alive()))
        if (self.modes.pop(0) if self.modes else "good") == "queued":
            job.stage = "SCHEDULING"
            return 200, self.shown(job)
        for volume in body.get("volumes", []):
            target = Path(f"{job.folder}{volume['mountPath']}")
            target.mkdir(parents=True)
            for name, content in self.repos[volume["source"]].files.items():
                (target / name).write_bytes(content)
        inside = {
            **(body.get("environment") or {}),
            **(body.get("secrets") or {}),
            "REPLIES_ROOT": str(job.folder),
        }
        job.start(
            {
                "PATH": os.environ["PATH"],
                "HF_HUB_DISABLE_XET": "1",
                "HF_HOME": str(job.folder / "hf"),
                **inside,
            }
        )
        return 200, self.shown(job)

    def shown(self, job: LoopbackJob) -> dict[str, Any]:
        job.look()
        body = {
            key: job.body.get(key)
            for key in ("dockerImage", "command", "arguments", "environment", "flavor", "labels", "volumes")
        }
        times = {
            "createdAt": _iso(job.created),
            "startedAt": _iso(job.started),
            "finishedAt": _iso(job.finished),
        }
        durations = {
            "schedulingSecs": 0,
            "runningSecs": self.running_s(job),
            "totalSecs": int(time.time() - job.created),
        }
        owner = {"id": "1", "name": "ann", "type": "user"}
        return {
            **body,
            **times,
            "id": job.id,
            "status": {"stage": job.stage, "message": None},
            "durations": durations,
            "owner": owner,
        }

    def known(self) -> list[LoopbackJob]:
        for job in self.jobs.values():
            job.n_asked += 1
        return [job for job in self.jobs.values() if job.n_asked > self.unseen]


class JobsHandler(Handler):
    hub: JobsHub

    def do_DELETE(self) -> None:  # noqa: N802
        self.dispatch("DELETE")

    def dispatch(self, method: str) -> None:
        pattern, side = self.hub.kill_on or ("(?!)", "")
        if re.search(pattern, f"{method} {self.path.partition('?')[0]}"):
            self.hub.kill_on = None
            if side == "kill_before":
                os.kill(self.hub.victim, signal.SIGKILL)
                self.close_connection = True
                return None
            super().dispatch(method)
            return os.kill(self.hub.victim, signal.SIGKILL)
        return super().dispatch(method)

    def route(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        query = parse_qs(urlsplit(self.path).query)
        if path == "/api/whoami-v2":
            return 200, {"name": "ann", "type": "user", "auth": {}}
        if path == "/api/jobs/hardware":
            return 200, [_hardware(*flavor) for flavor in FLAVORS]
        if (method, path) == ("DELETE", "/api/repos/delete"):
            asked = json.loads(body)
            return (
                (200, {})
                if self.hub.repos.pop(f"{asked['organization']}/{asked['name']}", None)
                else (404, {"error": "not found"})
            )
        if path == "/api/jobs/ann":
            with self.hub.guard:
                return (
                    self.hub.create_job(json.loads(body)) if method == "POST" else (200, self.listed(query))
                )
        if match := re.fullmatch(r"/api/jobs/ann/(\w+)(/cancel)?", path):
            return self.job(match[1], bool(match[2]))
        return super().route(method, path.replace("/api/datasets/", "/api/models/"), body)

    def listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        wanted = dict(label.split("=", 1) for label in query.get("label", []))
        return [
            self.hub.shown(job)
            for job in self.hub.known()
            if wanted.items() <= (job.body.get("labels") or {}).items()
        ]

    def job(self, job_id: str, cancel: bool) -> tuple[int, Any]:
        job = self.hub.jobs.get(job_id)
        if job is None or job not in self.hub.known():
            return 404, {"error": "Job not found"}
        if cancel and job.stage not in ENDED:
            job.end("CANCELED")
        return 200, self.hub.shown(job)

    def answer(self, status: int, value: Any) -> None:
        path = urlsplit(self.path).path
        if match := re.fullmatch(r"/api/jobs/ann/(\w+)/logs", path):
            return self.stream(self.hub.jobs[match[1]])
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            repo = self.hub.repos.get(match[1])
            content = repo.files.get(unquote(match[2])) if repo else None
            return self.file(repo, content)
        return super().answer(status, value)

    def file(self, repo: Any, content: bytes | None) -> None:
        self.send_response(200 if content is not None else 404)
        if repo is not None:
            self.send_header("X-Repo-Commit", repo.commits[-1])
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound" if repo is not None else "RepoNotFound")
        else:
            self.send_header("ETag", f'"{len(content)}-{hash(content)}"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content or b"")

    def stream(self, job: LoopbackJob) -> None:
        """The log as Server-Sent Events, until the job has ended."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        done = 0
        while True:
            job.look()
            is_over = job.stage in ENDED
            lines = (job.folder / "log").read_text().splitlines() if (job.folder / "log").exists() else []
            for line in lines[done:]:
                self.wfile.write(
                    b"data: " + json.dumps({"data": line, "timestamp": _iso(time.time())}).encode() + b"\n\n"
                )
            done = len(lines)
            self.wfile.flush()
            if is_over:
                return
            time.sleep(0.02)


def _hardware(name: str, model: str | None, vram: str, price: float) -> dict[str, Any]:
    quantity = "4" if name.endswith("x4") else "1"
    gpu = (
        {"type": "gpu", "model": model, "quantity": quantity, "vram": vram, "manufacturer": "Nvidia"}
        if model
        else None
    )
    row = {
        "name": name,
        "prettyName": f"Nvidia {model}" if model else "CPU",
        "cpu": "8 vCPU",
        "ram": "62 GB",
        "accelerator": gpu,
    }
    return {
        **row,
        "ephemeralStorage": "380 GB",
        "unitCostMicroUSD": int(price * 1e6),
        "unitCostUSD": price,
        "unitLabel": "minute",
    }


def _iso(moment: float | None) -> str | None:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z") if moment else None


@contextlib.contextmanager
def jobs_server(folder: Path) -> Iterator[JobsHub]:
    """A Hub with Jobs on a free port; its `url` goes into HF_ENDPOINT. Its jobs die with it."""
    hub = JobsHub(folder=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (JobsHandler,), {"hub": hub}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are killed are part of the tests
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        for job in hub.alive():
            job.end("CANCELED")
        server.shutdown()
        server.server_close()
        shutil.rmtree(folder, ignore_errors=True)
