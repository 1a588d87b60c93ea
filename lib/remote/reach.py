"""Reaching a pod: where it is now, ssh in bounded time, patience, proof that it can end itself."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.remote.runpod_api import RunPodApi
from lib.remote.seam import Clock, Job, Machine, NeverUpError, Say
from lib.remote.ssh import CommandError, LostError, Shell
from lib.remote.tmux import FRESH_S, Place

UP_S = 600  # from here to a container with an address
RUNTIME_S = 300  # RUNNING without a runtime: the container never starts, and is billed
SSH_S = 150  # from an address to an answer
SEEN_S = 120  # after a create, a GET may answer 404 for a while
POLL_S = 5
TRIES = 8
PROOF_LOOKS = 12


class Reach:
    """One account's pods by ssh. door: opens a shell at an address."""

    def __init__(
        self, api: RunPodApi, clock: Clock, say: Say, place: Place, door: Callable[..., Shell] = Shell
    ) -> None:
        self.api, self.clock, self.say, self.place, self._door = api, clock, say, place, door

    def pod(self, pod_id: str) -> dict[str, Any] | None:
        """The pod as GET or the list knows it; None: neither does, or it is terminated."""
        pod = self.api.pod(pod_id) or next((pod for pod in self.api.pods() if pod.get("id") == pod_id), None)
        return None if pod is None or pod.get("status") == "TERMINATED" else pod

    def shell(self, machine: Machine, job: Job) -> Shell:
        """ssh to where the pod is now: its port changes when it restarts. Raises LostError."""
        return self._shell(self.pod(machine.id) or {}, job)

    def _shell(self, pod: dict[str, Any], job: Job) -> Shell:
        direct = (pod.get("ssh") or {}).get("direct")
        if not isinstance(direct, dict) or not isinstance(direct.get("port"), int) or not pod.get("runtime"):
            raise LostError("it has no address yet")
        return self._door(
            job.folder, job.name, str(direct.get("host")), direct["port"], str(direct.get("username"))
        )

    def connect(self, machine: Machine, job: Job) -> None:
        """Return once ssh answers. Raises NeverUpError for a pod that does not come up, in bounded time."""
        began = self.clock.now()
        running_since = address_since = None
        problem = "it never ran"
        while True:
            pod, now = self.pod(machine.id), self.clock.now()
            status = str(pod.get("status")) if pod else None
            if status in ("EXITED", "ERROR") or (pod is None and now - began > SEEN_S):
                raise self._never(machine, f"it is {(status or 'absent').lower()}")
            if pod and status == "RUNNING":
                running_since = running_since or now
                try:
                    shell = self._shell(pod, job)
                    address_since = address_since or now
                    shell.run("true", timeout_s=30)
                    return
                except (LostError, CommandError) as error:
                    problem = str(error)
                if not pod.get("runtime") and now - running_since > RUNTIME_S:
                    raise self._never(
                        machine,
                        "its container never started (the disk is too small, or the host's driver too old)",
                    )
            if (address_since and now - address_since > SSH_S) or now - began > UP_S:
                raise self._never(machine, f"ssh never answered: {problem}")
            self.clock.sleep(POLL_S)

    def _never(self, machine: Machine, reason: str) -> NeverUpError:
        with contextlib.suppress(UserError):
            last = [line.strip()[:160] for line in self.api.logs(machine.id) if line.strip()][-3:]
            reason = "; ".join([reason, *(f"its log: {line}" for line in last)])
        return NeverUpError(reason)

    def run(
        self, machine: Machine, job: Job, command: str, stdin: Path | None = None, timeout_s: float = 120
    ) -> bytes:
        """The output of a command that may run twice.

        Raises CommandError, or LostError when no patience helps.
        """
        for attempt in range(TRIES):
            try:
                return self.shell(machine, job).run(command, stdin, timeout_s)
            except LostError:
                if attempt == TRIES - 1:
                    raise
            self.clock.sleep(POLL_S)
        raise AssertionError("unreachable")

    def prove_watchdog(self, machine: Machine, job: Job) -> str | None:
        """None if the watchdog lives and RunPod has answered to the pod's own key, else what is wrong."""
        reason = "its watchdog is not running"
        for _ in range(PROOF_LOOKS):
            with contextlib.suppress(
                LostError, CommandError, ValueError, AttributeError, KeyError, TypeError
            ):
                age, _, text = self.run(machine, job, self.place.watchdog_command).partition(b"\n")
                state = json.loads(text)
                if float(age) > FRESH_S:
                    reason = "its watchdog no longer runs"
                elif state.get("status") != 200:
                    reason = f"RunPod answers {state.get('status')} to the pod's own key"
                else:
                    left = (float(state["deadline"]) - float(state["at"])) / 60
                    self.say(
                        f"the pod's own watchdog works: it ends the pod in {left:.0f} minutes at the latest"
                    )
                    return None
            self.clock.sleep(POLL_S)
        return reason
