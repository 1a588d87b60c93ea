"""The engine Hugging Face Jobs: the server ends a job at its time-out, and the bill with it."""

import math
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from lib.base.errors import UserError
from lib.remote.flavors import fitting, usd_per_hour
from lib.remote.hf_calls import patiently, status_of
from lib.remote.hf_parcel import Parcels
from lib.remote.interrupts import interrupts_kept
from lib.remote.seam import (
    MACHINE_NAME,
    AnswerLostError,
    Clock,
    Job,
    Machine,
    Need,
    NeverUpError,
    NoRoomError,
    Offer,
    Say,
    State,
)
from lib.remote.tmux import install, steps

QUEUE_S = 1200  # waiting for a machine costs nothing, but not for ever
POLL_S = 5
QUEUE_POLL_S = 15
SILENT_S = 900
BUSY_WAITS_S = (10, 20, 40, 60)
GONE_LOOKS_S = (0, 2, 5, 10, 20, 30)
MOUNT = "/parcel"
STATES: dict[str, State] = {
    "SCHEDULING": "starting",
    "COMPLETED": "over",
    "ERROR": "over",
    "CANCELED": "ended",
    "DELETED": "absent",
}
ALIVE = ("SCHEDULING", "RUNNING", "UPDATING")

# REPLIES_ROOT is empty on a real job.
SCRIPT = """\
{install}
mkdir -p "$REPLIES_ROOT/tmp/replies" && cd "$REPLIES_ROOT/tmp/replies" || exit 1
tar -xzf "$REPLIES_ROOT{mount}/parcel.tar.gz" || exit 1
export PYTHONUNBUFFERED=1 ON=here
{steps}
exit $code
"""


class HfJobs:
    """seam.Engine over Hugging Face Jobs.

    A job's project and results travel through a private dataset repository of its name.
    """

    name = "hf"

    def __init__(self, api: Any, clock: Clock, say: Say) -> None:
        self.api, self.clock, self.say = api, clock, say
        self._namespace = ""

    @property
    def namespace(self) -> str:
        if not self._namespace:
            self._namespace = str(patiently(self.clock, self.api.whoami)["name"])
        return self._namespace

    @property
    def parcels(self) -> Parcels:
        return Parcels(self.api, self.namespace, self.clock)

    def offers(self, need: Need) -> list[Offer]:
        return fitting(self._hardware(), need, self.name)

    def start(self, offer: Offer, job: Job, seconds: int) -> Machine:
        from huggingface_hub import Volume

        if "HF_TOKEN" not in job.secrets:
            raise UserError(
                "HF_TOKEN is not set: Hugging Face Jobs need it, with write access. Put it into .env."
            )
        repo = self.parcels.send(job)
        work = replace(job.work, pack=f"{job.work.pack} --repo {shlex.quote(repo)}")
        script = SCRIPT.format(install=install("make"), mount=MOUNT, steps=steps(work, "../results"))
        endpoint = os.environ.get("HF_ENDPOINT", "")
        request = {
            "image": job.need.image,
            "command": ["bash", "-c", script],
            "env": {"HF_ENDPOINT": endpoint} if endpoint else None,
            "secrets": job.secrets,
            "flavor": offer.id,
            "timeout": seconds,
            "name": job.name,
            "volumes": [Volume(type="dataset", source=repo, mount_path=MOUNT)],
            "namespace": self.namespace,
        }
        for wait_s in (*BUSY_WAITS_S, None):
            try:
                return _machine(self.api.run_job(**request), offer.usd_per_hour)
            except Exception as error:  # whatever it is, it stands between the request and its answer
                status = status_of(error)
                if status == 402:
                    raise UserError(
                        "Hugging Face: no credit left for Jobs. Add some at huggingface.co/settings/billing."
                    ) from error
                if status in (401, 403):
                    raise UserError(
                        f"Hugging Face refuses HF_TOKEN for Jobs ({status}). It needs write access and "
                        "job.write."
                    ) from error
                if status is None or status >= 500:
                    raise AnswerLostError(
                        f"{type(error).__name__} {status or ''} while a job was started"
                    ) from error
                if status != 429 or wait_s is None:
                    raise NoRoomError(str(error).splitlines()[-1][:300]) from error
                self.clock.sleep(wait_s)
        raise AssertionError("unreachable")

    def find(self, name: str) -> list[Machine]:
        jobs = self._list(labels={"name": name})
        return [_machine(job) for job in jobs if (job.labels or {}).get("name") == name]

    def machines(self) -> list[Machine]:
        mine = [job for job in self._list() if MACHINE_NAME.fullmatch((job.labels or {}).get("name", ""))]
        return [_machine(job) for job in mine if job.status.stage in ALIVE]

    def state(self, machine: Machine) -> State:
        job = self._job(machine.id)
        return "absent" if job is None else STATES.get(job.status.stage, "running")

    def ready(self, machine: Machine, job: Job) -> None:
        began = self.clock.now()
        while (state := self.state(machine)) == "starting" or (
            state == "absent" and self.clock.now() - began < SILENT_S
        ):
            if self.clock.now() - began > QUEUE_S:
                raise NeverUpError(f"no machine was free for {QUEUE_S // 60} minutes")
            self.clock.sleep(QUEUE_POLL_S)
        if state in ("ended", "absent"):
            raise NeverUpError("the job was cancelled before it ran")

    def logs(self, machine: Machine, job: Job) -> Iterator[str]:
        n_seen, heard = 0, self.clock.now()
        while True:
            try:
                is_over = self.state(machine) not in ("starting", "running")
                lines = self.api.fetch_job_logs(
                    job_id=machine.id, namespace=self.namespace, follow=not is_over
                )
                with interrupts_kept():
                    for number, line in enumerate(lines):
                        heard = self.clock.now()
                        if number >= n_seen:
                            n_seen = number + 1
                            yield str(line).rstrip("\n")
                if is_over:
                    return
            except Exception as error:  # the stream breaks in many ways; what counts is the job's own state
                if self.clock.now() - heard > SILENT_S:
                    raise UserError(
                        f"{machine.name}: no news for {SILENT_S // 60} minutes ({type(error).__name__}). Run "
                        "it again."
                    ) from error
                self.clock.sleep(POLL_S)

    def fetch(self, machine: Machine, job: Job) -> None:
        self.parcels.fetch(job)

    def end(self, machine: Machine) -> None:
        """Cancel until the job has ended by the server's own word, then remove its repository."""
        for wait_s in GONE_LOOKS_S if machine.id else ():
            self.clock.sleep(wait_s)
            try:
                job = self._job(machine.id)
                if job is None or job.status.stage not in ALIVE:
                    break
                self.api.cancel_job(job_id=machine.id, namespace=self.namespace)
            except Exception as error:
                self.say(f"cancelling {machine.name}: {type(error).__name__}; trying again")
        else:
            if machine.id:
                raise UserError(
                    f"{machine.name} ({machine.id}) may still be billed: Hugging Face has not confirmed its "
                    "end. It ends itself at its "
                    "time-out; run `make rented END=1`, or cancel it at huggingface.co/settings/jobs."
                )
        self.parcels.remove(machine.name)

    def billed(self, machine: Machine) -> float | None:
        """Whole minutes of running x the flavor's price: Jobs have no billing route."""
        job = self._job(machine.id) if machine.id else None
        if job is None or job.status.stage in ALIVE:
            return None
        seconds = job.durations.running_secs if job.durations else None
        if seconds is None:
            seconds = (
                (job.finished_at - job.started_at).total_seconds()
                if job.started_at and job.finished_at
                else 0.0
            )
        price = next((usd_per_hour(row) for row in self._hardware() if row.name == job.flavor), 0.0)
        return round(math.ceil(seconds / 60) / 60 * (price or machine.usd_per_hour), 6)

    def _hardware(self) -> list[Any]:
        return patiently(self.clock, lambda: list(self.api.list_jobs_hardware()))

    def _list(self, **options: Any) -> list[Any]:
        return patiently(self.clock, lambda: list(self.api.list_jobs(namespace=self.namespace, **options)))

    def _job(self, job_id: str) -> Any | None:
        ask = partial(self.api.inspect_job, job_id=job_id, namespace=self.namespace)
        try:
            return patiently(self.clock, ask, may_miss=True)
        except Exception as error:
            if status_of(error) == 404:
                return None
            raise


def hf_jobs(clock: Clock, say: Say) -> HfJobs:
    """The engine as the environment says: HF_TOKEN, HF_ENDPOINT."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise UserError(
            "HF_TOKEN is not set: Hugging Face Jobs need it, with write access. Put it into .env."
        )
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import HfApi

    return HfJobs(HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token), clock, say)


def _machine(job: Any, usd_per_hour: float = 0.0) -> Machine:
    return Machine(str(job.id), str((job.labels or {}).get("name")), usd_per_hour, str(job.status.stage))
