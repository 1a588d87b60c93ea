"""Benchmarks: the machine they ran on, the peak memory of one run, the tables of docs/benchmarks.md."""

import contextlib
import importlib.metadata
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import write_text


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, columns with numbers to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    marks = [
        "---:" if any(re.match(r"[-+]?\d", row[column]) for row in body) else "---"
        for column in range(len(header))
    ]
    lines = [header, marks, *body]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write_table(path: Path, name: str, markdown: str) -> None:
    """Replace what stands between `<!-- bench:name -->` and `<!-- /bench:name -->` in path.

    Raises UserError if they are not there.
    """
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise UserError(
            f"{path}: the table has no place. Put the two lines {start} and {end} where it belongs, then run "
            "this again."
        )
    before, after = text[: text.index(start)], text[text.index(end) :]
    write_text(path, f"{before}{start}\n{markdown.strip()}\n{after}")


def machine_line(*packages: str) -> str:
    """Processor, cores, memory, system, Python, the versions of packages, the date."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = [
        "Python " + platform.python_version(),
        *(f"{package} {importlib.metadata.version(package)}" for package in packages),
    ]
    parts = [
        _processor(),
        f"{os.cpu_count()} cores",
        f"{memory_gb:.0f} GB",
        f"{platform.system()} {platform.machine()}",
        *versions,
    ]
    return ", ".join([*parts, f"{datetime.now(UTC):%Y-%m-%d}"])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if cpuinfo.is_file()
        else None
    )
    return found.group(1) if found else platform.processor() or platform.machine()


def peak_memory_mb() -> float:
    """The most memory this process has held so far, in 10^6 bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    )  # macOS counts bytes, Linux kibibytes


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds that function(*args) took, and its result."""
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args) in a process of its own, so that its peak memory is its own. function: of a module."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def measured(modules: Sequence[Sequence[str]], folder: Path, max_gb: float) -> tuple[float, float]:
    """Seconds, and peak resident memory in GB of all processes together, of modules run one after the other.

    modules: each a module's name and its arguments. Above max_gb the run is ended, and its seconds are nan.
    """
    start, peak = time.monotonic(), 0.0
    told = filter(None, os.environ.get("PYTHONPATH", "").split(":"))
    search = [str(Path(entry).absolute()) for entry in (".", *told)]  # the modules run in another folder
    environment = {**os.environ, "PYTHONPATH": ":".join(search)}
    for command in modules:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            while process.poll() is None:
                peak = max(peak, _group_gb(process.pid))
                if peak > max_gb:
                    return math.nan, peak
                time.sleep(0.5)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if process.wait():
            raise UserError(f"{' '.join(command)} failed; what it said stands above.")
    return time.monotonic() - start, peak


def _group_gb(group: int) -> float:
    listed = subprocess.run(["ps", "-axo", "pgid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return sum(int(rss) for pgid, rss in rows if int(pgid) == group) * 1024 / 1e9
