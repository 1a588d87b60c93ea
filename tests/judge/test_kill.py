"""SIGKILL at every step of the real judge command, against an API that counts: no stored answer is asked for
again, no batch made twice.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.console import run
from lib.base.files import read_dicts, read_json, read_jsonl
from lib.base.ledger import Ledger
from lib.base.schema import Judgment
from lib.judge import claude_batches
from scripts import judge
from tests.judge.test_claude import N_ASKED, USD, set_up
from tests.stubs.anthropic_server import AnthropicStub, Fault
from tests.stubs.openai_judge_server import MAKES, OpenAIJudgeStub

pytestmark = pytest.mark.slow

LIVE_KILLS = [
    Fault("models", "kill_before"),
    Fault("count", "kill_after"),
    Fault("create", "kill_before"),  # intent written, nothing computed
    Fault("create", "kill_created", after=10),  # computed and paid for, not answered
    Fault("create", "kill_after", after=12),  # answered, perhaps not stored
    Fault("create", "kill_half", after=16),  # half the answer
]
BATCH_KILLS = [
    Fault("create", "kill_after"),  # the live request that goes before the batch
    Fault("batch_list", "kill_before"),  # before the intent
    Fault("batch_create", "kill_before"),  # intent written, batch not created
    Fault("batch_list", "kill_after"),  # while it looks for a batch that is not there
    Fault("batch_create", "kill_created"),  # created, its id lost
    Fault("batch_list", "kill_before"),  # while it looks for it
    Fault("batch_get", "kill_before"),  # found, not waited for
    Fault("batch_get", "kill_after"),
    Fault("results", "kill_before"),
    Fault("results", "kill_half"),  # some answers stored, the batch not booked
    Fault("results", "kill_half", after=1),  # some more
]


def command(folder: str, url: str, arguments: list[str]) -> None:
    """What the command does, in a process of its own that is forked from one with the imports done."""
    os.chdir(folder)
    os.environ.update(ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY=AnthropicStub.KEY, YES="1")
    os.environ["OPENAI_API_KEY"] = OpenAIJudgeStub.KEY
    os.environ.pop("MAX_USD", None)
    claude_batches.LOOKS_S, claude_batches.FIRST_POLL_S = (0.01,), 0.01
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["judge", *arguments]
    run(judge.main)


class World:
    """A folder, its API, and what must stay true whenever the command has been killed."""

    def __init__(self, folder: Path, stub: AnthropicStub, **config: object) -> None:
        self.folder, self.stub = folder, stub
        self.arguments, self.where = set_up(folder, **config)
        self.stored: dict[
            str, int
        ] = {}  # question -> how often it had been computed when its answer was first seen on disk

    def start(self) -> multiprocessing.process.BaseProcess:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            [
                "pytest",
                "anthropic",
                "httpx2",
                "lib.judge.claude",
                "httpx",
                "lib.judge.openai",
                "sklearn.linear_model",
                "scipy.stats",
                __name__,
            ]
        )
        process = context.Process(target=command, args=(str(self.folder), self.stub.url, self.arguments))
        process.start()
        return process

    def end(self, process: multiprocessing.process.BaseProcess) -> int | None:
        process.join(timeout=60)
        path = self.folder / "output.txt"
        output = path.read_text() if path.exists() else ""
        assert "Traceback" not in output, output
        self.check()
        return process.exitcode

    def killed_by(self, fault: Fault) -> int | None:
        self.stub.faults = [replace(fault)]  # a fault is used up
        process = self.start()
        self.stub.victim = process.pid
        return self.end(process)

    def killed_when(self, condition: Callable[[], bool]) -> int | None:
        process = self.start()
        deadline = time.monotonic() + 60
        while not condition() and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.0005)
        process.kill()
        return self.end(process)

    def finish(self) -> None:
        self.stub.faults = []
        assert self.end(self.start()) == 0, (self.folder / "output.txt").read_text()

    def n_lines(self, name: str, word: str = "") -> int:
        path = self.where / name
        return sum(word in line for line in path.read_text().splitlines()) if path.exists() else 0

    def answers(self) -> list[dict]:
        path = self.where / "work" / "answers.jsonl"
        return read_dicts(path, torn_tail=True) if path.exists() else []

    def check(self) -> None:
        for row in self.answers():
            question = self.stub.messages[json.loads(row["raw"])["id"]]
            self.stored.setdefault(question, self.stub.seen[question])
        asked_again = {question for question, n in self.stored.items() if self.stub.seen[question] > n}
        assert not asked_again and max(self.stub.seen.values(), default=0) <= 2

    def check_result(self) -> None:
        """Every answer that was not lost twice, and an account that is exact where it can be and never too
        low.
        """
        given_up = read_dicts(self.where / "judgments.failed.jsonl")
        assert {row["reason"] for row in given_up} <= {"answer_lost"}
        assert len(self.answers()) == len({row["key"] for row in self.answers()}) == N_ASKED - len(given_up)
        manifest = read_json(self.where / "judgments.manifest.json")
        account, ledger = manifest["account"], Ledger(self.where / "ledger.jsonl")
        assert (
            manifest["n_open"] == 0
            and manifest["n_failed"] == len(given_up)
            and account["answers"] == len(self.answers())
        )
        assert {entry.state for entry in ledger.latest().values()} <= {"done", "failed"}
        assert account["usd"] == pytest.approx(ledger.spent_usd("judge"))
        booked = sum(row["usd"] for row in self.answers())
        assert account["usd"] - account["possibly_paid_usd"] == pytest.approx(booked)
        assert booked == pytest.approx(sum(USD / 2 if row["batch"] else USD for row in self.answers()))
        assert self.stub.billed_usd() <= account["usd"] + 1e-9

    def rerun_costs_nothing(self) -> None:
        before = self.stub.n_requests()
        self.finish()
        assert self.stub.n_requests() == before


def test_killed_at_every_step_of_live_judging_no_stored_answer_is_asked_for_again(tmp_path):
    with AnthropicStub(delay=0.005) as stub:
        world = World(tmp_path, stub, batch="never")
        for fault in LIVE_KILLS:
            assert world.killed_by(fault) == -signal.SIGKILL, fault
        for name, word in (("work/answers.jsonl", ""), ("ledger.jsonl", '"state": "done"')):
            n = world.n_lines(name, word)
            world.killed_when(lambda name=name, word=word, n=n: world.n_lines(name, word) > n)
        world.finish()
        world.check_result()
        account = read_json(world.where / "judgments.manifest.json")["account"]
        given_up = read_dicts(world.where / "judgments.failed.jsonl")
        assert 1 <= account["possibly_paid"] == account["asked_again"] + len(given_up)
        assert "possibly paid" in (tmp_path / "output.txt").read_text()
        world.rerun_costs_nothing()


OPENAI_KILLS = [
    Fault("create", "kill_before"),  # while the shape of the request is found out
    Fault("create", "kill_created", after=6),
    Fault("create", "kill_after", after=10),
    Fault("create", "kill_half", after=14),
]


@pytest.mark.parametrize("make", ["vllm", "o1-mini"])
def test_killed_at_every_step_another_vendors_judge_is_not_paid_twice_either(tmp_path, make):
    with OpenAIJudgeStub(delay=0.005, make=MAKES[make]) as stub:
        asked = {"base_url": stub.base_url, "model": "m", "api_key_env": "OPENAI_API_KEY"}
        world = World(tmp_path, stub, kind="openai", prices={"input": 2, "output": 10}, **asked)
        for fault in OPENAI_KILLS:
            assert world.killed_by(fault) == -signal.SIGKILL, fault
        for name, word in (("work/answers.jsonl", ""), ("ledger.jsonl", '"state": "done"')):
            n = world.n_lines(name, word)
            world.killed_when(lambda name=name, word=word, n=n: world.n_lines(name, word) > n)
        world.finish()
        world.check_result()
        world.rerun_costs_nothing()


def test_asked_politely_to_stop_it_waits_for_what_is_paid_for(tmp_path):
    with AnthropicStub(delay=0.05) as stub:
        world = World(tmp_path, stub, batch="never")
        process = world.start()
        while world.n_lines("ledger.jsonl", '"state": "intent"') < 9 and process.is_alive():
            time.sleep(0.001)
        process.terminate()
        assert (
            world.end(process) == 130
            and "Run the same command again" in (tmp_path / "output.txt").read_text()
        )
        assert 9 <= len(stub.paid) == len(world.answers()) < N_ASKED
        world.finish()
        world.check_result()
        assert stub.billed_usd() == pytest.approx(
            read_json(world.where / "judgments.manifest.json")["account"]["usd"]
        )


def test_killed_at_every_step_of_a_batch_it_is_created_once_and_every_answer_is_kept(tmp_path):
    with AnthropicStub(polls=2) as stub:
        world = World(tmp_path, stub, batch="always")
        for fault in BATCH_KILLS:
            assert world.killed_by(fault) == -signal.SIGKILL, fault
            assert len(stub.batches) <= 1, fault
        world.finish()
        world.check_result()
        assert len(stub.batches) == 1 and len(read_jsonl(world.where / "judgments.jsonl", Judgment)) == 48
        world.rerun_costs_nothing()


def test_killed_whenever_a_line_is_written_a_batch_is_created_once(tmp_path):
    with AnthropicStub(polls=2) as stub:
        world = World(tmp_path, stub, batch="always")
        for name, word in (
            ("work/batches.jsonl", ""),
            ("ledger.jsonl", "n_requests"),
            ("ledger.jsonl", '"state": "started"'),
            ("work/answers.jsonl", '"batch": true'),
            ("ledger.jsonl", '"results"'),
            ("work/judgments.jsonl", ""),
            ("calibration.json", ""),
        ):
            n = world.n_lines(name, word)
            world.killed_when(lambda name=name, word=word, n=n: world.n_lines(name, word) > n)
            assert len(stub.batches) <= 1, (name, word)
        world.finish()
        world.check_result()
        world.rerun_costs_nothing()
