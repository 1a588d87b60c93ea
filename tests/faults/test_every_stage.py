"""Every command that writes, killed, on a failing disk, twice at once, elsewhere and at another time.

Afterwards the same command must end with what an undisturbed one leaves, and nothing may be bought twice.
`make test` looks at some moments of each; the slow tests at every one at which the disk changes.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from tests.conftest import ROOT
from tests.faults.conftest import commanded
from tests.faults.disk import CLOCKS, FAILS, ended, run_in, spawned
from tests.faults.stages import ELSEWHERE, STAGES, TRAIN

SAYS = {"full": "Free disk space", "read-only": "folder that can be written to", "no right": "permissions"}
SAYS["broken"] = "The disk or the network drive failed"
STRANGE = "a 'b' \"c\" $HOME `d` & (e); \u202e\U0001f468\u200d\U0001f469\u200d\U0001f467 %s {f}"

# The dearest are looked at once in the quick suite, and in these ways in the slow one.
EACH = [pytest.param(name, marks=[pytest.mark.slow] * (STAGES[name].n_points == 1)) for name in STAGES]


@pytest.fixture
def moment(worlds, tmp_path):
    """Runs a stage's command with a fault at one of its calls, then again, and compares."""

    def at_call(name, at, fault, stage=None, then=None):
        stage, folder = stage or STAGES[name], tmp_path / f"{name}-{at}-{fault}"
        _, result, bought, n_paid, calls = worlds.whole(name)
        where = f"{name}: {fault} at {calls[at] if at < len(calls) else at}"
        shutil.copytree(worlds.before(name), folder, symlinks=True)
        with stage.serve() as served:
            first = run_in(folder, commanded(name, served), at, fault)
            again = run_in(folder, commanded(name, served, then))
            assert again.code == 0, f"{where}: {again.said}"
            assert served.bought() == bought, f"{where}: bought something else, or twice"
            assert served.n_paid() <= n_paid + stage.at_once, f"{where}: paid more than twice"
        assert stage.result(folder) == result, where
        assert not list(folder.rglob("*.partial")), where
        shutil.rmtree(folder)
        return where, first

    return at_call


def assert_killed(where, first):
    assert first.code in (-signal.SIGKILL, 0) and "Traceback" not in first.said, f"{where}: {first.said}"


def assert_said(where, first, fault):
    """One sentence: what, where, what to do. A disk that fails after the last call is seen by nobody."""
    said = [line for line in first.said.splitlines() if line.startswith("error:")]
    assert "Traceback" not in first.said, f"{where}: {first.said}"
    assert (first.code, len(said)) == ((1, 1) if first.n_refused else (0, 0)), f"{where}: {first.said}"
    if said:
        assert os.strerror(FAILS[fault][0]) in said[0] and SAYS[fault] in said[0], f"{where}: {said[0]}"
        assert "/" in said[0].split(":")[1], f"{where}: no path in {said[0]}"


def changing(calls):
    """The calls before which the disk is another one than before the last."""
    return [number for number, call in enumerate(calls) if not call.startswith("fsync")]


def some(calls, n, name):
    """n of them, always the same ones: drawn by the name."""
    there = changing(calls)
    return sorted(random.Random(name).sample(there, min(n, len(there))))


@pytest.mark.parametrize("name", STAGES)
def test_killed_or_on_a_failing_disk_the_same_command_ends_as_if_nothing_had_been(name, worlds, moment):
    calls, faults = worlds.whole(name)[-1], ["kill", *FAILS]
    for n, at in enumerate(some(calls, STAGES[name].n_points, name)):
        fault = faults[(n + sum(map(ord, name))) % len(faults)]
        where, first = moment(name, at, fault)
        assert_killed(where, first) if fault == "kill" else assert_said(where, first, fault)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STAGES)
def test_killed_at_every_moment_at_which_the_disk_changes(name, worlds, moment):
    stage = STAGES[name]
    calls = worlds.whole(name)[-1]
    for at in changing(calls) if stage.n_points == 5 else some(calls, 3, f"slow {name}"):
        assert_killed(*moment(name, at, "kill"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_killed_at_any_moment_ends_in_the_same_weights(worlds, moment):
    calls = worlds.whole("train")[-1]
    for at in some(calls, 3, "train"):
        assert_killed(*moment("train", at, "kill", TRAIN))


@pytest.mark.parametrize("name", EACH)
def test_of_two_at_once_one_is_refused_or_both_end_with_the_whole_result(name, worlds, tmp_path):
    stage, folder = STAGES[name], tmp_path / name
    _, result, bought, _, calls = worlds.whole(name)
    shutil.copytree(worlds.before(name), folder, symlinks=True)
    at = [number for number, call in enumerate(calls) if call.startswith("replace") or "jsonl" in call][-1]
    with stage.serve() as served:
        first = spawned(folder, commanded(name, served), at, "stop")
        assert first.stands_still()
        second = spawned(folder, commanded(name, served))
        second.has_ended(within_s=1)  # one that waits for the first goes on after it
        os.kill(first.id, signal.SIGCONT)
        one, two = ended(first), ended(second)
        assert served.bought() == bought
    assert one.code == 0 and two.code in (0, 1), one.said + two.said
    if two.code:
        assert "in use by another run" in two.said and "Traceback" not in two.said, two.said
    assert stage.result(folder) == result


ZONES = ["Pacific/Kiritimati", "America/St_Johns", "Europe/Berlin"]


@pytest.mark.parametrize("name", EACH)
def test_path_time_zone_and_clock_change_no_result(name, worlds, tmp_path):
    stage = STAGES[name]
    _, result, bought, _, _ = worlds.whole(name)
    folder = tmp_path / STRANGE / "d" / name
    folder.parent.mkdir(parents=True)
    shutil.copytree(worlds.before(name), folder, symlinks=True)
    n = sum(map(ord, name))
    # Before the data, and on the night on which clocks are set back: 25 October 2026, 01:30 UTC.
    shift = [timedelta(days=-400), datetime(2026, 10, 25, 1, 30) - datetime.now()][n % 2]
    with stage.serve() as served:
        done = run_in(folder, commanded(name, served, (shift.total_seconds(), ZONES[n % 3])))
        assert done.code == 0, done.said
        assert served.bought() == bought
    assert stage.result(folder) == result


PAID = ("collect", "claude-live", "claude-batch")


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", PAID)
def test_a_clock_that_is_set_while_something_is_paid_for_buys_nothing_twice(name, clock, worlds, moment):
    """Between an intent and its end, whether the process lives on or is killed and started again."""
    calls = worlds.whole(name)[-1]
    booked = [number for number, call in enumerate(calls) if call.startswith("write") and "ledger" in call]
    where, first = moment(name, booked[0], clock)
    assert first.code == 0, f"{where}: {first.said}"
    assert_killed(*moment(name, booked[-1], "kill", then=(CLOCKS[clock], "UTC")))


def test_every_script_is_in_the_list():
    named = [name for stage in (*STAGES.values(), TRAIN) for name in stage.scripts]
    named += [name for names in ELSEWHERE for name in names.split(", ")]
    assert set(named) == {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"__init__"}


@pytest.mark.slow
def test_make_builds_a_set_in_a_folder_of_3000_characters_with_spaces_quotes_and_emoji(worlds, tmp_path):
    folder = tmp_path
    while len(os.fsencode(folder)) < 3_000:
        folder /= STRANGE
    folder.parent.mkdir(parents=True)
    shutil.copytree(worlds.before("pair"), folder, symlinks=True)
    for name in ("Makefile", "scripts", "lib", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").mkdir()
    (folder / ".venv/setup.stamp").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "data", "DATA=x", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, made = (root / "data/x/processed/train.jsonl" for root in (worlds.whole("split")[0], folder))
    assert made.read_bytes() == whole.read_bytes()
