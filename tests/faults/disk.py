"""Every call by which a process changes the files below a folder, counted; at one of them something happens.

In a process of its own (`spawned`), since what it puts in place of os.write and its like stays: a fork of a
clean one (tests/faults/zygote.py), for a fork of this one would have its locks without their threads. Kills
and errors come where the kernel would give them: a write is then half done.
"""

import builtins
import errno
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

PATHS = {  # call -> how many of its first arguments are paths
    **dict.fromkeys(("mkdir", "rmdir", "unlink", "remove", "truncate", "utime", "chmod"), 1),
    **dict.fromkeys(("rename", "replace"), 2),
}
CLOCKS = {"ahead": 5 * 3600.0, "back": -400 * 86_400.0}  # from one call on, seconds that the clock is ahead
NEW_BYTES = {"create", "write", "mkdir", "sendfile"}
FAILS = {  # what a disk that is full, read-only, not ours or broken refuses; from one call on, for good
    "full": (errno.ENOSPC, NEW_BYTES),
    "read-only": (errno.EROFS, NEW_BYTES | {"open", "fsync", "ftruncate", *PATHS}),
    "no right": (errno.EACCES, {"create", "open", *PATHS}),
    "broken": (errno.EIO, {"write", "fsync", "sendfile"}),
}
LIMIT_S = 90
ROOT = Path(__file__).parents[2]
NUMBERS = itertools.count()


@dataclass
class Disk:
    """The calls of this process that change what is below root. fault: kill, stop, of FAILS or CLOCKS."""

    root: str
    at: int | None = None  # the number of the call, from 0; None: nothing happens
    fault: str = "kill"
    calls: list[str] = field(default_factory=list)
    n_refused: int = 0
    _paths: dict[int, str] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def install(self) -> None:
        """From now on all of Python's calls go through here; only in a process that ends with its task."""
        for name, n_paths in PATHS.items():
            setattr(os, name, self._of_paths(getattr(os, name), name, n_paths))
        self._write, self._open = os.write, os.open
        for name in ("write", "fsync", "ftruncate", "sendfile"):
            if hasattr(os, name):
                setattr(os, name, self._of_handle(getattr(os, name), name))
        os.open, os.close = self._opened(os.open), self._closed(os.close)
        builtins.open = io.open = self._file(io.open)

    def call(self, name: str, path: Any, half: Callable[[], Any] = lambda: None) -> None:
        """One call comes. half: what of it is done when the process is killed or the disk is full in it."""
        path = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else None
        if path is None or not path.startswith(self.root):
            return
        with self._lock:
            number = len(self.calls)
            self.calls.append(f"{name} {os.path.relpath(path, self.root)}")
            if self.at is None or number < self.at:
                return
            if self.fault in FAILS:
                code, names = FAILS[self.fault]
                if name in names:
                    self.n_refused += 1
                    half()
                    raise OSError(code, os.strerror(code), None if name in ("write", "fsync") else path)
            elif number == self.at and self.fault in CLOCKS:
                move(CLOCKS[self.fault])
            elif number == self.at:
                half()
                os.kill(os.getpid(), signal.SIGSTOP if self.fault == "stop" else signal.SIGKILL)

    def _of_paths(self, real: Callable, name: str, n_paths: int) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not (name == "mkdir" and os.path.lexists(args[0])):
                self.call(name, args[n_paths - 1])
            return real(*args, **kwargs)

        return call

    def _of_handle(self, real: Callable, name: str) -> Callable:
        def call(handle: int, *args: Any) -> Any:
            half = (lambda: real(handle, args[0][: len(args[0]) // 2])) if name == "write" else lambda: None
            path = self._paths.get(handle)
            self.call(name, path, half)
            # No test pulls the plug, and waiting for a real disk would be most of a test's time.
            return None if name == "fsync" and path else real(handle, *args)

        return call

    def _opened(self, real: Callable) -> Callable:
        def call(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.call("create" if flags & os.O_CREAT and not os.path.lexists(path) else "open", path)
            handle = real(path, flags, *args, **kwargs)
            self._paths[handle] = os.path.abspath(os.fsdecode(path))
            return handle

        return call

    def _closed(self, real: Callable) -> Callable:
        def call(handle: int) -> None:
            self._paths.pop(handle, None)
            real(handle)

        return call

    def _file(self, real: Callable) -> Callable:
        """open() whose writes can be seen: C's own go past os.write."""

        def call(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
            path = self._paths.get(file) if isinstance(file, int) else os.path.abspath(os.fsdecode(file))
            if not set(mode) & set("wax+") or path is None or not path.startswith(self.root):
                return real(file, mode, buffering, *args, **kwargs)
            if not isinstance(file, int):
                self.call("open" if os.path.lexists(path) else "create", path)
            raw = _Raw(file, mode.replace("b", "").replace("t", ""))
            raw.disk, raw.path = self, path
            self._paths[raw.fileno()] = path
            buffered = (
                raw if buffering == 0 else (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            )
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, *args, line_buffering=buffering == 1, **kwargs)
            text.mode = mode
            return text

        return call


def move(shift_s: float, zone: str | None = None) -> None:
    """Now is later, in another time zone, for every module that asks."""
    if zone:
        os.environ["TZ"] = zone
        time.tzset()
    real = time.time
    time.time = lambda: real() + shift_s

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(seconds=shift_s)

    for module in list(sys.modules.values()):
        is_ours = getattr(module, "__name__", "").split(".")[0] in ("lib", "scripts", "demo")
        if is_ours and getattr(module, "datetime", None) is datetime:
            module.datetime = Later


class _Raw(io.FileIO):
    disk: Disk
    path: str

    def write(self, content: Any) -> int:
        half = bytes(content)[: len(content) // 2]
        self.disk.call("write", self.path, lambda: super(_Raw, self).write(half))
        return super().write(content)


@dataclass(frozen=True)
class Ended:
    """What became of a process. code: its exit code, -9 if it was killed. n_refused: calls that failed."""

    code: int
    said: str
    calls: list[str]
    n_refused: int


@dataclass
class Process:
    """A process that is under way. log: beginning of the paths of what it says and of its calls."""

    id: int
    log: str
    status: int | None = None

    def stands_still(self) -> bool:
        """Waits until it has ended or, by its fault, stands still."""
        _, status = _asked(wait=(self.id, os.WUNTRACED))
        return os.WIFSTOPPED(status)

    def has_ended(self, within_s: float) -> bool:
        """Waits so long at most."""
        limit = time.monotonic() + within_s
        while self.status is None and time.monotonic() < limit:
            found, status = _asked(wait=(self.id, os.WNOHANG))
            if found:
                self.status = status
            else:
                time.sleep(0.001)
        return self.status is not None


@dataclass(frozen=True)
class Command:
    """A stage's command. environment: what it adds to this process's, None: what it lacks. elsewhere: the
    seconds that its clock is ahead, and its time zone.
    """

    stage: str
    environment: dict[str, str | None]
    elsewhere: tuple[float, str] | None = None


@cache
def _zygote() -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.faults.zygote"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _asked(**order: Any) -> Any:
    zygote = _zygote()
    zygote.stdin.write(json.dumps(order) + "\n")
    zygote.stdin.flush()
    return json.loads(zygote.stdout.readline())


def spawned(folder: Path, command: Command, at: int | None = None, fault: str = "kill") -> Process:
    """A process of its own that does the command in folder, and counts its calls there."""
    log = f"{folder}.{next(NUMBERS)}"
    environment = {**os.environ, **command.environment}
    process = _asked(
        stage=command.stage,
        folder=str(folder),
        log=log,
        environment={name: value for name, value in environment.items() if value is not None},
        at=at,
        fault=fault,
        elsewhere=command.elsewhere,
    )
    return Process(process, log)


def ended(process: Process) -> Ended:
    """What became of it, once it has ended. A process that hangs is killed and fails the test."""
    said, calls = Path(f"{process.log}.said"), Path(f"{process.log}.calls")
    if not process.has_ended(LIMIT_S):
        os.kill(process.id, signal.SIGKILL)
        _asked(wait=(process.id, 0))
        raise AssertionError(f"hangs: {said.read_text()}")
    listed, n_refused = json.loads(calls.read_text()) if calls.exists() else ([], 0)
    return Ended(os.waitstatus_to_exitcode(process.status), said.read_text(), listed, n_refused)


def run_in(folder: Path, command: Command, at: int | None = None, fault: str = "kill") -> Ended:
    """spawned, and ended."""
    return ended(spawned(folder, command, at, fault))
