"""Servers of engines: started on this machine, waited for, and ended when they are no longer needed."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from lib.base.errors import UserError
from lib.export import watcher

READY_S = 1800.0  # a first start may download the base model
END_S = 10.0
POLL_S = 0.2
N_LOG_CHARS = 600


def command_line(command: Sequence[str]) -> str:
    """The command as a shell takes it."""
    return shlex.join(command)


def answers(url: str) -> bool:
    """True if an OpenAI-compatible server is up and has loaded its model."""
    import httpx

    try:
        return httpx.get(f"{url}/models", timeout=5.0).status_code < 300
    except httpx.HTTPError:
        return False


def refuse_taken(url: str) -> None:
    """Raise UserError if something listens there: it would be taken for the server that is started."""
    address = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((address.hostname, address.port)) == 0:
            raise UserError(
                f"Port {address.port} of this machine is in use. End that program, or choose another: "
                "PORT=..."
            )


@contextlib.contextmanager
def running(
    servers: Sequence[Sequence[str]], urls: Sequence[str], folder: Path
) -> Iterator[list[subprocess.Popen]]:
    """Start servers, wait until every url answers, end them when the body is left, however it is left.

    Yields their watchers, which end when they do. Their output: <folder>/server-<n>.log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processes, logs = [], []
    with contextlib.ExitStack() as files:
        try:
            for number, command in enumerate(servers, 1):
                logs.append(_log(folder, number))
                output = files.enter_context(logs[-1].open("wb"))
                processes.append(_watched(command, output))
            _wait(urls, processes, logs)
            yield processes
        finally:
            end(processes)


def _log(folder: Path, number: int) -> Path:
    return folder / f"server-{number}.log"


def _watched(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen:
    """A server in a process group of its own: Ctrl-C reaches who started it, which then ends it."""
    return subprocess.Popen(
        [sys.executable, "-I", watcher.__file__, str(END_S), *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait(urls: Sequence[str], processes: list[subprocess.Popen], logs: list[Path]) -> None:
    deadline = time.monotonic() + READY_S
    waiting = list(urls)
    while waiting := [url for url in waiting if not answers(url)]:
        _refuse_ended(processes, logs)
        if time.monotonic() > deadline:
            raise UserError(
                f"{waiting[0]} did not answer within {READY_S / 60:.0f} minutes: {logs[0]} says why."
            )
        time.sleep(POLL_S)


def _refuse_ended(processes: Sequence[subprocess.Popen], logs: Sequence[Path]) -> None:
    for process, log in zip(processes, logs, strict=True):
        if process.poll() is not None:
            raise UserError(
                f"The server ended by itself (status {process.returncode}), {log} says: {_end_of(log)}"
            )


def until_one_ends(processes: Sequence[subprocess.Popen], folder: Path) -> None:
    """Wait. Raises UserError with what the server said that ended: the others are of no use without it."""
    while all(process.poll() is None for process in processes):
        time.sleep(POLL_S)
    _refuse_ended(processes, [_log(folder, number) for number in range(1, len(processes) + 1)])


def end_with_make() -> None:
    """Have this process end when the make that started it is gone: nobody tells the child of a killed one."""
    if "MAKELEVEL" in os.environ:
        threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def end(processes: Sequence[subprocess.Popen]) -> None:
    """Ask all servers to end, then make them and all that they started."""
    for process in processes:
        process.stdin.close()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S + 1)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # a Mac's word for a group that ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def step(command: Sequence[str]) -> None:
    """Run a command to its end. Raises UserError with what it said if it failed."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-N_LOG_CHARS:]
        raise UserError(f"`{command_line(command)}` failed (status {done.returncode}): {said}")


def _end_of(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    return text[-N_LOG_CHARS:] or "nothing"
