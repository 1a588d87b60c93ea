"""This machine: system, Python, make, disk, memory, GPUs, asked of the system itself, without a library."""

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 10
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
OLDEST_MACOS = 14  # of torch's wheels
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
SUPPORTED = {"Darwin": ("arm64",), "Linux": ("x86_64", "aarch64", "arm64")}


@dataclass(frozen=True)
class Card:
    """An NVIDIA GPU. memory_gb: 1e9 bytes."""

    name: str
    memory_gb: float


@dataclass(frozen=True)
class Machine:
    """What a run can count on. Sizes are GB (1e9 bytes)."""

    system: str  # Darwin, Linux
    release: str  # of macOS; empty elsewhere
    processor: str  # x86_64, arm64
    python: tuple[int, int, int]
    make: str | None  # "GNU Make 4.3"
    disk_gb: float  # free where the project lies
    memory_gb: float  # what this process may have of it: a container's limit counts
    cards: tuple[Card, ...] = ()
    cards_problem: str | None = None  # why nvidia-smi, which is there, does not answer

    @property
    def is_apple(self) -> bool:
        """Apple silicon: its GPU (MPS) shares the memory."""
        return (self.system, self.processor) == ("Darwin", "arm64")

    @property
    def system_problem(self) -> str | None:
        """Why torch has no wheel for this machine, and what to do; None where it has one."""
        if self.system == "Darwin" and self.processor == "x86_64":
            return "torch has no build for Intel. Use Apple silicon (without Rosetta) or Linux."
        if self.processor not in SUPPORTED.get(self.system, ()):
            return "torch has no build for it. Use a Mac with Apple silicon, or Linux on x86-64 or arm64."
        if self.system == "Darwin" and int(self.release.partition(".")[0] or 0) < OLDEST_MACOS:
            return f"torch needs macOS {OLDEST_MACOS} or newer. Update macOS."
        return None

    @property
    def python_problem(self) -> str | None:
        """The fix where this Python cannot be used; None where it can."""
        if OLDEST_PYTHON <= self.python[:2] <= NEWEST_PYTHON:
            return None
        return "Python 3.11, 3.12 or 3.13 is needed. On a Mac: brew install python@3.12"


def this_machine(folder: Path) -> Machine:
    """The machine that runs this; its disk is the one that folder lies on."""
    cards, problem = nvidia_cards()
    return Machine(
        system=platform.system(),
        release=platform.mac_ver()[0],
        processor=platform.machine(),
        python=sys.version_info[:3],
        make=(_output("make", "--version") or "").split("\n")[0] or None,
        disk_gb=shutil.disk_usage(folder).free / 1e9,
        memory_gb=_memory_bytes() / 1e9,
        cards=cards,
        cards_problem=problem,
    )


def nvidia_cards() -> tuple[tuple[Card, ...], str | None]:
    """(the GPUs that nvidia-smi lists, why it lists none although it is installed)."""
    if shutil.which("nvidia-smi") is None:
        return (), None
    listed = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    found = re.findall(r"(?m)^(.+), *(\d+)\s*$", listed or "")  # MiB; [N/A] where the memory is the system's
    cards = tuple(Card(name.strip(), int(mib) * 2**20 / 1e9) for name, mib in found)
    return cards, None if cards else "Look what `nvidia-smi` says: the driver does not answer"


def _output(*command: str) -> str | None:
    """A program's output; None if it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _memory_bytes() -> int:
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, CGROUP_LIMITS):
        if path.is_file() and (text := path.read_text().strip()).isdecimal():  # "max": no limit
            limits.append(int(text))
    return min(limits)


def idle_cores() -> int:
    """Cores that nobody else uses at the moment, one at least.

    Threads beyond them wait for each other: on two busy cores a step took 125 s with two and 30 s with one.
    """
    return max(1, round((os.cpu_count() or 1) - os.getloadavg()[0]))
