"""The pod's own watchdog, against RunPod on the loopback and a clock that does not wait."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lib.remote import watchdog


class EnoughError(Exception):
    """The test has seen what it wants to see."""


class Time:
    """Seconds pass while somebody sleeps; after so many sleeps it is enough."""

    def __init__(self, n_sleeps):
        self.now, self.left, self.sleeps = 1000.0, n_sleeps, []

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds
        self.left -= 1
        if not self.left:
            raise EnoughError


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """(folder of its state, calls, {method: status})."""
    calls, statuses = [], {}

    def call(method, path, body=None):
        calls.append(" ".join([method, path, *(body or {}).values()]))
        return statuses.get(method, 200)

    monkeypatch.setattr(watchdog, "call", call)
    environment = {"REPLIES_ROOT": str(tmp_path), "REPLIES_SECONDS": "50", "RUNPOD_POD_ID": "pod0x"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "workspace/.watchdog", calls, statuses


def watch(monkeypatch, n_sleeps, now=1000.0):
    clock = Time(n_sleeps)
    clock.now = now
    monkeypatch.setattr(watchdog, "time", clock)
    with pytest.raises(EnoughError):
        watchdog.main()
    return clock


def test_it_looks_every_twenty_seconds_and_ends_the_pod_at_the_deadline(pod, monkeypatch):
    folder, calls, _ = pod
    clock = watch(monkeypatch, 4)
    assert clock.sleeps == [20, 20, 10, 20]
    assert calls == ["GET /pods/pod0x"] * 3 + ["DELETE /pods/pod0x"]
    state = json.loads((folder / "state.json").read_text())
    assert state == {"pid": os.getpid(), "at": 1040.0, "deadline": 1050.0, "status": 200}
    assert not (folder / "state.partial").exists()


def test_a_container_that_restarts_gets_no_second_life(pod, monkeypatch):
    _, calls, _ = pod
    watch(monkeypatch, 1)
    clock = watch(monkeypatch, 2, now=1045.0)
    assert clock.sleeps == [5, 20] and calls[-1] == "DELETE /pods/pod0x"


@pytest.mark.parametrize(
    "status, is_enough", [(200, True), (202, True), (204, True), (401, False), (0, False)]
)
def test_a_delete_that_is_refused_becomes_a_stop_and_is_tried_again(pod, monkeypatch, status, is_enough):
    _, calls, statuses = pod
    statuses["DELETE"] = status
    watch(monkeypatch, 5)
    once = ["DELETE /pods/pod0x"]
    once += [] if is_enough else ["POST /pods/pod0x/action terminate", "POST /pods/pod0x/action stop"]
    assert calls[3:] == once * 2


def test_its_calls_bear_the_pods_own_key_and_every_answer_has_a_status(monkeypatch):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(int(self.path[-3:]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("REPLIES_API", f"http://127.0.0.1:{server.server_address[1]}/v2")
    monkeypatch.setenv("RUNPOD_API_KEY", "pod-key")
    statuses = [watchdog.call("POST", f"/x/{status}", {"action": "stop"}) for status in (200, 401, 500)]
    server.shutdown()
    server.server_close()
    assert statuses == [200, 401, 500] and watchdog.call("POST", "/x/200", {"a": "b"}) == 0
    assert seen[0] == ("/v2/x/200", "Bearer pod-key", b'{"action": "stop"}')
