"""A function of one text, run over many texts in more than one process."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import ModuleType
from typing import TypeVar

R = TypeVar("R")

MIN_TEXTS = 1000  # per process: a process needs about half a second before its first text
CHUNK = 250  # texts that go to a process at once


def map_texts(function: Callable[[str], R], texts: Sequence[str], processes: int | None = None) -> list[R]:
    """[function(text) for text in texts], in several processes (None: up to 8, where there are enough texts).

    function: of a module, which every process imports for itself. What it raises is raised here.
    Raises BrokenProcessPool, a RuntimeError, where a process dies.
    """
    if processes is None:
        processes = min(os.cpu_count() or 1, 8, len(texts) // MIN_TEXTS)
    processes = min(processes, len(texts))
    if processes < 2:
        return [function(text) for text in texts]
    # spawn everywhere, as on a Mac: a fork would copy torch's locks in whatever state its threads hold them.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_with_parent) as pool:
        with _main_aside():
            results = pool.map(function, texts, chunksize=min(CHUNK, -(-len(texts) // processes)))
        return list(results)


@contextlib.contextmanager
def _main_aside() -> Iterator[None]:
    """While processes start: spawn would run the caller's main file again, and none of it is needed there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end_with_parent() -> None:
    """An end without a traceback of its own: at Ctrl-C, and with the process that waits for the answer."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is ignored (nohup)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
