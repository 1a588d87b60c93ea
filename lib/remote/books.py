"""The account of a run's rented machines: intent -> started(id) -> done(usd), keyed by the machine's name."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.ledger import Entry, Ledger
from lib.remote.seam import Machine, Offer

KIND = "pod"


@dataclass(frozen=True)
class Unit:
    """A machine in the ledger: its newest entry, and the intent that says what was asked for."""

    newest: Entry
    intent: Entry

    @property
    def machine(self) -> Machine:
        return Machine(
            self.newest.id or "", self.newest.key, float(self.intent.note.get("usd_per_hour", 0.0))
        )

    @property
    def engine(self) -> str:
        return str(self.intent.note.get("engine"))

    @property
    def is_open(self) -> bool:
        return self.newest.state in ("intent", "started")

    @property
    def worst_usd(self) -> float:
        return float(self.intent.note.get("worst_usd", 0.0))


class Books:
    """The machines of one run. clock_now: seconds since 1970, the driver's own."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder / "ledger.jsonl")

    def units(self) -> list[Unit]:
        """Every machine of this run, oldest first."""
        intents: dict[str, Entry] = {}
        newest: dict[str, Entry] = {}
        for entry in self.ledger.entries():
            if entry.kind == KIND:
                intents.setdefault(entry.key, entry)
                newest[entry.key] = entry
        return [Unit(entry, intents[key]) for key, entry in newest.items()]

    def open_units(self) -> list[Unit]:
        return [unit for unit in self.units() if unit.is_open]

    def spent_usd(self, job: str) -> float:
        """Dollars of this job's machines: booked, and the worst case of those that are still open."""
        units = [unit for unit in self.units() if unit.intent.note.get("job") == job]
        return sum(unit.worst_usd if unit.is_open else unit.newest.usd or 0.0 for unit in units)

    def ends_at(self, name: str) -> float:
        """When a machine's life is over, seconds since 1970."""
        unit = next(unit for unit in self.units() if unit.newest.key == name)
        return unit.newest.at.timestamp() + float(unit.intent.note["seconds"])

    def intend(self, name: str, offer: Offer, job: str, seconds: int, estimate_usd: float) -> None:
        note = {
            "engine": offer.engine,
            "gpu": offer.gpu,
            "usd_per_hour": round(offer.usd_per_hour, 6),
            "seconds": seconds,
            "worst_usd": round(offer.usd(seconds / 60), 6),
            "estimate_usd": round(estimate_usd, 6),
            "job": job,
        }
        self.ledger.append("intent", name, KIND, note=note)

    def started(self, machine: Machine) -> None:
        self.ledger.append("started", machine.name, KIND, id=machine.id)

    def failed(self, name: str, reason: str) -> None:
        """A machine that never was."""
        self.ledger.append("failed", name, KIND, usd=0.0, note={"reason": reason[:300]})

    def done(self, machine: Machine, usd: float | None, now: float) -> float:
        """Book the provider's own figure; where it has none yet, price times time. Returns the dollars."""
        unit = next(unit for unit in self.units() if unit.newest.key == machine.name)
        reckoned = self._reckoned_usd(unit, now)
        note: dict[str, Any] = {"source": "billed" if usd is not None else "reckoned"}
        self.ledger.append(
            "done", machine.name, KIND, id=machine.id or None, usd=reckoned if usd is None else usd, note=note
        )
        return reckoned if usd is None else usd

    def _reckoned_usd(self, unit: Unit, now: float) -> float:
        """Price x time since it was asked for, at most until its deadline; nothing without an id.

        Where the clock was set back meanwhile nobody knows the time: until its deadline, then.
        """
        if unit.newest.id is None:
            return 0.0
        passed, at_most = now - unit.intent.at.timestamp(), float(unit.intent.note.get("seconds", 0))
        seconds = min(passed, at_most) if passed >= 0 else at_most
        return round(seconds / 3600 * float(unit.intent.note.get("usd_per_hour", 0.0)), 6)

    def unsettled(self, now: float, days: float = 7) -> list[Unit]:
        """Ended machines whose bill may still change: providers account with a delay."""
        since = datetime.fromtimestamp(now - days * 86_400, UTC)
        return [
            unit
            for unit in self.units()
            if unit.newest.state == "done" and unit.newest.id and unit.intent.at > since
        ]
