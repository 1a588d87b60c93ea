"""Runs on a pod from its first second and ends it at its deadline, whatever became of the laptop.

Only the standard library: it starts before anything is installed. It uses the pod's own key, which RunPod
puts there and which can touch no other machine. Its state is a file, so that home sees that the key works.
"""

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

LOOK_S = 20


def call(method: str, path: str, body: dict[str, str] | None = None) -> int:
    """The status of a request to RunPod about this pod; 0 if there was no answer."""
    request = urllib.request.Request(
        os.environ["REPLIES_API"] + path,
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={
            "Authorization": "Bearer " + os.environ.get("RUNPOD_API_KEY", ""),
            "Content-Type": "application/json",
            "User-Agent": "reply-train-watchdog",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def main() -> None:
    """Look until the deadline, then end the pod, and go on trying as long as it lives."""
    folder = Path(os.environ.get("REPLIES_ROOT", "") + "/workspace/.watchdog")
    folder.mkdir(parents=True, exist_ok=True)
    pod = "/pods/" + os.environ.get("RUNPOD_POD_ID", "")
    kept = folder / "deadline"  # a container that restarts gets no second life
    if not kept.exists():
        kept.write_text(str(time.time() + int(os.environ["REPLIES_SECONDS"])))
    deadline = float(kept.read_text())
    while (left := deadline - time.time()) > 0:
        state = {"pid": os.getpid(), "at": time.time(), "deadline": deadline, "status": call("GET", pod)}
        (folder / "state.partial").write_text(json.dumps(state))
        (folder / "state.partial").replace(folder / "state.json")
        time.sleep(min(LOOK_S, left))
    while (
        True
    ):  # a pod's own key may be refused a DELETE: then stopping, which ends all of the bill but the disk's
        if call("DELETE", pod) not in (200, 202, 204):
            call("POST", pod + "/action", {"action": "terminate"})
            call("POST", pod + "/action", {"action": "stop"})
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
