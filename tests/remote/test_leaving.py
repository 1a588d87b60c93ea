"""Ways out of a rental that nobody planned: Ctrl-C, a closed laptop, another engine, `make rented`."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import lock
from lib.remote.ending import Ending
from lib.remote.rented import end_all, look, settle_all
from lib.remote.runpod import ARGS, boot_env
from lib.remote.ssh import make_keys
from tests.remote.world import (
    QUICK,
    ROOT,
    Desk,
    FastClock,
    OnLoopback,
    Told,
    assert_books_equal_the_bill,
    ledger_of,
    order_of,
    rent,
)
from tests.stubs.pod import LoopbackPod
from tests.stubs.runpod_server import Fault, Pod

pytestmark = pytest.mark.slow

SLOW = replace(QUICK, train=f"echo training; while [ ! -f ../../go ]; do sleep 0.05; done; {QUICK.train}")


def interrupted(project, stub, monkeypatch, terminal: bool, answer: str) -> Desk:
    """Ctrl-C as soon as the training is seen, and an answer to the question that follows."""

    def interrupt(text: str) -> None:
        if "| training" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: terminal})())
    monkeypatch.setattr("builtins.input", lambda question: answer)
    desk = Desk(said=Told(interrupt))
    with pytest.raises(KeyboardInterrupt):
        rent(project, stub, desk, order_of(project, SLOW))
    return desk


def test_a_machine_that_is_past_its_deadline_is_ended_from_home_too(project, stub):
    stub.modes = ["barred"]  # its watchdog cannot
    order = order_of(project, SLOW, max_minutes=5)
    with pytest.raises(UserError, match="past its deadline and has not ended itself"):
        rent(project, stub, Desk(), order, moment_s=0.01, force=True)
    assert_books_equal_the_bill(project, stub, 1)


@pytest.mark.parametrize("terminal, answer", [(True, ""), (True, "y"), (False, "n")])
def test_ctrl_c_ends_the_machine_unless_the_person_says_no(project, stub, monkeypatch, terminal, answer):
    interrupted(project, stub, monkeypatch, terminal, answer)
    assert_books_equal_the_bill(project, stub, 1)


def test_after_ctrl_c_and_no_the_same_command_comes_back_to_the_machine(project, stub, monkeypatch):
    desk = interrupted(project, stub, monkeypatch, True, "n")
    assert "goes on, and is paid for" in desk.text
    assert len(stub.alive()) == 1
    (stub.folder / "pod0x/go").touch()
    rent(project, stub, desk := Desk(), order_of(project, SLOW))
    assert "which is there already" in desk.text and desk.asked == []
    assert (stub.folder / "pod0x/n_trained").read_text() == "trained\n"
    assert_books_equal_the_bill(project, stub, 1)


def test_a_machine_of_an_earlier_config_is_ended_before_another_is_rented(project, stub, monkeypatch):
    interrupted(project, stub, monkeypatch, True, "n")
    rent(project, stub, desk := Desk(), replace(order_of(project), hash="another job"))
    assert "is of no more use" in desk.text
    assert_books_equal_the_bill(project, stub, 2)


def test_a_machine_on_another_engine_is_not_forgotten(project, stub):
    order = order_of(project)
    fast = FastClock()
    ending = Ending(OnLoopback(stub.folder, fast.clock(), print), order.folder, fast.clock(), print)
    offer = replace(ending.engine.offers(order.need)[0], engine="hf")
    ending.books.intend("reply-train-tiny-00000000", offer, "the job", 60, 0.1)
    with pytest.raises(UserError, match=r"is on hf and may still be billed.*ON=hf"):
        rent(project, stub, Desk())
    assert stub.pods == {}


def test_the_pod_ends_itself_at_its_deadline_without_anybody(project, stub, tmp_path):
    make_keys(tmp_path / "keys", "lonely")
    env = {
        **boot_env(tmp_path / "keys", stub.url + "/v2", 1),
        "RUNPOD_POD_ID": "lonely",
        "RUNPOD_API_KEY": "pod-key-lonely",
    }
    pod = stub.pods["lonely"] = Pod("lonely", {"name": "x", "env": env}, "good", 1.0, time.time())
    pod.machine = LoopbackPod(tmp_path / "lonely", env, ARGS, "good")
    limit = time.monotonic() + 30
    while pod.ended is None and time.monotonic() < limit:
        time.sleep(0.05)
    assert pod.ended is not None


def test_rented_lists_what_may_be_billed_and_ends_it(project, stub, monkeypatch):
    interrupted(project, stub, monkeypatch, True, "n")
    stub.create(
        {**stub.pods["pod0x"].body, "name": "reply-train-other-0123abcd", "env": {}, "args": ""}
    )  # of another folder
    fast = FastClock()
    engine = OnLoopback(stub.folder, fast.clock(), print)
    rows = look(project, [engine]).machines
    assert {(row.machine.id, row.run) for row in rows} == {("pod0x", "tiny"), ("pod1x", "")}
    said: list[str] = []
    assert end_all(project, [engine], fast.clock(), said.append) == []
    assert look(project, [engine]).machines == [] and stub.alive() == []
    assert ledger_of(project).entries()[-1].state == "done"
    assert stub.bill_usd(stub.pods["pod0x"]) == ledger_of(project).spent_usd("pod")


def test_rented_says_so_when_it_cannot_look(project, stub, monkeypatch):
    interrupted(project, stub, monkeypatch, True, "n")
    found = look(project, [])
    assert [row.run for row in found.machines] == ["tiny"]
    assert "is on runpod, whose key is not set" in found.problems[0]


def test_an_engine_that_does_not_answer_hides_no_other_ones_machines(project, stub, monkeypatch):
    interrupted(project, stub, monkeypatch, True, "n")
    engine = OnLoopback(stub.folder, FastClock().clock(), print)
    silent = type(
        "Silent", (), {"name": "hf", "machines": lambda self: (_ for _ in ()).throw(UserError("403"))}
    )()
    found = look(project, [silent, engine])
    assert [row.machine.id for row in found.machines] == ["pod0x"]
    assert (found.asked, found.problems) == (["runpod"], [])  # no ledger here has ever had a machine of hf


def test_a_bill_that_comes_late_is_booked_later(project, stub):
    stub.bills_late = True
    rent(project, stub, Desk())
    entry = ledger_of(project).entries()[-1]
    assert entry.note["source"] == "reckoned" and entry.usd > 0
    stub.bills_late = False
    fast = FastClock()
    for _ in range(2):
        settle_all(project, [OnLoopback(stub.folder, fast.clock(), print)], fast.clock(), print)
    assert [entry.state for entry in ledger_of(project).entries()] == ["intent", "started", "done", "done"]
    assert_books_equal_the_bill(project, stub, 1)


def script(project: Path, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    for part in ("Makefile",):
        (project / part).exists() or (project / part).symlink_to(ROOT / part)
    (project / "configs/eval-offline.yaml").write_text((ROOT / "configs/eval-offline.yaml").read_text())
    command = [sys.executable, "-m", f"scripts.{name}", *arguments]
    return subprocess.run(
        command,
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


RENT = ("rent", "--config", "configs/train-tiny.yaml", "--eval", "offline", "--on", "runpod")


def test_the_command_asks_and_without_an_answer_nothing_is_rented(project, stub):
    done = script(project, *RENT, YES="")
    assert done.returncode == 1 and "runpod A40" in done.stdout and "Nobody is here to answer" in done.stderr
    assert stub.pods == {} and not ledger_of(project).path.exists()


def test_max_usd_is_hard_and_checked(project, stub):
    assert "No offer with stock does this job within $0.01" in script(project, *RENT, MAX_USD="0.01").stderr
    assert "MAX_USD=lots: not a number" in script(project, *RENT, MAX_USD="lots").stderr
    assert stub.pods == {}


def test_two_commands_for_one_run_do_not_both_rent(project, stub):
    with lock(project / "adapters/tiny/remote.lock"):
        done = script(project, *RENT)
    assert done.returncode == 1 and "in use by another run" in done.stderr
    assert stub.requests == []


def test_without_a_key_the_command_says_where_one_is_made(project, stub):
    assert "RUNPOD_API_KEY is not set" in script(project, *RENT, RUNPOD_API_KEY="").stderr


def test_rented_runs_as_a_command(project, stub):
    body = {"name": "reply-train-other-0123abcd", "image": "i", "gpu": {"id": "NVIDIA A40"}}
    stub.create(body)
    done = script(project, "rented", HF_TOKEN="")
    assert (
        "reply-train-other-0123abcd  pod0x" in done.stdout and "1 machine may still be billed" in done.stdout
    ), done.stderr
    stub.faults = [Fault(r"DELETE /pods/\w+", 404)]
    done = script(project, "rented", "--end", HF_TOKEN="")
    assert "rented: no machine may still be billed (asked runpod" in done.stdout
    assert stub.alive() == []
