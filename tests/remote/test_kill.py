"""SIGKILL at twenty moments of one job: the same command goes on with the same machine."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.files import lock
from lib.remote.interrupts import signals_end
from tests.remote.world import QUICK, Desk, assert_books_equal_the_bill, order_of, rent
from tests.stubs.runpod_server import Fault

pytestmark = pytest.mark.slow

# Requests of the command to RunPod, counted from its own start, and on which side of their effect it is
# killed.
EARLY = [
    Fault(pattern, what)
    for pattern in ("GET /catalog/gpus", "POST /pods")
    for what in ("kill_before", "kill_after")
]
AT_REQUESTS = [(number, side) for number in range(6) for side in ("kill_before", "kill_after")]
LATE = [(number, side) for number in (6, 7) for side in ("kill_before", "kill_after")]
LATE += [
    Fault(r"DELETE /pods/\w+", "kill_before"),
    Fault(r"DELETE /pods/\w+", "kill_after"),
    Fault("GET /billing/pods", "kill_before"),
]
# Its training waits for the test, so that the early moments are before its end and the late ones after it.
PATIENT = replace(QUICK, train=f"while [ ! -f ../../go ]; do sleep 0.05; done; {QUICK.train}")


class Namesake:
    """What a process of its own knows of the stub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def command(home: str, pods: str, environment: dict[str, str]) -> None:
    os.chdir(home)
    os.environ.update(environment)
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    with lock(Path("adapters/tiny/remote.lock")), signals_end():
        rent(Path(home), Namesake(Path(pods)), Desk(), order_of(Path(home), PATIENT))


def start(home: Path, stub) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "httpx", "lib.remote.runpod", "tests.remote.world", __name__])
    environment = {
        name: os.environ[name] for name in ("RUNPOD_API_BASE_URL", "RUNPOD_API_KEY", "HF_TOKEN", "YES")
    }
    process = context.Process(target=command, args=(str(home), str(stub.folder), environment))
    process.start()
    stub.victim = process.pid
    return process


def run(home: Path, stub) -> int | None:
    process = start(home, stub)
    process.join(timeout=60)
    return process.exitcode


def test_killed_at_twenty_moments_the_same_command_goes_on_with_the_same_machine(project, stub):
    moments = [*EARLY, *AT_REQUESTS, *LATE]
    assert len(moments) >= 20
    for fault in moments:
        if fault is LATE[0]:
            (stub.folder / "pod0x/go").touch()
        is_request = isinstance(fault, tuple)
        stub.faults = [] if is_request else [replace(fault)]
        stub.kill_at = (len(stub.requests) + fault[0], fault[1]) if is_request else None
        assert run(project, stub) == -signal.SIGKILL, (fault, (project / "output.txt").read_text())
        assert len(stub.pods) <= 1, fault
    stub.faults = []
    assert run(project, stub) == 0, (project / "output.txt").read_text()
    assert (stub.folder / "pod0x/n_trained").read_text() == "trained\n"
    assert (project / "adapters/tiny/manifest.json").exists()
    assert_books_equal_the_bill(project, stub, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_command_or_a_closed_terminal_ends_the_machine(project, stub, number):
    process = start(project, stub)
    log, limit = stub.folder / "pod0x/workspace/work.log", time.monotonic() + 60
    while not log.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.join(timeout=60)
    assert process.exitcode == 128 + number, (project / "output.txt").read_text()
    assert_books_equal_the_bill(project, stub, 1)
