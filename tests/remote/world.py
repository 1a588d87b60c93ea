"""A workspace with a run to rent for, a clock that does not wait, and work that takes a moment instead of a
GPU.
"""

import os
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import httpx

from lib.base.config import load_config
from lib.base.ledger import Ledger
from lib.base.settings import TrainConfig
from lib.remote.orders import order
from lib.remote.reach import Reach
from lib.remote.renting import Order, Renting
from lib.remote.runpod import RunPod
from lib.remote.runpod_api import RunPodApi
from lib.remote.seam import Candidate, Clock, Need, Work
from lib.remote.ssh import CommandError, LostError, Shell
from tests.stubs.runpod_server import KEY
from tests.training_data import write_workspace

ROOT = Path(__file__).parents[2]
PYTHON = shlex.quote(sys.executable)
NEED = Need(
    20,
    60,
    (Candidate("A40", (4, 30)), Candidate("RTX A6000", (4, 30)), Candidate("L40S", (4, 20))),
    "image:1",
)
# Stands for setup, training and replies: the commands are data, so only they are replaced.
QUICK = Work(
    setup=f"mkdir -p .venv/bin && printf '#!/bin/sh\\nexec {PYTHON} \"$@\"\\n' > .venv/bin/python && "
    "chmod +x .venv/bin/python",
    train="mkdir -p adapters/tiny/eval/offline adapters/tiny/checkpoints && echo training && "
    "echo weights > adapters/tiny/adapter.bin "
    "&& cp data/sample/processed/train.jsonl adapters/tiny/seen.jsonl && echo big > "
    "adapters/tiny/checkpoints/x && "
    "echo mine > adapters/tiny/ledger.jsonl && echo '{}' > adapters/tiny/manifest.json && echo trained >> "
    "../../n_trained",
    replies="echo replying && echo reply > adapters/tiny/eval/offline/replies.jsonl",
    pack=".venv/bin/python -m scripts.pack_results --run tiny",
)


@dataclass
class FastClock:
    """Every wait counts in full and lasts a moment: real processes go on meanwhile."""

    moment_s: float = 0.03
    ahead_s: float = 0.0
    waits: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(lambda: time.time() + self.ahead_s, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.ahead_s += seconds
        if seconds:
            time.sleep(self.moment_s)


def write_project(folder: Path) -> Path:
    """A workspace that holds what a machine needs to pack results: lib/ and scripts/ as they are here."""
    write_workspace(folder)
    for name in ("lib", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def order_of(folder: Path, work: Work = QUICK, need: Need = NEED, **remote: float) -> Order:
    config = load_config(folder / "configs/train-tiny.yaml", TrainConfig)
    config = config.model_copy(update={"remote": config.remote.model_copy(update=remote)})
    return order(
        folder, "tiny", config, need, "the job", work, (folder / "adapters/tiny/manifest.json").exists
    )


class OnLoopback(RunPod):
    """The engine against a stub whose pods are folders here. ssh: through their sshd, else bash: faster."""

    def __init__(self, pods: Path, clock: Clock, say, force: bool = False, ssh: bool = False) -> None:
        super().__init__(RunPodApi(clock), clock, say, force)
        self.pods, self.ssh = pods, ssh

    def ready(self, machine, job):
        self.place = replace(self.place, root=str(self.pods / machine.id))
        door = Shell if self.ssh else partial(NoDoor, self.place.root)
        self.reach = Reach(self.api, self.clock, self.say, self.place, door)
        super().ready(machine, job)


class NoDoor(Shell):
    """A shell in the pod's folder that needs no ssh."""

    def __init__(self, root: str, folder: Path, name: str, host: str, port: int, user: str) -> None:
        self.root, self.address = root, (host, port)

    def run(self, command, stdin=None, timeout_s=120):
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError as error:
            raise LostError(str(error)) from error
        state = Path(self.root, "workspace/.watchdog/state.json")
        for _ in range(
            600 if ".watchdog" in command else 0
        ):  # a busy machine may take its time to start a Python
            if state.exists():
                break
            time.sleep(0.05)
        environment = {"PATH": os.environ["PATH"], "STUB_POD": self.root}
        with (stdin or Path(os.devnull)).open("rb") as handle:
            done = subprocess.run(
                ["bash", "-c", command], stdin=handle, env=environment, capture_output=True, timeout=timeout_s
            )
        if done.returncode:
            raise CommandError(done.stderr.decode())
        return done.stdout


class Told(list):
    """A list that tells someone what is appended to it."""

    def __init__(self, tell) -> None:
        super().__init__()
        self.tell = tell

    def append(self, text) -> None:
        super().append(text)
        self.tell(text)


@dataclass
class Desk:
    """What was said and asked."""

    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.said)


def rent(
    folder: Path, stub, desk: Desk, order: Order | None = None, moment_s=0.03, force=False, ssh=False
) -> list[str]:
    fast = FastClock(moment_s)
    engine = OnLoopback(stub.folder, fast.clock(), desk.said.append, force, ssh)
    return Renting(engine, order or order_of(folder), desk.said.append, desk.asked.append, fast.clock()).run()


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder / "adapters/tiny/ledger.jsonl")


def assert_books_equal_the_bill(folder: Path, stub, n_machines: int | None = None) -> None:
    """Nothing runs, nothing ran beside another, and the ledger has every dollar once."""
    assert stub.alive() == []
    assert stub.most_alive <= 1
    if n_machines is not None:
        assert len(stub.pods) == n_machines
    entries = ledger_of(folder).latest().values()
    assert {entry.state for entry in entries} <= {"done", "failed"}
    assert {entry.id for entry in entries if entry.id} == set(stub.pods)
    assert abs(ledger_of(folder).spent_usd("pod") - stub.billed_usd()) < 1e-9


def environment(url: str) -> dict[str, str]:
    return {"RUNPOD_API_BASE_URL": url, "RUNPOD_API_KEY": KEY, "HF_TOKEN": "hf_" + "T" * 34, "YES": "1"}


def api(monkeypatch, answer, fast: FastClock | None = None) -> RunPodApi:
    """The client against a function instead of a server: httpx.Request -> httpx.Response."""
    monkeypatch.setenv("RUNPOD_API_KEY", "key")
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:1/v2")
    client = RunPodApi((fast or FastClock(0)).clock())
    client._client._transport = httpx.MockTransport(answer)
    client._client._mounts = {}
    return client
