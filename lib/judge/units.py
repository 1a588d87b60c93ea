"""The judge's units in an evaluation's ledger: how each began, where it stands, what all have cost."""

from typing import Any

from lib.base.errors import UserError
from lib.base.ledger import JUDGE, Entry, Ledger, State
from lib.base.strict_json import repair_advice


class Units:
    """The ledger in memory, for one thread at a time.

    latest: unit -> its last entry. spent_usd: of finished units, and the worst case of the others.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        entries = [entry for entry in ledger.entries() if entry.kind == JUDGE]
        self.latest = {entry.key: entry for entry in entries}
        self._intents = {entry.key: entry for entry in entries if entry.state == "intent"}
        self.spent_usd = sum(map(self._usd_of, self.latest.values()))

    def book(self, state: State, unit: str, **fields: Any) -> None:
        """Write an entry and learn from it."""
        entry = self._ledger.append(state, unit, JUDGE, **fields)
        self.spent_usd -= self._usd_of(self.latest.get(entry.key))
        self.latest[entry.key] = entry
        if entry.state == "intent":
            self._intents[entry.key] = entry
        self.spent_usd += self._usd_of(entry)

    def intent(self, unit: str) -> Entry:
        """The entry that a unit began with. Raises UserError where the ledger has lost it."""
        if unit not in self._intents:
            path = self._ledger.path
            raise UserError(f"{path} does not say how {unit} began. {repair_advice(path)}")
        return self._intents[unit]

    def _usd_of(self, entry: Entry | None) -> float:
        """Dollars that a unit has cost, or may cost at most while it is open."""
        if entry is None or entry.state in ("done", "failed"):
            return (entry and entry.usd) or 0.0
        return float(self.intent(entry.key).note["worst_usd"])
