"""Servers that are started here: waited for, quoted when they end, and never left behind."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lib.base.errors import UserError
from lib.export import watcher
from lib.export.servers import answers, refuse_taken, running, step, until_one_ends
from tests.engines import environment, free_port


def until(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


SERVER = """
import http.server, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"])
class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Models).serve_forever()
"""
STARTER = """
import json, os, signal, sys, time
from pathlib import Path
from lib.export import servers as ours
ours.END_S = 0.2
servers, urls = json.loads(sys.argv[1])
with ours.running(servers, urls, Path("logs")) as watchers:
    print(json.dumps([process.pid for process in watchers]), flush=True)
    time.sleep(600)
"""


def group_is_gone(leader):
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return False


@pytest.mark.parametrize("manner", ["", "stubborn"])
def test_no_server_outlives_a_kill_9_of_what_started_it(tmp_path, monkeypatch, manner):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port), manner]
    asked = json.dumps([[command], [f"http://127.0.0.1:{port}/v1"]])
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, asked], env=environment(), stdout=subprocess.PIPE, text=True
    )
    (watcher,) = json.loads(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    until(lambda: group_is_gone(watcher))


def test_a_killed_watcher_takes_its_server_along_and_the_starter_is_told(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    with running([[sys.executable, "-c", SERVER, str(port)]], [url], tmp_path) as (watcher,):
        watcher.kill()
        with pytest.raises(UserError, match="ended by itself"):
            until_one_ends([watcher], tmp_path)
    until(lambda: group_is_gone(watcher.pid))


def test_a_process_that_make_started_ends_with_a_make_that_was_killed():
    child = "import time, lib.export.servers as s; s.end_with_make(); print(1); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-u', '-c', {child!r}])"
    make = subprocess.Popen(
        [sys.executable, "-c", parent], env={**environment(), "MAKELEVEL": "1"}, stdout=subprocess.PIPE
    )
    assert make.stdout.readline() == b"1\n"
    make.kill()
    assert make.stdout.read() == b""  # the child holds the other end as long as it lives


def test_a_server_that_ends_by_itself_is_quoted(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    said = r"ended by itself \(status 1\), .*server-1.log says: no such model"
    with pytest.raises(UserError, match=said), running([command], ["http://127.0.0.1:1/v1"], tmp_path):
        pass


@pytest.mark.parametrize("status, is_up", [(200, True), (401, False), (404, False), (503, False)])
def test_a_server_is_up_when_it_lists_its_models(status, is_up):
    class Models(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/v1/models" else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert answers(f"http://127.0.0.1:{server.server_port}/v1") is is_up


def test_a_taken_port_is_refused_by_its_number_and_a_free_one_is_not():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"Port {port} of this machine is in use"):
            refuse_taken(f"http://127.0.0.1:{port}/v1")
    refuse_taken(f"http://127.0.0.1:{port}/v1")


ENDS_AFTER = """
import socket, sys, time
while socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(0.02)
raise SystemExit("second: out of memory")
"""


def test_every_server_is_waited_for_and_the_one_that_ended_is_quoted_with_its_own_log(tmp_path):
    port = free_port()
    urls = [f"http://127.0.0.1:{number}/v1" for number in (port, free_port())]
    up = [sys.executable, "-c", SERVER, str(port)]
    ends = [sys.executable, "-c", ENDS_AFTER, str(port)]
    said = r"status 1\), .*server-2\.log says: second: out of memory"
    with pytest.raises(UserError, match=said), running([up, ends], urls, tmp_path):
        pass
    with running([up, [*up[:-1], str(free_port())]], urls[:1], tmp_path) as (one, other):
        other.kill()
        with pytest.raises(UserError, match=r"status -9\), .*server-2\.log"):
            until_one_ends([one, other], tmp_path)
    assert one.poll() is not None and not answers(urls[0])


def test_a_step_that_fails_is_quoted_with_its_command():
    step([sys.executable, "-c", "pass"])
    with pytest.raises(UserError, match=r"-c .* failed \(status 3\): no such tag"):
        step([sys.executable, "-c", "import sys; print('no such tag', file=sys.stderr); sys.exit(3)"])


@pytest.mark.parametrize(
    "code, status", [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_a_watcher_ends_with_the_status_of_its_server_as_a_shell_says_it(code, status):
    command = [sys.executable, "-I", watcher.__file__, "1", sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert process.wait(60) == status
    process.stdin.close()
