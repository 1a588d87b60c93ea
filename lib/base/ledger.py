"""The book of what was paid for: intent -> started(id) -> done(usd). A crash never buys anything twice.

A unit is named by its key (a content hash of the request). "intent" without "started" means the answer was
lost: the caller asks the provider what became of it before it starts anything. "failed" closes a unit that
cost nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from lib.base.files import append_line, read_jsonl
from lib.base.schema import Record, Utc

State = Literal["intent", "started", "done", "failed"]
COLLECT, JUDGE = "collect", "judge"  # kinds of entries
BATCH = "batch-"  # how the key of a batch of the judge begins


class Entry(Record):
    """One line of the book: a unit of paid work, and how far it has come."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    key: str
    state: State
    kind: str  # collect | judge | pod | ...
    at: Utc
    id: str | None = None  # the provider's id of the run, batch or pod
    usd: float | None = Field(None, ge=0)
    note: dict[str, Any] = Field(default_factory=dict)


class Ledger:
    """The entries of one ledger.jsonl, newest state per key.

    Safe for several processes: every append is one locked write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        """All lines in order; a last line that was cut off by a crash is not one."""
        return read_jsonl(self.path, Entry, torn_tail=True) if self.path.exists() else []

    def latest(self) -> dict[str, Entry]:
        """The newest entry of each key."""
        return {entry.key: entry for entry in self.entries()}

    def append(self, state: State, key: str, kind: str, **fields: Any) -> Entry:
        """Write one line and make it durable before returning."""
        entry = Entry(key=key, state=state, kind=kind, at=datetime.now(UTC), **fields)
        append_line(self.path, entry)
        return entry

    def spent_usd(self, kind: str | None = None) -> float:
        """Dollars of all finished units, each counted once."""
        return sum(
            entry.usd or 0.0
            for entry in self.latest().values()
            if entry.state in ("done", "failed") and kind in (None, entry.kind)
        )


def open_units(entries: Sequence[Entry], kind: str) -> list[tuple[Entry, Entry]]:
    """(newest entry, its intent) of every unit of this kind that is neither done nor failed, oldest first."""
    intents, newest = {}, {}
    for entry in entries:
        if entry.kind == kind:
            newest[entry.key] = entry
            if entry.state == "intent":
                intents[entry.key] = entry
    return [(entry, intents[key]) for key, entry in newest.items() if entry.state in ("intent", "started")]
