"""Run a function over many texts in more than one process."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

MIN_TEXTS = 1000  # per process: a process needs about half a second before its first text

# A plain child process, not multiprocessing: that would run the caller's main file again (spawn), or copy torch's locks in
# whatever state its threads hold them (fork).
CHILD = """
import importlib, json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
path, module, name, texts = json.load(sys.stdin)
sys.path[:] = path
function = getattr(importlib.import_module(module), name)
json.dump([function(text) for text in texts], sys.stdout)
"""


def map_texts(
    function: Callable[[str], Any], texts: Sequence[str], processes: int | None = None
) -> list[Any]:
    """[function(text) for text in texts], on `processes` cores (None: all, up to 8, where there are enough texts).

    function: of a module, of one text, its result representable in JSON (a tuple may arrive as a list).
    Raises RuntimeError where a process fails; its own traceback is on stderr.
    """
    if processes is None:
        processes = min(os.cpu_count() or 1, 8, len(texts) // MIN_TEXTS)
    size = -(-len(texts) // max(processes, 1)) or 1
    parts = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
    children = [_start(function, part) for part in parts[1:]]
    try:
        results = [function(text) for text in parts[0]] if parts else []
        for child in children:
            results += _answer(child)
        return results
    finally:
        for child in children:
            child.kill()  # nothing where it has ended
            child.wait()
            child.stdout.close()


def _start(function: Callable[[str], Any], texts: list[str]) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with contextlib.suppress(BrokenPipeError), child.stdin:  # it died: _answer says so
        json.dump([sys.path, function.__module__, function.__name__, texts], child.stdin)
    return child


def _answer(child: "subprocess.Popen[str]") -> list[Any]:
    answer = child.stdout.read()
    if child.wait():
        raise RuntimeError(
            f"a process of {child.args[0]} ended with code {child.returncode}: see the traceback above"
        )
    return json.loads(answer)
