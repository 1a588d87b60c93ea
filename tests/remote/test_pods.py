"""A pod from its create to its end, with an account and a shell in memory: bounded times, states, bytes."""

import base64
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from lib.base.errors import UserError
from lib.remote import watchdog
from lib.remote.reach import Reach
from lib.remote.runpod import RunPod, boot_env
from lib.remote.seam import Candidate, Job, Machine, NeverUpError, Work
from lib.remote.ssh import CommandError, LostError, make_keys
from lib.remote.tmux import BOOT, Place
from tests.remote.shop import A40
from tests.remote.world import NEED, FastClock, api

NAME = "reply-train-tiny-0123abcd"
MACHINE = Machine("pod0x", NAME)
SSH = {"direct": {"host": "127.0.0.1", "port": 9, "username": "root"}}
UP = {"id": "pod0x", "name": NAME, "status": "RUNNING", "ssh": SSH, "runtime": {}, "cost": 0.5}
RUNNING = {**UP, "runtime": {"uptime": 1}}


@dataclass
class Account:
    """One account's pods as the API tells them. get, delete: statuses of the next ones, then as it is."""

    pods: dict[str, dict] = field(default_factory=lambda: {"pod0x": RUNNING})
    gpus: list[dict] = field(default_factory=list)
    get: list[int] = field(default_factory=list)
    delete: list[int] = field(default_factory=list)
    unlisted: int = 0  # so many lists do not have it yet
    lagging: int = 0  # so many lists have it still
    gone: dict[str, dict] = field(default_factory=dict)
    bodies: list[dict] = field(default_factory=list)
    n_deletes: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v2")
        if path == "/catalog/gpus":
            return httpx.Response(200, json={"gpus": self.gpus})
        if path == "/pods" and request.method == "POST":
            self.bodies.append(json.loads(request.content))
            return httpx.Response(201, json=RUNNING)
        if path == "/pods":
            self.unlisted -= 1
            self.lagging -= 1
            rows = (self.pods if self.unlisted < 0 else {}) | (self.gone if self.lagging >= 0 else {})
            return httpx.Response(200, json={"pods": list(rows.values())})
        if path.endswith("/logs"):
            lines = [f'data: {{"line": "line {number}"}}' for number in range(5)]
            return httpx.Response(200, text="\n".join(lines))
        pod_id = path.split("/")[2]
        if request.method == "DELETE":
            self.n_deletes += 1
            status = self.delete.pop(0) if self.delete else 204 if pod_id in self.pods else 404
            if status in (200, 202, 204) and pod_id in self.pods:
                self.gone[pod_id] = self.pods.pop(pod_id)
            return httpx.Response(status, json={"detail": "d"})
        if self.get and (status := self.get.pop(0)) != 200:
            return httpx.Response(status, json={"detail": "d"})
        return httpx.Response(200 if pod_id in self.pods else 404, json=self.pods.get(pod_id, {}))


@dataclass
class Door:
    """Shells of one pod: what each command says, in a row; the last one again and again."""

    said: list[bytes | Exception] = field(default_factory=lambda: [b""])
    commands: list[str] = field(default_factory=list)
    stdins: list[Path | None] = field(default_factory=list)
    addresses: list[tuple] = field(default_factory=list)

    def __call__(self, *address):
        self.addresses.append(address)
        return self

    def run(self, command, stdin=None, timeout_s=120):
        self.commands.append(command)
        self.stdins.append(stdin)
        answer = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Here:
    account: Account
    door: Door
    fast: FastClock
    job: Job
    said: list[str]
    engine: RunPod


@pytest.fixture
def here(tmp_path, monkeypatch):
    account, door, fast, said = Account(), Door(), FastClock(0), []
    engine = RunPod(api(monkeypatch, account, fast), fast.clock(), said.append)
    engine.reach = Reach(engine.api, fast.clock(), said.append, engine.place, door)
    work = Work("setup", "train", "replies", "pack")
    job = Job(NAME, "tiny", tmp_path / "k", tmp_path / "k/parcel.tar.gz", work, NEED, {"HF_TOKEN": "t"})
    job.folder.mkdir()
    return Here(account, door, fast, job, said, engine)


# --- offers and create ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, is_offer",
    [
        ({}, True), ({"memory": 20}, True), ({"memory": 19.9}, False), ({"memory": None}, False),
        ({"price": {"secure": 0}}, False), ({"price": {"community": 0.1}}, False),
        ({"id": "NVIDIA A4000", "name": "A4000"}, False), ({"availability": "NONE"}, True),
    ],
)  # fmt: skip
def test_a_card_that_the_config_allows_with_price_and_memory_is_an_offer(here, changes, is_offer):
    row = {"id": "NVIDIA A40", "name": "A40", "memory": 48, "price": {"secure": 0.4}, "availability": "LOW"}
    here.account.gpus = [{**row, **changes}]
    need = replace(NEED, gpus=(Candidate("L4", (1, 2)), Candidate("A40", (4, 30))))
    found = here.engine.offers(need)
    assert bool(found) == is_offer
    if is_offer:
        assert (found[0].minutes, found[0].id) == ((4, 30), "NVIDIA A40")
        assert found[0].availability == changes.get("availability", "LOW")
        assert found[0].usd_per_hour == pytest.approx(0.4 + (60 + 20) * 0.10 / 730)  # GB x dollars a month


def test_a_create_says_what_the_offer_and_the_limits_say(here):
    machine = here.engine.start(A40, here.job, 5400)
    assert machine == Machine("pod0x", NAME, 0.5, "RUNNING")
    (body,) = here.account.bodies
    env = body.pop("env")
    assert body.pop("args").startswith("bash -c 'eval")
    assert body == {
        "name": NAME, "image": NEED.image, "gpu": {"id": "a40", "count": 1, "minCudaVersion": "12.8"},
        "cloud": "SECURE", "disk": 20, "mounts": {"persistent": {"size": 60, "path": "/workspace"}},
        "ports": ["22/tcp"], "startSsh": True,
    }  # fmt: skip
    assert env == {**boot_env(here.job.folder, "http://127.0.0.1:1/v2", 5400), "HF_TOKEN": "t"}
    assert (env["REPLIES_SECONDS"], env["REPLIES_API"]) == ("5400", "http://127.0.0.1:1/v2")
    assert base64.b64decode(env["REPLIES_BOOT"]).decode() == BOOT
    assert base64.b64decode(env["REPLIES_WATCHDOG"]) == Path(watchdog.__file__).read_bytes()
    assert base64.b64decode(env["REPLIES_HOST_KEY"]) == (here.job.folder / "host").read_bytes()
    assert env["PUBLIC_KEY"] == (here.job.folder / "id.pub").read_text().strip()


# --- what is there -------------------------------------------------------------------------------------


def test_pods_of_this_project_alone_are_its_machines_and_terminated_ones_are_none(here):
    rows = [
        ("a", NAME, "RUNNING"), ("b", NAME, "EXITED"), ("c", NAME, "TERMINATED"),
        ("d", "reply-train", "RUNNING"), ("e", f"{NAME}0", "RUNNING"), ("f", None, "RUNNING"),
        ("g", "reply-train-other-01234567", "STARTING"),
    ]  # fmt: skip
    here.account.pods = {key: {"id": key, "name": name, "status": status} for key, name, status in rows}
    assert [machine.id for machine in here.engine.machines()] == ["a", "b", "g"]
    assert [machine.id for machine in here.engine.find(NAME)] == ["a", "b"]


@pytest.mark.parametrize(
    "status, state",
    [
        ("RUNNING", "running"), ("STARTING", "starting"), ("PROVISIONING", "starting"),
        ("EXITED", "ended"), ("ERROR", "ended"), ("TERMINATED", "absent"),
    ],
)  # fmt: skip
def test_the_state_of_a_pod(here, status, state):
    here.account.pods["pod0x"] = {**UP, "status": status}
    assert here.engine.state(MACHINE) == state


def test_a_pod_that_get_does_not_know_is_looked_for_in_the_list(here):
    here.account.get = [404]
    assert here.engine.state(MACHINE) == "running"
    here.account.get, here.account.unlisted = [404], 1
    assert here.engine.state(MACHINE) == "absent"


# --- coming up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pod, said, words, limit_s",
    [
        ({**UP, "status": "EXITED"}, b"", "it is exited", 0),
        ({**UP, "status": "ERROR"}, b"", "it is error", 0),
        (None, b"", "it is absent", 120),
        ({**UP, "status": "PROVISIONING"}, b"", "ssh never answered: it never ran", 600),
        ({**UP, "runtime": None}, b"", "its container never started", 300),
        ({**RUNNING, "ssh": None}, b"", "ssh never answered: it has no address yet", 600),
        (RUNNING, LostError("no route"), "ssh never answered: no route", 150),
        (RUNNING, CommandError("exit 1: denied"), "ssh never answered: exit 1: denied", 150),
    ],
)
def test_a_pod_that_does_not_come_up_is_given_up_in_time_with_its_log(here, pod, said, words, limit_s):
    here.account.pods = {"pod0x": pod} if pod else {}
    here.door.said = [said]
    with pytest.raises(NeverUpError) as caught:
        here.engine.reach.connect(MACHINE, here.job)
    reason, *log = str(caught.value).split("; its log: ")
    assert reason.startswith(words) and log == ["line 2", "line 3", "line 4"]
    assert limit_s <= here.fast.ahead_s <= limit_s + 10


def test_a_pod_that_is_unknown_at_first_and_deaf_for_a_while_comes_up(here):
    here.account.get, here.account.unlisted = [404] * 20, 20
    here.door.said = [LostError("refused")] * 20 + [b""]
    here.engine.reach.connect(MACHINE, here.job)
    assert here.door.commands == ["true"] * 21
    assert here.door.addresses[0] == (here.job.folder, NAME, "127.0.0.1", 9, "root")


@pytest.mark.parametrize(
    "said, n_runs, error",
    [
        ([LostError("x"), LostError("x"), b"ok"], 3, None),
        ([LostError("x")], 8, LostError),
        ([CommandError("exit 1")], 1, CommandError),  # it ran
    ],
)
def test_a_command_is_run_again_only_while_nobody_knows_whether_it_ran(here, said, n_runs, error):
    here.door.said = list(said)
    if error:
        with pytest.raises(error):
            here.engine.reach.run(MACHINE, here.job, "c")
    else:
        assert here.engine.reach.run(MACHINE, here.job, "c") == b"ok"
    assert len(here.door.commands) == n_runs


def proof(age=1, status=200, **more):
    return f"{age}\n{json.dumps({'status': status, 'at': 100.0, 'deadline': 100.0 + 5400, **more})}".encode()


@pytest.mark.parametrize(
    "said, problem",
    [
        (proof(), None), (proof(age=90), None), (proof(age=91), "its watchdog no longer runs"),
        (proof(status=401), "RunPod answers 401"), (proof(status=0), "RunPod answers 0"),
        (b"1\n[]", "not running"), (b"1\nnot json", "not running"), (b"", "not running"),
        (CommandError("no such file"), "not running"), (proof(deadline=None), "not running"),
    ],
)  # fmt: skip
def test_a_pod_has_to_prove_that_it_can_end_itself(here, said, problem):
    here.door.said = [said]
    found = here.engine.reach.prove_watchdog(MACHINE, here.job)
    assert found is None if problem is None else problem in found
    assert here.said == (
        [] if problem else ["the pod's own watchdog works: it ends the pod in 90 minutes at the latest"]
    )
    assert here.fast.waits == ([5] * 12 if problem else [])


# --- the job -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, is_new",
    [(b"new\n", True), (b"gone\nlast words", True), (b"running\n", False), (b"0\n", False), (b"1\n", False)],
)
def test_a_job_is_started_where_none_works_or_has_worked(here, status, is_new):
    make_keys(here.job.folder, NAME)
    here.door.said = [b"", proof(), status, b""]
    here.engine.ready(MACHINE, here.job)
    assert len(here.door.commands) == (5 if is_new else 3)
    if is_new:
        assert here.door.stdins[-2:] == [here.job.parcel, here.job.folder / "work.sh"]
        assert "tar -xzf" in here.door.commands[-2] and "tmux" in here.door.commands[-1]


@pytest.mark.parametrize("force", [False, True])
def test_on_a_pod_that_cannot_end_itself_nothing_is_trained_unless_forced(here, force):
    make_keys(here.job.folder, NAME)
    here.engine.force, here.door.said = force, [b"", *[proof(status=401)] * 12, b"new\n", b""]
    if force:
        here.engine.ready(MACHINE, here.job)
        assert "warning: the pod cannot end itself (RunPod answers 401" in here.said[0]
    else:
        with pytest.raises(UserError, match=r"cannot end itself \(RunPod answers 401.*FORCE=1"):
            here.engine.ready(MACHINE, here.job)
    assert any("tar -xzf" in command for command in here.door.commands) == force


def test_a_pod_whose_keys_are_gone_or_that_takes_no_job_is_given_up(here):
    with pytest.raises(NeverUpError, match="keys are no longer"):
        here.engine.ready(MACHINE, here.job)
    make_keys(here.job.folder, NAME)
    here.door.said = [b"", proof(), b"new\n", CommandError("exit 2: no space left")]
    with pytest.raises(NeverUpError, match="no space left"):
        here.engine.ready(MACHINE, here.job)


def lines(here, *said, ends_at=float("inf")):
    here.door.said = list(said)
    return list(here.engine.logs(MACHINE, replace(here.job, ends_at=ends_at)))


def test_every_line_of_the_log_is_shown_once_whatever_breaks_in_between(here):
    shown = lines(
        here, b"running\none\ntw", LostError("cut"), b"running\no\n  \n10%\r20%\r", b"running\n",
        b"0\nthree \xff", b"0\n",
    )  # fmt: skip
    assert shown == ["one", "two", "10%", "20%", "three �"]
    offsets = [int(re.search(r"tail -c \+(\d+)", command)[1]) for command in here.door.commands]
    assert offsets == [1, 7, 7, 20, 20, 27]


def test_a_job_that_died_without_a_word_is_an_error_after_its_last_lines(here):
    with pytest.raises(UserError, match="died without a word"):
        lines(here, b"gone\nlast words\n", b"gone\n")


@pytest.mark.parametrize("late_s, is_told", [(-1, False), (60, False), (121, True)])
def test_a_machine_past_its_deadline_is_told(here, late_s, is_told):
    ends_at = here.fast.clock().now() - late_s
    if is_told:
        with pytest.raises(UserError, match="past its deadline"):
            lines(here, b"running\nx\n", b"0\n", ends_at=ends_at)
    else:
        assert lines(here, b"running\nx\n", b"0\n", ends_at=ends_at) == ["x"]


def test_a_pod_that_is_gone_is_told_at_once_and_a_silent_one_after_a_quarter_of_an_hour(here):
    with pytest.raises(UserError, match="has not answered for 15 minutes"):
        lines(here, LostError("no route"))
    assert 900 <= here.fast.ahead_s <= 910
    here.account.pods = {}
    here.fast.ahead_s = 0
    with pytest.raises(UserError, match="ended before its job did"):
        lines(here, LostError("no route"))
    assert here.fast.ahead_s == 0


# --- results and end -----------------------------------------------------------------------------------


def test_a_download_goes_on_at_the_next_byte_and_begins_anew_where_it_is_too_long(here):
    listed = json.dumps({"files": {}, "sha256": "", "exit": 0, "bytes": 6}).encode()
    tar = here.job.folder / "results.tar"
    for there, said, starts in (
        (b"", [b"abc", b"def"], [1, 4]),
        (b"ab", [b"cdef"], [3]),
        (b"abcdefg", [b"abcdef"], [1]),
        (b"abcdef", [], []),
    ):
        tar.write_bytes(there)
        here.door.commands.clear()
        here.door.said = [listed, *said]
        here.engine.fetch(MACHINE, here.job)
        assert tar.read_bytes() == b"abcdef"
        assert [int(re.search(r"tail -c \+(\d+)", one)[1]) for one in here.door.commands[1:]] == starts


@pytest.mark.parametrize(
    "said, words",
    [
        ([CommandError("no such file")], "made no results"),
        ([LostError("no route")], "does not answer any more"),
        ([b"{}"], "not a list of results"),
        ([b'{"files": {}, "sha256": "", "exit": 0, "bytes": 6}', b"abc", b""], "fewer bytes"),
    ],
)
def test_results_that_cannot_be_had_are_a_sentence(here, said, words):
    here.door.said = said
    with pytest.raises(UserError, match=words):
        here.engine.fetch(MACHINE, here.job)


@pytest.mark.parametrize(
    "changes, n_deletes",
    [
        ({}, 1),
        ({"delete": [500, 500]}, 3),
        ({"delete": [404, 404]}, 3),  # a 404 alone is no proof while it is answered for
        ({"lagging": 2}, 3),  # answered for by the list alone
        ({"pods": {}}, 1),  # it was gone before
    ],
)
def test_an_end_is_believed_when_the_pod_is_neither_answered_for_nor_listed(here, changes, n_deletes):
    for name, value in changes.items():
        setattr(here.account, name, value)
    here.engine.end(MACHINE)
    assert here.account.pods == {} and here.account.n_deletes == n_deletes


def test_a_pod_that_was_gone_is_looked_for_twice_as_lists_lag_behind(here):
    here.account.pods, here.account.gone = {"pod0x": RUNNING}, {}
    here.account.delete, here.account.get, here.account.unlisted = [404], [404], 1
    here.engine.end(MACHINE)
    assert here.account.pods == {} and here.account.n_deletes == 2


@pytest.mark.parametrize("status", [500, 404, 401])
def test_an_end_that_cannot_be_had_is_told(here, status):
    here.account.delete = [status] * 99
    with pytest.raises(UserError, match=r"pod0x\) may still be billed.*END=1"):
        here.engine.end(MACHINE)


def test_a_machine_that_never_was_is_neither_ended_nor_billed(here):
    assert here.engine.end(Machine("", NAME)) is None and here.engine.billed(Machine("", NAME)) is None
    assert here.account.n_deletes == 0 and Place("/r").results == "/r/workspace/results"
