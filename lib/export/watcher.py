"""One server that never outlives what started it, not even after a kill -9: then nobody is left to end it.

    python watcher.py SECONDS COMMAND...

SECONDS: from the request to end until it is made to.
Standard input is a pipe that the starter holds open: its end is the starter's end. Linux could tell a process
that its parent died, a Mac could not. The watcher leads the process group of the server and of what that
starts.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable


def main() -> int:
    """The server's exit status, as a shell says it."""
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    for wait in (lambda: os.read(0, 1), leaving.wait):  # nothing is ever written: it returns at the end
        threading.Thread(target=_end_after, args=(wait, leaving, server, seconds), daemon=True).start()
    status = server.wait()
    if leaving.is_set():
        os.killpg(0, signal.SIGKILL)  # what the server left behind, and this watcher
    return status if status >= 0 else 128 - status


def _end_after(
    wait: Callable[[], object], leaving: threading.Event, server: subprocess.Popen, seconds: float
) -> None:
    wait()
    leaving.set()
    server.terminate()
    threading.Event().wait(seconds)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
