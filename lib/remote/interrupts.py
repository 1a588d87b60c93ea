"""Signals on the way out: the swallowed one is raised again, the deadly ones leave through `finally`."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise the Ctrl-C that was swallowed within, as by huggingface_hub's log stream.

    1.33.0: `except KeyboardInterrupt: break`. Signals reach the main thread only; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


@contextlib.contextmanager
def signals_end() -> Iterator[None]:
    """SIGTERM and a closed terminal leave through `finally`, like everything else: the machine is ended."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
