"""SIGKILL between every two steps of a collecting job, in the real command; the server counts the starts."""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lib.base.console import run
from lib.base.ledger import Ledger
from scripts import collect
from tests.stubs.apify_server import TOKEN, ApifyStub, Fault
from tests.stubs.tweets_world import config_text, world

pytestmark = pytest.mark.slow

QUERIES = ["cats", "dogs", "birds", "trees"]
small_world = partial(world, tweets_per_query=2, replies_per_tweet=3)

# In the order of the steps; every process goes on where the one before it was killed.
KILLS_BY_THE_SERVER = [
    Fault("list", "kill_before"),  # before the first intent
    Fault("start", "kill_before"),  # intent written, run not created
    Fault("start", "kill_created"),  # created, not answered
    Fault("list", "kill_after"),  # while it looks for the lost run
    Fault("input", "kill_after"),  # found, not adopted yet
    Fault("start", "kill_after", after=1),  # answered, perhaps not recorded
    Fault("run", "kill_before"),  # started, not waited for
    Fault("run", "kill_after"),  # ended, nothing fetched
    Fault("items", "kill_before"),  # before the first page
    Fault("items", "kill_after"),  # after the first page
    Fault("items", "kill_before", after=1),  # between two pages
    Fault("start", "kill_created", after=1),  # the same among the replies
    Fault("items", "kill_after", after=2),
]


def command(folder: str, url: str) -> None:
    """The command, in a process forked from one with the imports done (they take a second)."""
    os.chdir(folder)
    os.environ.update(APIFY_API_BASE_URL=url, APIFY_API_TOKEN=TOKEN, YES="1")
    for name in ("MAX_USD", "AGAIN"):
        os.environ.pop(name, None)
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["collect", "--config", "configs/data-main.yaml"]
    run(collect.main)


def start_command(folder: Path, url: str) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "apify_client", "lib.collect.apify", "scripts.collect", __name__]
    )
    process = context.Process(target=command, args=(str(folder), url))
    process.start()
    return process


def end(process: multiprocessing.process.BaseProcess, folder: Path) -> int | None:
    process.join(timeout=60)
    output = (folder / "output.txt").read_text() if (folder / "output.txt").exists() else ""
    assert "Traceback" not in output, output
    return process.exitcode


def run_until_killed(folder: Path, stub: ApifyStub, fault: Fault) -> int | None:
    stub.faults = [fault]
    process = start_command(folder, stub.url)
    stub.victim = process.pid
    return end(process, folder)


def kill_when(folder: Path, stub: ApifyStub, condition: Callable[[], bool]) -> int | None:
    process = start_command(folder, stub.url)
    deadline = time.monotonic() + 60
    while not condition() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    return end(process, folder)


def n_states(folder: Path, state: str) -> int:
    path = folder / "data/main/ledger.jsonl"
    return path.read_text().count(f'"state": "{state}"') if path.exists() else 0


def n_files(folder: Path, pattern: str) -> int:
    return len(list((folder / "data/main/raw").glob(pattern)))


def set_up(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / "configs/data-main.yaml").write_text(config_text(queries=", ".join(QUERIES)))


def finish(folder: Path, stub: ApifyStub) -> None:
    stub.faults = []
    assert end(start_command(folder, stub.url), folder) == 0, (folder / "output.txt").read_text()


def assert_one_start_each_and_every_item_once(folder: Path, stub: ApifyStub) -> None:
    assert stub.starts() == {run["input"]["searchTerms"][0]: 1 for run in stub.runs}
    assert len(stub.runs) == len(QUERIES) + 2 * len(QUERIES)
    collected = [
        json.loads(line) for path in (folder / "data/main/raw").glob("*.jsonl") for line in path.open("rb")
    ]
    expected = [item for run in stub.runs for item in run["items"]]
    assert Counter(map(json.dumps, collected)) == Counter(map(json.dumps, expected))
    ledger = Ledger(folder / "data/main/ledger.jsonl")
    done = Counter(entry.id for entry in ledger.entries() if entry.state == "done")
    assert done == Counter(f"R{run['n']}" for run in stub.runs)
    assert abs(ledger.spent_usd("collect") - stub.billed_usd()) < 1e-9


def test_killed_by_the_server_at_every_step_the_same_command_starts_each_query_once(tmp_path):
    set_up(tmp_path)
    with ApifyStub(small_world, page_cap=1) as stub:
        for fault in KILLS_BY_THE_SERVER:
            assert run_until_killed(tmp_path, stub, fault) == -signal.SIGKILL, fault
            assert max(stub.starts().values(), default=0) <= 1, fault
        finish(tmp_path, stub)
    assert_one_start_each_and_every_item_once(tmp_path, stub)


def test_killed_after_a_short_read_the_same_command_reads_the_run_again_and_starts_nothing(tmp_path):
    set_up(tmp_path)
    with ApifyStub(
        small_world, page=lambda items, offset, limit: (items[offset:1], len(items), offset)
    ) as stub:
        for after in (1, 3):  # the empty page of the first reading, of the one after the first pause
            assert (
                run_until_killed(tmp_path, stub, Fault("items", "kill_after", after=after)) == -signal.SIGKILL
            )
            assert n_states(tmp_path, "done") == 0
        stub.page = None
        finish(tmp_path, stub)
    assert_one_start_each_and_every_item_once(tmp_path, stub)


def test_killed_when_a_line_or_file_appears_the_same_command_starts_each_query_once(tmp_path):
    set_up(tmp_path)
    with ApifyStub(small_world) as stub:
        for state in ("intent", "started", "done"):
            n = n_states(tmp_path, state)
            assert (
                kill_when(tmp_path, stub, lambda state=state, n=n: n_states(tmp_path, state) > n)
                == -signal.SIGKILL
            ), state
        for pattern in ("*.meta.json", "*.jsonl", "replies*.jsonl"):
            n = n_files(tmp_path, pattern)
            assert (
                kill_when(tmp_path, stub, lambda pattern=pattern, n=n: n_files(tmp_path, pattern) > n)
                == -signal.SIGKILL
            ), pattern
        kill_when(
            tmp_path, stub, lambda: n_files(tmp_path, "*.partial") > 0
        )  # it may be too short a moment to be seen
        finish(tmp_path, stub)
    assert_one_start_each_and_every_item_once(tmp_path, stub)
