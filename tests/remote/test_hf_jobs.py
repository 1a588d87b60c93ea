"""The same on Hugging Face Jobs, through the real huggingface_hub client against a loopback server that
bills.
"""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.remote.hf_jobs import hf_jobs
from lib.remote.rented import end_all, look
from lib.remote.renting import Renting
from lib.remote.seam import Candidate
from tests.remote.world import NEED, QUICK, Desk, FastClock, Told, ledger_of, order_of
from tests.stubs.hf_jobs_server import jobs_server
from tests.stubs.hub_server import TOKEN

pytestmark = pytest.mark.slow

HF_NEED = replace(NEED, gpus=(Candidate("L40S", (4, 30)), Candidate("A100", (4, 30))))
SLOW = replace(QUICK, train=f"echo training; while [ ! -f ../../go ]; do sleep 0.05; done; {QUICK.train}")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "HF_HUB_DISABLE_XET", True
    )  # the stub speaks LFS; the client reads the variable at its import
    with jobs_server(tmp_path / "jobs") as server:
        for name, value in {
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "hf"),
            "YES": "1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def rent(project, desk, work=QUICK, moment_s=0.03, **changes):
    fast = FastClock(moment_s)
    wanted = replace(order_of(project, work, HF_NEED), **changes)
    return Renting(
        hf_jobs(fast.clock(), desk.said.append), wanted, desk.said.append, desk.asked.append, fast.clock()
    ).run()


def assert_books_equal_the_bill(project, hub, n_jobs):
    assert hub.alive() == [] and hub.most_alive <= 1 and len(hub.jobs) == n_jobs
    assert hub.repos == {}
    entries = ledger_of(project).latest().values()
    assert {entry.state for entry in entries} <= {"done", "failed"}
    assert {entry.id for entry in entries if entry.id} == set(hub.jobs)
    assert abs(ledger_of(project).spent_usd("pod") - hub.billed_usd()) < 1e-9


def test_one_command_runs_a_job_and_brings_it_home(project, hub, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret-of-mine")
    files = rent(project, desk := Desk())
    assert sorted(files) == ["adapter.bin", "eval/offline/replies.jsonl", "manifest.json", "seen.jsonl"]
    assert "  | training" in desk.text and len(desk.asked) == 1
    assert_books_equal_the_bill(project, hub, 1)
    body = hub.jobs["job0x"].body
    assert (
        body["flavor"] == "l40sx1"
        and body["timeoutSeconds"] == 90 * 60
        and set(body["secrets"]) == {"HF_TOKEN"}
    )
    assert "secret-of-mine" not in str(body) and TOKEN not in str(body["command"]) + str(body["environment"])
    assert not (project / "adapters/tiny/remote").exists()


def test_a_repository_that_is_not_private_is_given_nothing(project, hub):
    hub.ignores_visibility = True
    with pytest.raises(UserError, match="could not be made private"):
        rent(project, Desk())
    assert hub.repos == {} and hub.jobs == {}


@pytest.mark.parametrize("lost", [True, False])
def test_a_start_without_an_answer_is_looked_for_before_another_is_asked_for(project, hub, lost):
    hub.unseen = 2
    hub.lose_answer_once("POST /api/jobs/ann$") if lost else hub.fail_once("POST /api/jobs/ann$", 503)
    rent(project, desk := Desk())
    assert "looking for" in desk.text
    assert_books_equal_the_bill(project, hub, 1)


@pytest.mark.parametrize("status, words", [(402, "no credit"), (403, "HF_TOKEN")])
def test_what_no_flavor_can_mend_stops_at_once(project, hub, status, words):
    hub.fail_once("POST /api/jobs/ann$", status)
    with pytest.raises(UserError, match=words):
        rent(project, Desk())
    assert_books_equal_the_bill(project, hub, 0)


def test_a_refused_flavor_gives_way_to_the_next_and_busy_ones_are_waited_for(project, hub):
    hub.fail_once("POST /api/jobs/ann$", 400)
    hub.fail_once("POST /api/jobs/ann$", 429)
    rent(project, Desk())
    assert hub.jobs["job0x"].body["flavor"] == "a100-large"
    assert_books_equal_the_bill(project, hub, 1)


def test_a_job_that_never_gets_a_machine_is_cancelled_and_the_next_flavor_tried(project, hub):
    hub.modes = ["queued"]
    rent(project, desk := Desk(), moment_s=0.001)
    assert "no machine was free" in desk.text
    assert_books_equal_the_bill(project, hub, 2)


def test_a_job_that_fails_brings_home_what_it_made(project, hub):
    with pytest.raises(UserError, match=r"failed \(exit 1\)"):
        rent(project, Desk(), replace(QUICK, replies="echo no room; false"))
    assert (project / "adapters/tiny/adapter.bin").exists()
    assert_books_equal_the_bill(project, hub, 1)


def test_a_job_that_meets_its_time_out_is_said_to_have_left_nothing(project, hub):
    limits = replace(order_of(project, SLOW, HF_NEED).limits, max_minutes=1 / 60)
    need = replace(HF_NEED, gpus=(Candidate("L40S", (0.001, 1)),))
    with pytest.raises(UserError, match="time-out"):
        rent(project, Desk(), SLOW, limits=limits, need=need)
    assert_books_equal_the_bill(project, hub, 1)


def test_a_blip_of_the_network_does_not_end_a_job_at_work(project, hub):
    hub.fail_once(r"GET /api/jobs/ann/\w+$", 502)
    hub.lose_answer_once("GET /api/jobs/ann/")
    hub.lose_answer_once("HEAD .*/results.json")
    hub.fail_once("GET /api/jobs/hardware", 429)
    rent(project, Desk())
    assert_books_equal_the_bill(project, hub, 1)


@pytest.mark.parametrize("status", [500, 404])
def test_a_cancel_is_believed_when_the_job_has_ended(project, hub, status):
    hub.fail_once(r"POST /api/jobs/ann/\w+/cancel", status)
    hub.modes = ["queued"]
    rent(project, Desk(), moment_s=0.001)
    assert_books_equal_the_bill(project, hub, 2)


def command(home: str, environment: dict[str, str]) -> None:
    from huggingface_hub import constants

    os.chdir(home)
    os.environ.update(environment)
    constants.HF_HUB_DISABLE_XET = True
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    rent(Path(home), Desk(said=Told(lambda text: print(text, flush=True))), SLOW)


def start(home: Path, hub) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "huggingface_hub.hf_api", "lib.remote.hf_jobs", "tests.remote.world", __name__]
    )
    environment = {name: os.environ[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME", "YES")}
    process = context.Process(target=command, args=(str(home), environment))
    process.start()
    hub.victim = process.pid
    return process


EARLY = [
    "GET /api/jobs/hardware",
    "POST /api/repos/create",
    "POST .*/preupload/",
    "POST .*/commit/",
    "POST /api/jobs/ann$",
]
RUNNING = ["GET /api/whoami", r"GET /api/jobs/ann/\w+$", r"GET /api/jobs/ann/\w+/logs"]
LATE = ["HEAD .*/results.json", "GET .*/results.tar", "DELETE /api/repos/delete", "GET /api/jobs/hardware"]


def test_killed_at_twenty_moments_the_same_command_goes_on_with_the_same_job(project, hub):
    sides = ("kill_before", "kill_after")
    moments = [(pattern, side) for pattern in [*EARLY, *RUNNING, *LATE] for side in sides]
    assert len(moments) >= 20
    for pattern, side in moments:
        if pattern == LATE[0]:
            (hub.folder / "job0x/go").touch()
        hub.kill_on = (
            pattern,
            "kill_before" if pattern.endswith("logs") else side,
        )  # the stream has no end before `go`
        process = start(project, hub)
        process.join(timeout=60)
        assert process.exitcode == -signal.SIGKILL, (pattern, side, (project / "output.txt").read_text())
        assert len(hub.jobs) <= 1
    process = start(project, hub)
    process.join(timeout=60)
    assert process.exitcode == 0, (project / "output.txt").read_text()
    assert_books_equal_the_bill(project, hub, 1)


def test_ctrl_c_while_the_log_is_streamed_is_not_swallowed(project, hub):
    process = start(project, hub)
    limit = time.monotonic() + 60
    while (
        "| training"
        not in ((project / "output.txt").read_text() if (project / "output.txt").exists() else "")
        and time.monotonic() < limit
    ):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 1 and "KeyboardInterrupt" in (project / "output.txt").read_text()
    assert_books_equal_the_bill(project, hub, 1)


def test_rented_ends_jobs_and_removes_their_repositories(project, hub):
    process = start(project, hub)
    limit = time.monotonic() + 60
    while not hub.jobs and time.monotonic() < limit:
        time.sleep(0.02)
    process.kill()
    process.join()
    fast = FastClock()
    engine = hf_jobs(fast.clock(), print)
    assert [row.run for row in look(project, [engine]).machines] == ["tiny"]
    end_all(project, [engine], fast.clock(), print)
    assert_books_equal_the_bill(project, hub, 1)
