"""Every machine of this project that may still be billed, by the ledgers here and by the providers' lists."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.errors import UserError
from lib.remote.books import Books
from lib.remote.ending import Ending
from lib.remote.seam import Clock, Engine, Machine, Say


@dataclass(frozen=True)
class Rented:
    """A machine that may be billed. run: "" where no ledger here knows it: another copy started it."""

    engine: str
    machine: Machine
    run: str


def engines(clock: Clock, say: Say) -> tuple[list[Engine], list[str]]:
    """The engines whose key is set, and the names of those whose key is not."""
    from lib.remote.hf_jobs import hf_jobs
    from lib.remote.runpod import runpod

    makers = {"runpod": ("RUNPOD_API_KEY", runpod), "hf": ("HF_TOKEN", hf_jobs)}
    there = [make(clock, say) for key, make in makers.values() if os.environ.get(key, "").strip()]
    return there, [name for name, (key, _) in makers.items() if not os.environ.get(key, "").strip()]


def rented(root: Path, known: Iterable[Engine], missing: Iterable[str]) -> list[Rented]:
    """All of them, once each.

    Raises UserError if a ledger knows an open machine of an engine whose key is not set.
    """
    found: dict[str, Rented] = {}
    for folder in run_folders(root):
        for unit in Books(folder).open_units():
            if unit.engine in missing:
                raise UserError(
                    f"{folder}/ledger.jsonl has an open machine on {unit.engine}, whose key is not set. Put "
                    "it into .env."
                )
            found[unit.newest.key] = Rented(unit.engine, unit.machine, folder.name)
    for engine in known:
        for machine in engine.machines():
            run = found[machine.name].run if machine.name in found else ""
            found[machine.name if run else machine.id] = Rented(engine.name, machine, run)
    return list(found.values())


def end_all(root: Path, known: Iterable[Engine], clock: Clock, say: Say) -> None:
    """End them: those of the ledgers here, booked; then whatever else of this project the providers list.

    Raises UserError at the end.
    """
    problems = []
    for engine in known:
        for folder in run_folders(root):
            try:
                Ending(engine, folder, clock, say).end_open()
            except UserError as problem:
                problems.append(str(problem))
        for machine in engine.machines():
            try:
                engine.end(machine)
                say(f"ended {machine.name}")
            except UserError as problem:
                problems.append(str(problem))
    if problems:
        raise UserError("\n".join(problems))


def settle_all(root: Path, known: Iterable[Engine], clock: Clock, say: Say) -> None:
    """Book what the providers say by now about machines that have ended."""
    for engine in known:
        for folder in run_folders(root):
            Ending(engine, folder, clock, say).settle()


def run_folders(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("adapters/*/ledger.jsonl"))
