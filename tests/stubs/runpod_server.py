"""RunPod's REST v2 on the loopback: refuses unknown fields, bills by the second, and its pods are real
(tests/stubs/pod.py).

The lists of fields are written by hand from the API's documentation of 2026-11.
"""

import contextlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.stubs.pod import LoopbackPod

KEY = "rpa_" + "K" * 30
CREATE = {
    "name",
    "image",
    "gpu",
    "cpu",
    "cloud",
    "disk",
    "mounts",
    "ports",
    "startSsh",
    "startJupyter",
    "env",
    "args",
    "registry",
}
CREATE |= {"dataCenterIds", "globalNetworking", "templateId"}
GPU = {"id", "count", "minCudaVersion", "allowedCudaVersions", "minVcpuCountPerGpu", "minRamPerGpu"}
CATALOG = [
    ("NVIDIA A40", "A40", 48, 0.44),
    ("NVIDIA RTX A6000", "RTX A6000", 48, 0.53),
    ("NVIDIA L40S", "L40S", 48, 0.99),
]
CATALOG += [("NVIDIA L4", "L4", 24, 0.3), ("NVIDIA GeForce RTX 4090", "RTX 4090", 24, 0.2)]


@dataclass
class Fault:
    """What happens to the `after`-th next request that matches `METHOD /path`: a status, drop, lost, hang,
    kill_before, kill_after.

    lost: it has its effect and the connection closes. kill_*: the victim dies before the effect, or after it
    and without an answer.
    """

    pattern: str
    what: int | str
    after: int = 0
    detail: str = "injected"
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


@dataclass
class Pod:
    id: str
    body: dict[str, Any]
    mode: str
    rate: float
    created: float
    machine: LoopbackPod | None = None
    ended: float | None = None
    n_gets: int = 0
    n_lists: int = 0


class RunPodStub:
    """modes: of the next pods, in order: good, no_runtime, no_ssh, error, stranger (another host key),
    deaf (ignores args),
    barred (its own key is refused). unseen, unlisted: how often a new pod is unknown to GET,
    to the list. page: pods per page of the list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pods: dict[str, Pod] = {}
        self.modes: list[str] = []
        self.prices = {gpu: price for gpu, _, _, price in CATALOG}
        self.stock = dict.fromkeys(self.prices, "HIGH")
        self.billed_rate: float | None = None
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.keys: list[str] = ["ssh-ed25519 AAAA mine"]
        self.unseen = self.unlisted = 0
        self.page = 100
        self.most_alive = 0
        self.victim: int | None = None
        self.kill_at: tuple[int, str] | None = None
        self.bills_late = False
        self.guard = threading.RLock()
        self.server: ThreadingHTTPServer | None = None
        self.url = ""

    # what tests ask
    def alive(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.ended is None]

    def bill_usd(self, pod: Pod) -> float:
        return round(((pod.ended or time.time()) - pod.created) / 3600 * pod.rate, 8)

    def billed_usd(self) -> float:
        return sum(map(self.bill_usd, self.pods.values()))

    def asked(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, request)) for request in self.requests)

    # what the API does
    def create(self, body: dict[str, Any]) -> tuple[int, Any]:
        problems = [f"$: additional properties '{name}' not allowed" for name in body if name not in CREATE]
        gpu, mounts = body.get("gpu") or {}, body.get("mounts") or {}
        problems += [f"$.gpu: additional properties '{name}' not allowed" for name in gpu if name not in GPU]
        problems += [
            f"$.mounts: additional properties '{name}' not allowed"
            for name in mounts
            if name not in ("persistent", "network")
        ]
        problems += [f"$: missing '{name}'" for name in ("name", "image", "gpu") if not body.get(name)]
        if not isinstance(body.get("env", {}), dict) or not all(
            isinstance(value, str) for value in body.get("env", {}).values()
        ):
            problems.append("$.env: expected an object of strings")
        if not re.fullmatch(r"\d+\.\d+", str(gpu.get("minCudaVersion", "1.0"))) or not isinstance(
            gpu.get("id"), str
        ):
            problems.append("$.gpu: wrong values")
        if not all(re.fullmatch(r"\d+/(tcp|http|udp)", port) for port in body.get("ports", [])):
            problems.append("$.ports: expected port/protocol")
        persistent = mounts.get("persistent")
        if persistent is not None and (set(persistent) != {"size", "path"} or persistent["size"] < 10):
            problems.append("$.mounts.persistent: size and path are required")
        if problems:
            return 422, {
                "title": "Unprocessable",
                "status": 422,
                "detail": "validation failed",
                "errors": problems,
            }
        if self.stock.get(gpu["id"], "NONE") == "NONE":
            return 400, problem(
                400, "There are no longer any instances available with the requested specifications."
            )
        mode = self.modes.pop(0) if self.modes else "good"
        if (
            persistent is None
            or persistent["size"] + body.get("disk", 0) < 40
            or gpu.get("minCudaVersion") is None
        ):
            mode = "no_runtime"
        if "22/tcp" not in body.get("ports", []):
            mode = "no_ssh"
        rate = self.billed_rate or self.prices[gpu["id"]]
        pod = Pod(f"pod{len(self.pods)}x", body, mode, rate, time.time())
        self.pods[pod.id] = pod
        self.most_alive = max(self.most_alive, len(self.alive()))
        if mode in ("good", "stranger", "deaf", "barred"):
            env = dict(body.get("env", {}))
            if body.get("startSsh"):
                env.setdefault("PUBLIC_KEY", "\n".join(self.keys))
            env |= {"RUNPOD_POD_ID": pod.id, "RUNPOD_API_KEY": f"pod-key-{pod.id}"}
            pod.machine = LoopbackPod(self.folder / pod.id, env, body.get("args", ""), mode)
        return 201, self.shown(pod)

    def shown(self, pod: Pod) -> dict[str, Any]:
        machine, up = pod.machine, pod.machine is not None and pod.machine.is_up()
        status = {
            "error": "ERROR",
            "no_runtime": "RUNNING",
            "no_ssh": "RUNNING",
        }.get(pod.mode)
        status = status or ("RUNNING" if up else "STARTING")
        direct = (
            {"host": "127.0.0.1", "port": machine.port, "username": machine.user, "command": "ssh"}
            if up and machine
            else None
        )
        if pod.mode == "no_ssh":
            direct = {"host": "127.0.0.1", "port": 9, "username": "root", "command": "ssh"}
        return {
            **{
                key: pod.body.get(key)
                for key in ("name", "image", "disk", "mounts", "ports", "env", "cloud", "gpu", "args")
            },
            "id": pod.id,
            "status": status,
            "cost": pod.rate,
            "actions": ["terminate"],
            "createdAt": datetime.fromtimestamp(pod.created, UTC).isoformat(),
            "startedAt": None,
            "cudaVersion": "12.8",
            "dataCenterId": "EU-1",
            "ssh": {"proxy": None, "direct": direct},
            "runtime": {"uptime": 5, "ports": []} if direct else None,
            "registry": None,
            "template": None,
            "locked": False,
            "globalNetworking": {"enabled": False},
            "newField": {"ignore": "me"},
        }

    def end(self, pod: Pod) -> None:
        pod.ended = pod.ended or time.time()
        if pod.machine:
            pod.machine.kill()

    def route(self, method: str, path: str, query: dict[str, str], body: Any, key: str) -> tuple[int, Any]:
        pod_key = re.fullmatch(r"pod-key-(\w+)", key)
        match = re.fullmatch(r"/pods/(\w+)(/action|/logs)?", path)
        if key != KEY and not (
            pod_key and match and match[1] == pod_key[1] and self.pods[match[1]].mode != "barred"
        ):
            return 401, problem(401, "unauthorized")
        if (method, path) == ("GET", "/catalog/gpus"):
            if query.get("include") == "AVAILABILITY" and "product" not in query:
                return 400, problem(400, "product is required with include")
            rows = [
                {"id": i, "name": n, "memory": m, "price": {"secure": self.prices[i], "community": 0.1}}
                for i, n, m, _ in CATALOG
            ]
            return 200, {
                "gpus": [{**row, "availability": self.stock[row["id"]], "dataCenters": []} for row in rows]
            }
        if (method, path) == ("POST", "/pods"):
            return self.create(body)
        if (method, path) == ("GET", "/pods"):
            return 200, self.listed(query)
        if (method, path) == ("GET", "/account/ssh-keys"):
            return 200, {"keys": self.keys}
        if (method, path) == ("GET", "/billing/pods"):
            pods = [
                pod
                for pod in self.pods.values()
                if query.get("podId") in (None, pod.id) and not self.bills_late
            ]
            return 200, {
                "records": [
                    {"podId": pod.id, "totalAmount": self.bill_usd(pod), "gpuAmount": 0} for pod in pods
                ],
                "metadata": {},
            }
        pod = self.pods.get(match[1]) if match else None
        if pod is None or pod.ended is not None:
            return 404, problem(404, "pod not found")
        if method == "DELETE":
            self.end(pod)
            return 204, None
        if method == "POST":
            if set(body) != {"action"} or body["action"] not in ("start", "stop", "restart", "terminate"):
                return 422, problem(422, "validation failed")
            self.end(pod)
            return 200, self.shown(pod)
        pod.n_gets += 1
        if key == KEY and pod.n_gets <= self.unseen:
            return 404, problem(404, "pod not found")
        return 200, self.shown(pod)

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        pods = [pod for pod in self.alive() if pod.n_lists >= self.unlisted]
        for pod in self.alive() if "cursor" not in query else ():
            pod.n_lists += 1
        others = [
            {"id": f"other{n}", "name": f"somebody-else-{n}", "status": "RUNNING", "cost": 1}
            for n in range(3)
        ]
        rows = [*others, *map(self.shown, pods)]
        first = int(query.get("cursor", "0"))
        page = {"pods": rows[first : first + self.page]}
        return {**page, "nextCursor": str(first + self.page)} if first + self.page < len(rows) else page

    def fault(self, request: str) -> Fault | None:
        for number, fault in enumerate(self.faults):
            if re.fullmatch(fault.pattern, request):
                if fault.after:
                    fault.after -= 1
                    return None
                fault.times -= 1
                if not fault.times:
                    del self.faults[number]
                return fault
        if self.kill_at and len(self.requests) - 1 == self.kill_at[0]:
            return Fault(".*", self.kill_at[1])
        return None

    def kill(self) -> None:
        if self.victim:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.victim, signal.SIGKILL)


def problem(status: int, detail: str) -> dict[str, Any]:
    return {"title": "problem", "status": status, "detail": detail}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: RunPodStub

    def log_message(self, *_: Any) -> None:
        pass

    def dispatch(self) -> None:
        stub, url = self.stub, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = url.path.removeprefix("/v2")
        request = f"{self.command} {path}"
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key != KEY:  # a pod's watchdog: not part of the story that tests count
            with stub.guard:
                return self.answer(*stub.route(self.command, path, {}, json.loads(raw or b"null"), key))
        with stub.guard:
            stub.requests.append(request)
            fault = stub.fault(request)
            what = fault.what if fault else None
            if what == "kill_before":
                stub.kill()
            if what == "drop" or what == "kill_before":
                self.close_connection = True
                return None
            if isinstance(what, int) and fault:
                return self.answer(what, problem(what, fault.detail), fault.headers)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            reply = stub.route(self.command, path, query, json.loads(raw or b"null"), key)
            if what == "kill_after":
                stub.kill()
            if what in ("lost", "kill_after"):
                self.close_connection = True
                return None
            if isinstance(what, str) and what.startswith(
                "done_"
            ):  # it has its effect and answers something else
                reply = int(what[5:]), problem(int(what[5:]), "upstream failed")
        return self.answer(*reply)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = dispatch  # noqa: N815

    def answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(content)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def runpod_server(
    folder: Path, configure: Callable[[RunPodStub], None] = lambda stub: None
) -> Iterator[RunPodStub]:
    """A RunPod of its own on a free port; its `url` goes into RUNPOD_API_BASE_URL. Its pods die with it."""
    stub = RunPodStub(folder)
    configure(stub)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"stub": stub}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are killed are part of the tests
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield stub
    finally:
        for pod in stub.alive():
            if pod.machine:
                pod.machine.kill()
        server.shutdown()
        server.server_close()
