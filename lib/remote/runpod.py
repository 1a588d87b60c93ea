"""The engine RunPod: one pod per job, reached by ssh, that ends itself at its deadline."""

import base64
import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import write_bytes
from lib.remote.parcel import listing
from lib.remote.reach import POLL_S, Reach
from lib.remote.runpod_api import RunPodApi
from lib.remote.seam import MACHINE_NAME, Clock, Job, Machine, Need, NeverUpError, Offer, Say, State, same_gpu
from lib.remote.ssh import CommandError, LostError, Shell, has_keys, host_key, make_keys, public_key
from lib.remote.tmux import BOOT, Place, poll_command, start_command, unpack_command, work_script

GONE_LOOKS_S = (0, 2, 5, 10, 20, 30, 60)
LIST_LAG_S = 5
GRACE_S = 120  # the pod's own watchdog comes first
SILENT_S = 900  # no answer from a pod that the API calls running
GB_MONTH_USD = 0.10  # disk of a running pod
CONTAINER_GB = 20
PART_BYTES = 16 * 2**20
ARGS = """bash -c 'eval "$(echo $REPLIES_BOOT | base64 -d)"'"""


class RunPod:
    """seam.Engine over RunPod. force: train on a pod that cannot end itself. root: of the pod's files."""

    name = "runpod"

    def __init__(self, api: RunPodApi, clock: Clock, say: Say, force: bool = False, root: str = "") -> None:
        self.api, self.clock, self.say, self.force, self.place = api, clock, say, force, Place(root)
        self.reach = Reach(api, clock, say, self.place)

    def offers(self, need: Need) -> list[Offer]:
        disk = (need.disk_gb + CONTAINER_GB) * GB_MONTH_USD / 730
        found = []
        for gpu in self.api.gpus(need.min_cuda):
            names = str(gpu.get("id")), str(gpu.get("name"))
            wanted = next((candidate for candidate in need.gpus if same_gpu(candidate.name, *names)), None)
            price, memory = (gpu.get("price") or {}).get("secure"), gpu.get("memory")
            if wanted is None or not price or not isinstance(memory, int | float) or memory < need.memory_gb:
                continue
            stock = str(gpu.get("availability") or "?")
            found.append(
                Offer(self.name, names[1], names[0], memory, float(price) + disk, stock, wanted.minutes)
            )
        return found

    def start(self, offer: Offer, job: Job, seconds: int) -> Machine:
        make_keys(job.folder, job.name)
        body = {
            "name": job.name,
            "image": job.need.image,
            "gpu": {"id": offer.id, "count": 1, "minCudaVersion": job.need.min_cuda},
            "cloud": "SECURE",
            "disk": CONTAINER_GB,
            "mounts": {"persistent": {"size": job.need.disk_gb, "path": "/workspace"}},
            "ports": ["22/tcp"],
            "startSsh": True,
            "env": {**boot_env(job.folder, self.api.base_url, seconds), **job.secrets},
            "args": ARGS,
        }
        return _machine(self.api.create(body))

    def find(self, name: str) -> list[Machine]:
        return [machine for machine in self.machines() if machine.name == name]

    def machines(self) -> list[Machine]:
        pods = [_machine(pod) for pod in self.api.pods() if MACHINE_NAME.fullmatch(str(pod.get("name")))]
        return [machine for machine in pods if machine.status != "TERMINATED"]

    def state(self, machine: Machine) -> State:
        pod = self.reach.pod(machine.id)
        if pod is None:
            return "absent"
        status = pod.get("status")
        return "ended" if status in ("EXITED", "ERROR") else "running" if status == "RUNNING" else "starting"

    def ready(self, machine: Machine, job: Job) -> None:
        if not has_keys(job.folder):
            raise NeverUpError("its ssh keys are no longer on this computer")
        self.reach.connect(machine, job)
        if problem := self.reach.prove_watchdog(machine, job):
            if not self.force:
                raise UserError(
                    f"The pod cannot end itself ({problem}), so a closed laptop could cost without limit. "
                    "Nothing was trained. "
                    "FORCE=1 trains all the same; then this command has to run until the end."
                )
            self.say(f"warning: the pod cannot end itself ({problem}); FORCE=1 goes on")
        try:
            status = self.reach.run(machine, job, poll_command(self.place, 0, limit=0)).split(b"\n", 1)[0]
            if status not in (b"new", b"gone"):
                return  # it works, or has worked
            self.say("copying the project and the processed data")
            self.reach.run(machine, job, unpack_command(self.place), stdin=job.parcel, timeout_s=1800)
            script = job.folder / "work.sh"
            write_bytes(script, work_script(self.place, job.work).encode())
            self.reach.run(machine, job, start_command(self.place), stdin=script)
        except (LostError, CommandError) as error:
            raise NeverUpError(f"the job could not be started there ({error})") from error

    def logs(self, machine: Machine, job: Job) -> Iterator[str]:
        offset, rest, heard = 0, b"", self.clock.now()
        shell: Shell | None = None
        while True:
            try:
                shell = shell or self.reach.shell(machine, job)
                status, _, more = shell.run(poll_command(self.place, offset)).partition(b"\n")
            except (LostError, CommandError, UserError) as error:  # UserError: the API does not answer either
                shell = None
                self._refuse_silence(machine, heard, error)
                self.clock.sleep(POLL_S)
                continue
            heard = self.clock.now()
            offset += len(more)
            *lines, rest = (rest + more).replace(b"\r", b"\n").split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines if line.strip())
            if self.clock.now() > job.ends_at + GRACE_S:
                raise UserError(
                    f"{machine.name} is past its deadline and has not ended itself. It is ended now; raise "
                    "`remote: {max_minutes}` if the job needs longer."
                )
            if more:
                continue
            if status == b"gone":
                raise UserError(
                    f"The job on {machine.name} died without a word (out of memory?). Run the same command "
                    "again."
                )
            if status != b"running":
                yield from [rest.decode("utf-8", "replace")] if rest.strip() else []
                return
            self.clock.sleep(POLL_S)

    def _refuse_silence(self, machine: Machine, heard: float, error: Exception) -> None:
        """Raise UserError if the machine is gone, or has been silent for longer than a bad line explains."""
        state: State | None = None
        with contextlib.suppress(UserError):
            state = self.state(machine)
        if state in ("absent", "ended"):
            raise UserError(
                f"{machine.name} ended before its job did: by its own deadline, by RunPod, or for want of "
                "balance. "
                "Run the same command again to start anew (`make costs` shows what it cost)."
            ) from error
        if self.clock.now() - heard > SILENT_S:
            raise UserError(
                f"{machine.name} has not answered for {SILENT_S // 60} minutes ({error}). Run it again."
            ) from error

    def fetch(self, machine: Machine, job: Job) -> None:
        tar, results = job.folder / "results.tar", shlex.quote(self.place.results)
        try:
            write_bytes(job.folder / "results.json", self.reach.run(machine, job, f"cat {results}.json"))
            size = listing(job.folder)["bytes"]
            if tar.is_file() and tar.stat().st_size > size:
                tar.unlink()
            with tar.open("ab") as handle:  # goes on where a broken connection left off
                while (done := handle.tell()) < size:
                    command = f"tail -c +{done + 1} {results}.tar | head -c {PART_BYTES}"
                    part = self.reach.run(machine, job, command, timeout_s=600)
                    if not part:
                        raise UserError(
                            f"{tar}: {machine.name} has fewer bytes than it said. Run the same command again."
                        )
                    handle.write(part)
        except CommandError as error:
            raise UserError(
                f"{machine.name} made no results: its job failed before. Read the lines above."
            ) from error
        except LostError as error:
            raise UserError(
                f"{machine.name} does not answer any more ({error}); its results are not here."
            ) from error

    def end(self, machine: Machine) -> None:
        """DELETE until the pod is neither answered for nor listed: a 404 alone is no proof, nor is a 204."""
        if not machine.id:
            return
        for wait_s in GONE_LOOKS_S:
            self.clock.sleep(wait_s)
            with contextlib.suppress(UserError):
                status = self.api.delete(machine.id)
                if self.reach.pod(machine.id) is None:
                    if status in (200, 202, 204):
                        return
                    self.clock.sleep(
                        LIST_LAG_S
                    )  # it was gone before this DELETE; a list may lag behind, so it is read twice
                    if self.reach.pod(machine.id) is None:
                        return
        raise UserError(
            f"{machine.name} ({machine.id}) may still be billed: RunPod has not confirmed its end. It ends "
            "itself at its deadline; "
            "run `make rented END=1`, or terminate it at console.runpod.io/pods."
        )

    def billed(self, machine: Machine) -> float | None:
        return self.api.billed(machine.id) if machine.id else None


def runpod(clock: Clock, say: Say) -> RunPod:
    """The engine as the environment says: RUNPOD_API_KEY, RUNPOD_API_BASE_URL, FORCE."""
    return RunPod(RunPodApi(clock), clock, say, force=os.environ.get("FORCE") == "1")


def boot_env(folder: Path, api_url: str, seconds: int) -> dict[str, str]:
    """The environment of the pod's first process.

    PUBLIC_KEY stands instead of the account's own keys, which nobody here has to touch.
    """
    watchdog = Path(__file__).with_name("watchdog.py").read_bytes()
    return {
        "PUBLIC_KEY": public_key(folder),
        "REPLIES_HOST_KEY": host_key(folder),
        "REPLIES_BOOT": base64.b64encode(BOOT.encode()).decode(),
        "REPLIES_WATCHDOG": base64.b64encode(watchdog).decode(),
        "REPLIES_API": api_url,
        "REPLIES_SECONDS": str(seconds),
    }


def _machine(pod: dict[str, Any]) -> Machine:
    cost = pod.get("cost")
    return Machine(
        str(pod["id"]),
        str(pod.get("name")),
        float(cost) if isinstance(cost, int | float) else 0.0,
        str(pod.get("status")),
    )
