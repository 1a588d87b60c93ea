"""Findings of a checkup, a line each: what is here, what is missing, how to mend it.

Nothing but Python is needed, so that they can be had before anything is installed.
"""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lib.base.endpoints import Answer, Endpoint
from lib.base.hardware import Machine
from lib.base.installed import Installed

MIN_MEMORY_GB = 6  # embeddings and the toxicity model beside a browser
WIDTH = 80


@dataclass(frozen=True)
class Finding:
    """One line of the checkup. `no` keeps the run from working here; `-` is not needed, or not yet.

    fix: the command or step that mends it.
    """

    name: str
    state: Literal["ok", "no", "-", "?"]
    said: str
    fix: str = ""


def machine_findings(machine: Machine) -> list[Finding]:
    """System, Python, make and memory, whatever the run is."""
    system = f"macOS {machine.release}" if machine.system == "Darwin" else machine.system
    python = ".".join(map(str, machine.python))
    memory = f"{machine.memory_gb:.0f} GB"
    return [
        _judged("system", f"{system}, {machine.processor}", machine.system_problem),
        _judged("Python", python, machine.python_problem),
        Finding("make", "ok", machine.make)
        if machine.make
        else Finding("make", "no", "not found", "On a Mac: xcode-select --install. Else: the package make"),
        Finding("memory", "ok", memory)
        if machine.memory_gb >= MIN_MEMORY_GB
        else Finding("memory", "-", f"{memory} is little", "Close other programs before `make data`"),
    ]


def _judged(name: str, said: str, problem: str | None) -> Finding:
    return Finding(name, "no", said, problem) if problem else Finding(name, "ok", said)


def package_findings(files: Mapping[str, Sequence[Installed]], own: str) -> list[Finding]:
    """A line per requirements file. own: the one that this machine's .venv is made of."""
    found = []
    for file, packages in files.items():
        is_pod = "runpod" in file
        fix = "make setup-runpod" if is_pod else "make setup"
        name = "packages, pod" if is_pod else "packages"
        missing = [package.name for package in packages if package.version is None]
        others = [
            f"{package.name} {package.version} instead of {package.wanted}"
            for package in packages
            if package.version is not None and not package.fits
        ]
        said = [f"not installed: {_few(missing)}"] if missing else []
        said += [f"other versions: {_few(others)}"] if others else []
        if not said:
            found.append(Finding(name, "ok", f"{len(packages)} as {file} says"))
        elif file == own:
            found.append(Finding(name, "no", "; ".join(said), fix))
        else:
            n_fit = sum(package.fits for package in packages)
            found.append(Finding(name, "-", f"{n_fit} of {len(packages)} of {file}; not needed here"))
    return found


def _few(names: Sequence[str], n_shown: int = 4) -> str:
    more = len(names) - n_shown
    return ", ".join(names[:n_shown]) + (f" and {more} more" if more > 0 else "")


def network_finding(endpoints: Sequence[Endpoint], answers: Sequence[Answer]) -> Finding:
    """Which of the services answer at all."""
    silent = [
        (endpoint, answer.why)
        for endpoint, answer in zip(endpoints, answers, strict=True)
        if answer.state == "offline"
    ]
    if not silent:
        return Finding("network", "ok", f"{', '.join(endpoint.host for endpoint in endpoints)} answer")
    hosts = ", ".join(endpoint.host for endpoint, _ in silent)
    moved = [endpoint.base_variable for endpoint, _ in silent if os.environ.get(endpoint.base_variable)]
    fix = f"Look at {', '.join(moved)}" if moved else "What is here works offline; else check the network"
    return Finding("network", "?", f"no answer from {hosts} ({silent[0][1]})", fix)


def key_finding(endpoint: Endpoint, answer: Answer, use: str) -> Finding:
    """A key, and whether its service takes it. use: the command that wants it, and where to get one."""
    name, host = endpoint.key_variable, endpoint.host
    if not endpoint.key:
        return Finding(name, "-", "not set", use)
    if answer.state == "accepted":
        return Finding(name, "ok", f"accepted by {host}")
    if answer.state == "refused":
        return Finding(name, "?", f"refused by {host}: {answer.why}", use)
    return Finding(name, "?", "set; not tried" if answer.state == "offline" else f"set; {host}: {answer.why}")


def table(findings: Sequence[Finding]) -> str:
    """The lines for the terminal, 80 columns wide; after what is not right, how to mend it."""
    first = max(len(finding.name) for finding in findings) + 2
    indent = " " * (6 + first)
    lines = []
    for finding in findings:
        start = f"  {finding.state:<3} {finding.name:<{first}}"
        fix = f"→ {finding.fix}" if finding.fix else ""
        whole = f"{finding.said}  {fix}".rstrip()
        parts = [whole] if len(indent + whole) <= WIDTH else [finding.said, fix]
        wrapped = [
            textwrap.wrap(part, WIDTH - len(indent), break_on_hyphens=False, break_long_words=False)
            for part in parts
        ]
        said = [line for part in wrapped for line in part]
        lines += [start + said[0], *(indent + line for line in said[1:])]
    return "\n".join(lines)
