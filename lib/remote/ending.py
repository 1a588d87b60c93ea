"""Finding what an earlier process left behind, ending it for certain, booking what it cost."""

import contextlib
import shutil
from pathlib import Path

from lib.base.errors import UserError
from lib.remote.books import Books, Unit
from lib.remote.seam import Clock, Engine, Machine, Say

LOOKS_S = (0, 2, 3, 5, 10, 20)  # for a machine whose create was answered by silence
YOUNG_S = 300  # so long after its start a machine may be unknown to every route for a moment
BILL_LOOKS_S = (0, 5, 15)


class Ending:
    """The machines of one run on one engine. folder: adapters/<run>."""

    def __init__(self, engine: Engine, folder: Path, clock: Clock, say: Say) -> None:
        self.engine, self.folder, self.clock, self.say = engine, folder, clock, say
        self.books = Books(folder)

    def open_units(self) -> list[Unit]:
        return [unit for unit in self.books.open_units() if unit.engine == self.engine.name]

    def find(self, unit: Unit) -> Machine | None:
        """The fate of an open unit. None: nothing, or it is over; then the books say so."""
        machine = unit.machine
        if not machine.id:
            if found := self.look(machine.name):
                return found
            self.never(machine.name, "never started")
            return None
        is_young = self.clock.now() - unit.newest.at.timestamp() < YOUNG_S
        for wait_s in LOOKS_S if is_young else LOOKS_S[:1]:
            self.clock.sleep(wait_s)
            if self.engine.state(machine) != "absent":
                return machine
        self.say(f"{machine.name} is gone: it ended itself, or somebody ended it")
        self.end(machine)
        return None

    def never(self, name: str, reason: str) -> None:
        """Book a machine that never was, after what had been laid out for it is removed."""
        self.engine.end(Machine("", name))
        self.books.failed(name, reason)

    def look(self, name: str) -> Machine | None:
        """The machine that a create without an answer made, if it did; booked as started.

        A second one is ended.
        """
        for wait_s in LOOKS_S:
            self.clock.sleep(wait_s)
            if found := self.engine.find(name):
                self.books.started(found[0])
                for other in found[1:]:
                    self.engine.end(other)
                return found[0]
        return None

    def end(self, machine: Machine) -> None:
        """End the machine for certain, and others that turned up late; book what they cost.

        Raises UserError, and leaves the books open, if the end is not certain.
        """
        self.engine.end(machine)
        for late in self._late(machine):
            self.say(f"{late.name} turned up late; it is ended")
            self.engine.end(late)
            self.books.started(late)
            self.books.done(late, self._bill(late), self.clock.now())
        usd = self.books.done(machine, self._bill(machine), self.clock.now())
        self.say(f"ended {machine.name}: ${usd:.2f}")
        self.clean()

    def end_open(self) -> None:
        """End every machine of this run that may still be billed.

        Raises UserError for those whose end is not certain, after the others are ended.
        """
        problems = []
        for unit in self.open_units():
            try:
                if machine := self.find(unit):
                    self.end(machine)
            except UserError as problem:
                problems.append(str(problem))
        self.clean()
        if problems:
            raise UserError("\n".join(problems))

    def clean(self) -> None:
        """Remove keys and parcels of machines that are no more."""
        alive = {unit.newest.key for unit in self.books.open_units()}
        for folder in (self.folder / "remote").glob("*"):
            if folder.name not in alive:
                shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            (self.folder / "remote").rmdir()

    def settle(self) -> None:
        """Ask again what ended machines cost: providers account with a delay."""
        for unit in self.books.unsettled(self.clock.now()):
            if unit.engine == self.engine.name:
                usd = self.engine.billed(unit.machine)
                if usd is not None and abs(usd - (unit.newest.usd or 0.0)) >= 1e-6:
                    self.books.done(unit.machine, usd, self.clock.now())

    def _late(self, machine: Machine) -> list[Machine]:
        names = {unit.newest.key for unit in self.books.units() if unit.newest.state == "failed"} - {
            machine.name
        }
        return [other for other in self.engine.machines() if other.name in names] if names else []

    def _bill(self, machine: Machine) -> float | None:
        """The provider's figure, or None: then the books reckon, and `make rented` asks again."""
        for wait_s in BILL_LOOKS_S:
            self.clock.sleep(wait_s)
            with contextlib.suppress(UserError):
                if (usd := self.engine.billed(machine)) is not None:
                    return usd
        return None
