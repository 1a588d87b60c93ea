"""A job on Hugging Face from its start to its last minute, with a Hub in memory."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Of

import httpx
import pytest

from lib.base.errors import UserError
from lib.remote import hf_parcel
from lib.remote.hf_calls import WAITS_S, patiently, status_of
from lib.remote.hf_jobs import HfJobs
from lib.remote.hf_parcel import send_results
from lib.remote.seam import AnswerLostError, Job, Machine, NeverUpError, NoRoomError, Work
from tests.remote.shop import A40
from tests.remote.world import NEED, FastClock

NAME = "reply-train-tiny-0123abcd"
MACHINE = Machine("job0x", NAME, 1.8)
BEGAN = datetime(2026, 11, 26, tzinfo=UTC)


def refusal(status: int | None) -> Exception:
    """An error of the client: with the Hub's status, or without an answer."""
    request = httpx.Request("GET", "http://127.0.0.1:1")
    if status is None:
        return httpx.ReadTimeout("slow", request=request)
    return httpx.HTTPStatusError(
        f"status {status}", request=request, response=httpx.Response(status, request=request)
    )


def job_row(stage="RUNNING", name=NAME, job_id="job0x", seconds=None, **more):
    durations = None if seconds is None else Of(running_secs=seconds)
    times = {"created_at": BEGAN, "started_at": BEGAN + timedelta(seconds=600), "finished_at": None, **more}
    labels = {"name": name} if name else None
    return Of(id=job_id, labels=labels, status=Of(stage=stage), durations=durations, flavor="l40sx1", **times)


@dataclass
class Hub:
    """What of HfApi a job needs. script: name of a call -> problems of the next ones, then as it is."""

    jobs: list[Of] = field(default_factory=lambda: [job_row()])
    script: dict[str, list] = field(default_factory=dict)
    calls: list[tuple[str, dict]] = field(default_factory=list)
    is_private: bool | None = True
    streams: list[list] = field(default_factory=list)

    def _met(self, call: str, **options):
        self.calls.append((call, options))
        problem = self.script.get(call, [None]).pop(0) if self.script.get(call) else None
        if problem:
            raise problem

    def names(self) -> list[str]:
        return [call for call, _ in self.calls]

    def whoami(self):
        return {"name": "ann"}

    def list_jobs_hardware(self):
        gpu = Of(model="L40S", quantity="1", vram="48 GB")
        row = {"pretty_name": "L40S", "accelerator": gpu, "ephemeral_storage": "380 GB"}
        return [Of(name="l40sx1", unit_cost_usd=0.03, unit_label="minute", **row)]

    def run_job(self, **request):
        self._met("run_job", **request)
        return job_row()

    def list_jobs(self, **options):
        self._met("list_jobs", **options)
        return list(self.jobs)

    def inspect_job(self, job_id, namespace):
        self._met("inspect_job", job_id=job_id, namespace=namespace)
        return next((job for job in self.jobs if job.id == job_id), None) or self._missing()

    def _missing(self):
        raise refusal(404)

    def fetch_job_logs(self, job_id, namespace, follow):
        self._met("fetch_job_logs", follow=follow)
        for line in self.streams.pop(0):
            if isinstance(line, Exception):
                raise line
            yield line

    def cancel_job(self, job_id, namespace):
        self._met("cancel_job")
        self.jobs = [replace_stage(job) if job.id == job_id else job for job in self.jobs]

    def create_repo(self, repo, **options):
        self._met("create_repo", repo=repo, **options)

    def repo_info(self, repo, **options):
        self._met("repo_info", repo=repo, **options)
        return Of(private=self.is_private)

    def upload_file(self, **options):
        self._met("upload_file", **options)

    def hf_hub_download(self, repo, name, **options):
        self._met("hf_hub_download", repo=repo, name=name, **options)

    def delete_repo(self, repo, **options):
        self._met("delete_repo", repo=repo, **options)


def replace_stage(job):
    return Of(**{**vars(job), "status": Of(stage="CANCELED")})


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def fast():
    return FastClock(0)


@pytest.fixture
def engine(hub, fast):
    return HfJobs(hub, fast.clock(), print)


@pytest.fixture
def job(tmp_path):
    work = Work("setup", "train", "replies", "pack")
    return Job(NAME, "tiny", tmp_path / "k", tmp_path / "p", work, NEED, {"HF_TOKEN": "hf_secret"})


# --- asking --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem, n_asked, error",
    [
        (refusal(None), 3, None), (OSError("cut"), 3, None), (ValueError("a lost HEAD"), 3, None),
        (refusal(500), 3, None), (refusal(503), 3, None), (refusal(429), 3, None),
        (refusal(401), 1, "refuses HF_TOKEN"), (refusal(403), 1, "refuses HF_TOKEN"),
        (refusal(404), 1, "404"), (refusal(400), 1, "400"), (refusal(499), 1, "499"),
    ],
)  # fmt: skip
def test_what_passes_is_asked_again_and_a_refusal_is_a_sentence(fast, problem, n_asked, error):
    answers, asked = [problem, problem, None], []

    def ask():
        asked.append(answer := answers[len(asked)])
        if answer:
            raise answer
        return "answer"

    if error:
        with pytest.raises(UserError, match=error):
            patiently(fast.clock(), ask)
    else:
        assert patiently(fast.clock(), ask) == "answer" and fast.waits == [1, 2]
    assert len(asked) == n_asked


@pytest.mark.parametrize(
    "problem, said", [(refusal(502), "502: status 502"), (OSError("cut"), "no answer: cut")]
)
def test_patience_has_an_end(fast, problem, said):
    def ask():
        raise problem

    with pytest.raises(UserError, match=f"Hugging Face: {said}"):
        patiently(fast.clock(), ask)
    assert fast.waits == list(WAITS_S)


def test_a_404_comes_as_it_is_where_its_meaning_is_the_callers(fast):
    def ask():
        raise refusal(404)

    with pytest.raises(httpx.HTTPStatusError):
        patiently(fast.clock(), ask, may_miss=True)


def test_the_status_is_the_errors_own_or_that_of_its_cause():
    outer, middle = OSError("wrapped"), ValueError("wrapped")
    outer.__cause__, middle.__cause__ = middle, refusal(404)
    assert [status_of(error) for error in (refusal(503), outer, OSError("x"), None)] == [503, 404, None, None]


# --- starting ------------------------------------------------------------------------------------------


def test_a_job_is_asked_for_with_its_limits_and_the_token_as_a_secret(engine, hub, job, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert engine.start(replace(A40, id="l40sx1"), job, 5400) == Machine("job0x", NAME, 0.6, "RUNNING")
    sent = hub.calls[-1][1]
    script, volume = sent.pop("command")[-1], sent.pop("volumes")[0]
    assert sent == {
        "image": NEED.image, "env": None, "secrets": {"HF_TOKEN": "hf_secret"}, "flavor": "l40sx1",
        "timeout": 5400, "name": NAME, "namespace": "ann",
    }  # fmt: skip
    assert (volume.type, volume.source, volume.mount_path) == ("dataset", f"ann/{NAME}", "/parcel")
    assert "hf_secret" not in script and f"pack --repo ann/{NAME} --out ../results.tar" in script
    assert script.endswith("exit $code\n")


def test_a_parcel_goes_into_a_private_repository_that_the_hub_calls_private(engine, hub, job):
    assert engine.parcels.send(job) == f"ann/{NAME}"
    assert hub.names() == ["create_repo", "repo_info", "upload_file"]
    made, sent = hub.calls[0][1], hub.calls[2][1]
    assert (made["private"], made["repo_type"], made["repo"]) == (True, "dataset", f"ann/{NAME}")
    assert (sent["path_or_fileobj"], sent["path_in_repo"]) == (job.parcel, "parcel.tar.gz")


@pytest.mark.parametrize("is_private", [False, None])
def test_a_repository_that_is_not_private_gets_nothing_and_is_removed(engine, hub, job, is_private):
    hub.is_private = is_private
    with pytest.raises(UserError, match="could not be made private"):
        engine.parcels.send(job)
    assert hub.names() == ["create_repo", "repo_info", "delete_repo"]


@pytest.mark.parametrize(
    "problems, error, waits",
    [
        ([402], UserError, []), ([401], UserError, []), ([403], UserError, []),
        ([500], AnswerLostError, []), ([None], AnswerLostError, []), ([400], NoRoomError, []),
        ([404], NoRoomError, []), ([422], NoRoomError, []),
        ([429, 429], None, [10, 20]), ([429] * 5, NoRoomError, [10, 20, 40, 60]),
        ([429, 503], AnswerLostError, [10]),
    ],
)  # fmt: skip
def test_a_start_is_asked_again_only_while_the_hub_is_busy(engine, hub, fast, job, problems, error, waits):
    hub.script["run_job"] = [refusal(status) for status in problems]
    if error:
        with pytest.raises(error):
            engine.start(A40, job, 5400)
    else:
        engine.start(A40, job, 5400)
    assert fast.waits == waits


def test_without_a_token_nothing_is_sent(engine, hub, job):
    with pytest.raises(UserError, match="HF_TOKEN is not set"):
        engine.start(A40, replace(job, secrets={}), 5400)
    assert hub.calls == []


# --- what is there -------------------------------------------------------------------------------------


def test_jobs_of_this_project_that_may_be_billed_are_its_machines(engine, hub):
    stages = ("SCHEDULING", "RUNNING", "UPDATING", "COMPLETED", "ERROR", "CANCELED", "DELETED")
    hub.jobs = [job_row(stage, job_id=stage) for stage in stages]
    hub.jobs += [job_row(name=name, job_id="other") for name in (None, "training", NAME + "0", "x" + NAME)]
    assert [machine.id for machine in engine.machines()] == ["SCHEDULING", "RUNNING", "UPDATING"]
    assert [machine.id for machine in engine.find(NAME)] == list(stages)  # those whose job is over too
    assert hub.calls[-1][1] == {"namespace": "ann", "labels": {"name": NAME}}


@pytest.mark.parametrize(
    "stage, state",
    [
        ("SCHEDULING", "starting"), ("RUNNING", "running"), ("UPDATING", "running"), ("COMPLETED", "over"),
        ("ERROR", "over"), ("CANCELED", "ended"), ("DELETED", "absent"), ("SOMETHING_NEW", "running"),
    ],
)  # fmt: skip
def test_the_state_of_a_job(engine, hub, stage, state):
    hub.jobs = [job_row(stage)]
    assert engine.state(MACHINE) == state
    hub.jobs = []
    assert engine.state(MACHINE) == "absent"


@pytest.mark.parametrize(
    "stage, limit_s, words",
    [
        ("RUNNING", 0, None), ("COMPLETED", 0, None), ("ERROR", 0, None), ("CANCELED", 0, "was cancelled"),
        ("SCHEDULING", 1200, "no machine was free for 20 minutes"), (None, 900, "was cancelled"),
    ],
)  # fmt: skip
def test_a_job_is_waited_for_and_not_for_ever(engine, hub, fast, job, stage, limit_s, words):
    hub.jobs = [job_row(stage)] if stage else []
    if words:
        with pytest.raises(NeverUpError, match=words):
            engine.ready(MACHINE, job)
    else:
        engine.ready(MACHINE, job)
    assert limit_s <= fast.ahead_s <= limit_s + 15


def test_every_line_of_the_log_is_shown_once_though_the_stream_breaks(engine, hub, job):
    hub.streams = [
        ["one\n", "two", OSError("cut")],
        ["one\n", "two", "three"],
        ["one", "two", "three", "four"],
    ]
    shown = []
    for line in engine.logs(MACHINE, job):
        shown.append(line)
        if line == "three":
            hub.jobs = [job_row("COMPLETED")]
    assert shown == ["one", "two", "three", "four"]
    assert [options["follow"] for name, options in hub.calls if name == "fetch_job_logs"] == [
        True,
        True,
        False,
    ]


def test_a_job_without_news_is_told_after_a_quarter_of_an_hour(engine, hub, fast, job):
    hub.streams = [[OSError("cut")]] * 999
    with pytest.raises(UserError, match="no news for 15 minutes"):
        list(engine.logs(MACHINE, job))
    assert 900 <= fast.ahead_s <= 910


# --- results, end, bill --------------------------------------------------------------------------------


def test_results_are_fetched_anew_and_missing_ones_are_a_sentence(engine, hub, job):
    engine.fetch(MACHINE, job)
    asked = [options for name, options in hub.calls]
    assert [one["name"] for one in asked] == ["results.json", "results.tar"]
    assert all(one["force_download"] and one["local_dir"] == job.folder for one in asked)
    hub.script["hf_hub_download"] = [None, refusal(404)]
    with pytest.raises(UserError, match=r"left no results.tar"):
        engine.fetch(MACHINE, job)
    hub.script["hf_hub_download"] = [refusal(403)]
    with pytest.raises(UserError, match="refuses HF_TOKEN"):
        engine.fetch(MACHINE, job)


@pytest.mark.parametrize(
    "stage, n_cancels", [("RUNNING", 1), ("SCHEDULING", 1), ("COMPLETED", 0), ("CANCELED", 0), (None, 0)]
)
def test_a_job_is_cancelled_until_it_has_ended_and_then_its_repository_goes(engine, hub, stage, n_cancels):
    hub.jobs = [job_row(stage)] if stage else []
    engine.end(MACHINE)
    assert hub.names().count("cancel_job") == n_cancels
    assert hub.calls[-1] == (
        "delete_repo",
        {"repo": f"ann/{NAME}", "repo_type": "dataset", "missing_ok": True},
    )


def test_a_cancel_that_fails_is_made_again_and_one_that_never_helps_is_told(engine, hub):
    hub.script["cancel_job"] = [refusal(500), refusal(None)]
    engine.end(MACHINE)
    assert hub.names().count("cancel_job") == 3
    hub.jobs, hub.script["cancel_job"] = [job_row()], [refusal(500)] * 99
    hub.calls.clear()
    with pytest.raises(UserError, match=r"job0x\) may still be billed.*END=1"):
        engine.end(MACHINE)
    assert "delete_repo" not in hub.names()  # the job may still want it


def test_of_a_machine_that_never_was_the_repository_goes(engine, hub):
    engine.end(Machine("", NAME))
    assert hub.names() == ["delete_repo"] and engine.billed(Machine("", NAME)) is None


@pytest.mark.parametrize(
    "problems, is_gone", [([404], True), ([500, None], True), ([500] * 4, True), ([500] * 5, False)]
)
def test_a_repository_of_tweets_that_is_not_gone_is_told(engine, hub, problems, is_gone):
    hub.script["delete_repo"] = [refusal(status) for status in problems]
    if is_gone:
        engine.parcels.remove(NAME)
    else:
        with pytest.raises(UserError, match=r"could not be removed.*END=1"):
            engine.parcels.remove(NAME)


@pytest.mark.parametrize(
    "row, usd",
    [
        (job_row("RUNNING", seconds=600), None), (job_row("SCHEDULING", seconds=0), None),
        (job_row("COMPLETED", seconds=0), 0.0), (job_row("COMPLETED", seconds=1), 0.03),
        (job_row("ERROR", seconds=60), 0.03), (job_row("CANCELED", seconds=61), 0.06),
        (job_row("COMPLETED", finished_at=BEGAN + timedelta(seconds=660)), 0.03),
        (job_row("CANCELED", started_at=None, finished_at=BEGAN + timedelta(seconds=660)), 0.0),
    ],
)  # fmt: skip
def test_a_bill_is_of_started_minutes_of_running_once_it_is_over(engine, hub, row, usd):
    hub.jobs = [row]
    assert engine.billed(MACHINE) == usd


def test_where_the_flavor_is_no_longer_listed_the_price_is_the_machines(engine, hub, monkeypatch):
    hub.jobs = [job_row("COMPLETED", seconds=3600)]
    monkeypatch.setattr(hub, "list_jobs_hardware", list)
    assert engine.billed(MACHINE) == pytest.approx(1.8)


def test_the_list_of_results_is_sent_last_and_what_cannot_be_sent_is_an_error(hub, tmp_path, monkeypatch):
    import huggingface_hub

    waits = []
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **options: hub)
    monkeypatch.setattr(hf_parcel.time, "sleep", waits.append)
    hub.script["upload_file"] = [refusal(500), None, refusal(None), None]
    send_results(tmp_path / "results.tar", "ann/x")
    sent = [(options["path_in_repo"], options["repo_type"]) for _, options in hub.calls]
    assert sent == [("results.tar", "dataset")] * 2 + [("results.json", "dataset")] * 2 and waits == [5, 5]
    hub.script["upload_file"] = [refusal(500)] * 5
    with pytest.raises(httpx.HTTPStatusError):
        send_results(tmp_path / "results.tar", "ann/x")
