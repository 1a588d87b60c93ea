"""Every machine of this project that may still be billed, by the ledgers here and by the providers' lists."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lib.base.errors import UserError
from lib.remote.books import Books
from lib.remote.ending import Ending
from lib.remote.seam import Clock, Engine, Machine, Say


@dataclass(frozen=True)
class Rented:
    """A machine that may be billed. run: "" where no ledger here knows it: another copy started it."""

    engine: str
    machine: Machine
    run: str


def engines(clock: Clock, say: Say) -> list[Engine]:
    """The engines whose key is set."""
    from lib.remote.hf_jobs import hf_jobs
    from lib.remote.runpod import runpod

    makers: list[tuple[str, Callable[[Clock, Say], Engine]]] = [
        ("RUNPOD_API_KEY", runpod),
        ("HF_TOKEN", hf_jobs),
    ]
    return [make(clock, say) for key, make in makers if os.environ.get(key, "").strip()]


@dataclass
class Look:
    """What was found. asked: engines that answered. problems: why a machine may be billed unseen."""

    machines: list[Rented]
    asked: list[str]
    problems: list[str]


def look(root: Path, known: Iterable[Engine]) -> Look:
    """Every machine once. An engine that does not answer hides no other one's machines.

    Its silence is a problem where a ledger here has had a machine of it: a token for publishing is none.
    """
    units = [(folder.name, unit) for folder in run_folders(root) for unit in Books(folder).units()]
    found = {unit.newest.key: Rented(unit.engine, unit.machine, run) for run, unit in units if unit.is_open}
    asked, problems = [], []
    for engine in known:
        try:
            machines = engine.machines()
        except UserError as problem:
            if any(unit.engine == engine.name for _, unit in units):
                problems.append(str(problem))
            continue
        asked.append(engine.name)
        for machine in machines:
            run = found[machine.name].run if machine.name in found else ""
            found[machine.name if run else machine.id] = Rented(engine.name, machine, run)
    names = {engine.name for engine in known}
    problems += [
        f"{row.machine.name} (run {row.run}) is on {row.engine}, whose key is not set: see .env.example."
        for row in found.values()
        if row.engine not in names
    ]
    return Look(list(found.values()), asked, problems)


def end_all(root: Path, known: Iterable[Engine], clock: Clock, say: Say) -> list[str]:
    """End those of the ledgers here, then all else of this project that providers list. Returns problems."""
    problems: list[str] = []
    for engine in known:
        for folder in run_folders(root):
            _try(Ending(engine, folder, clock, say).end_open, problems)
    for row in look(root, known).machines:
        engine = next((engine for engine in known if engine.name == row.engine), None)
        if engine and not row.run and _try(partial(engine.end, row.machine), problems):
            say(f"ended {row.machine.name}")
    return problems


def settle_all(root: Path, known: Iterable[Engine], clock: Clock, say: Say) -> None:
    """Book what the providers say by now about machines that have ended."""
    for engine in known:
        for folder in run_folders(root):
            _try(Ending(engine, folder, clock, say).settle, [])


def _try(act: Callable[[], None], problems: list[str]) -> bool:
    try:
        act()
    except UserError as problem:
        problems.append(str(problem))
        return False
    return True


def run_folders(root: Path) -> list[Path]:
    """adapters/<run> of every run that ever paid for something."""
    return sorted(path.parent for path in root.glob("adapters/*/ledger.jsonl"))
