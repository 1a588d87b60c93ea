"""The books on a paid judge: what was asked, what came back and what it cost: the ledger and the stored
answers, always in step.

A live request is one unit of the ledger: intent, then its answer is stored, then done(usd). A batch is one
unit, started(id) between.
An intent without an answer may have been paid for: it is booked with the most it can have cost, and counted
as lost.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import append_line, read_dicts
from lib.base.ledger import BATCH, Entry, Ledger, State
from lib.base.strict_json import repair_advice
from lib.judge.prices import Price, is_usage, n_input_tokens, usage_of
from lib.judge.units import Units

NEW = timedelta(hours=1)
MAX_LOST = 2  # an answer that was lost is asked for once more, ever


@dataclass(frozen=True)
class OpenBatch:
    """A batch that was begun and is not booked yet."""

    unit: str
    id: str | None  # None: created or not, its answer was lost
    keys: list[str]
    n_requests: int  # more than keys, or 0, where `make repair` could not find out all of them
    not_it: set[str]  # batches that were there before, or turned out to hold other requests
    worst_usd: float
    adopted: bool
    is_new: bool  # the provider may not know it everywhere yet


class Books:
    """One evaluation's answers (folder/answers.jsonl), batches (folder/batches.jsonl) and ledger.

    Safe for many threads of one process.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder, self.ledger = folder, ledger
        self._room = threading.Condition()
        self.answers = {row["key"]: row for row in _rows(folder / "answers.jsonl")}
        self._sets = {row["unit"]: row for row in _rows(folder / "batches.jsonl")}
        self._in_flight: set[str] = set()
        self._units = Units(ledger)
        self._latest = self._units.latest

    def settle(self) -> int:
        """Close what a killed process left open, from what is on disk.

        Returns how many live answers were lost.
        """
        n_lost = 0
        by_unit = {row["unit"]: row for row in self.answers.values()}
        for unit, entry in list(self._latest.items()):
            if unit.startswith(BATCH) or entry.state != "intent":
                continue
            if unit in by_unit:
                self._book("done", unit, usd=by_unit[unit]["usd"])
            else:
                self.lost(unit, "the process ended before the answer came")
                n_lost += 1
        return n_lost

    # --- money -----------------------------------------------------------------------------------------

    def spent_usd(self) -> float:
        """Dollars of finished units, and the worst case of the others."""
        return self._units.spent_usd

    def begin(self, unit: str, worst_usd: float, cap_usd: float, **note: Any) -> bool:
        """Write the intent, once its worst case fits under the cap beside what is spent and under way.

        False: it cannot fit.
        """
        with self._room:
            while self.spent_usd() + worst_usd > cap_usd + 1e-9:
                if not self._in_flight:
                    return False
                self._room.wait()
            self._in_flight.add(unit)
            self._book("intent", unit, note={"worst_usd": worst_usd, **note})
            return True

    def refused(self, unit: str, reason: str) -> None:
        """Not processed, not paid."""
        self._close("failed", unit, usd=0.0, note={"reason": reason[:300]})

    def lost(self, unit: str, reason: str, **note: Any) -> None:
        """Perhaps paid: booked with the worst case."""
        worst_usd = self._units.intent(unit).note["worst_usd"]
        self._close("done", unit, usd=worst_usd, note={"possibly_paid": True, "reason": reason[:300], **note})

    def n_lost(self) -> Counter[str]:
        """key -> answers that were lost on their way, live ones and those of batches that can no longer be
        read.
        """
        counts: Counter[str] = Counter()
        for unit, entry in self._latest.items():
            if entry.note.get("possibly_paid"):
                counts.update(
                    self._sets.get(unit, {"keys": []})["keys"] if unit.startswith(BATCH) else [_key_of(unit)]
                )
        return counts

    def known_keys(self) -> set[str]:
        """Questions that the ledger or the batches speak of."""
        in_batches = {key for row in self._sets.values() for key in row["keys"]}
        return in_batches | {_key_of(unit) for unit in self._latest if not unit.startswith(BATCH)}

    def has_gaps(self) -> bool:
        """True where `make repair` found lines in the ledger that nothing else explains."""
        return any(entry.note.get("unknown") for entry in self._latest.values())

    def new_unit(self, key: str) -> str:
        """The name of the next live request for key: a unit that was paid for is never written over."""
        n = 1
        while (entry := self._latest.get(f"{key}-{n}")) and entry.state == "done":
            n += 1
        return f"{key}-{n}"

    def keep(self, key: str, unit: str, raw: str, price: Price, max_tokens_usd: float) -> None:
        """Store a live answer durably, then book it."""
        usd = self.store(key, unit, raw, price, max_tokens_usd, batch=False)
        self._close("done", unit, usd=usd)

    def store(self, key: str, unit: str, raw: str, price: Price, worst_usd: float, batch: bool) -> float:
        """Store an answer once, before anybody reads it.

        Returns its dollars; the worst case where it does not say what was billed.
        """
        message = json.loads(raw)
        usage = usage_of(message)
        usd = price.usd(usage, batch) if is_usage(usage) else worst_usd
        row = {
            "key": key,
            "unit": unit,
            "usd": usd,
            "batch": batch,
            "stop_reason": message.get("stop_reason"),
            "usage": usage,
            "raw": raw,
        }
        with self._room:
            if key not in self.answers:
                append_line(
                    self.folder / "answers.jsonl",
                    row | {"at": datetime.now(UTC).isoformat(timespec="seconds")},
                )
                self.answers[key] = row
        return usd

    # --- batches ---------------------------------------------------------------------------------------

    def open_batches(self) -> list[OpenBatch]:
        """Batches that were begun and are not booked yet."""
        found = []
        for unit, entry in self._latest.items():
            if unit.startswith(BATCH) and entry.state in ("intent", "started"):
                if unit not in self._sets:
                    path = self.folder / "batches.jsonl"
                    raise UserError(
                        f"{path} does not name {unit}, which {self.ledger.path} says is under way. "
                        f"{repair_advice(path)}"
                    )
                found.append(self._open_batch(unit, entry))
        return found

    def _open_batch(self, unit: str, entry: Entry) -> OpenBatch:
        row, note = self._sets[unit], self._units.intent(unit).note
        return OpenBatch(
            unit,
            entry.id,
            row["keys"],
            n_requests=note.get("n_requests", len(row["keys"])),
            not_it={*row["others"], *note.get("not_ours", [])},
            worst_usd=note["worst_usd"],
            adopted=bool(entry.note.get("adopted")),
            is_new=datetime.now(UTC) - entry.at < NEW,
        )

    def name_batch(self, keys: list[str], others: list[str]) -> str:
        """A new unit for these requests; which they are is on disk before anything is sent."""
        known = self._sets.keys() | {unit for unit in self._latest if unit.startswith(BATCH)}
        unit = f"{BATCH}{len(known) + 1}"
        row = {"unit": unit, "keys": keys, "others": others}
        append_line(self.folder / "batches.jsonl", row)
        self._sets[unit] = row
        return unit

    def batch_ids(self) -> set[str]:
        return {entry.id for entry in self._latest.values() if entry.id}

    def started(self, unit: str, batch_id: str, adopted: bool) -> None:
        self._book("started", unit, id=batch_id, note={"adopted": adopted})

    def not_ours(self, batch: OpenBatch) -> None:
        """An adopted batch turned out to hold other requests: look for the right one again."""
        intent = self._units.intent(batch.unit).note
        note = {**intent, "not_ours": [*intent.get("not_ours", []), batch.id]}
        self._book("intent", batch.unit, note=note)

    def batch_done(self, batch: OpenBatch, counts: Counter[str]) -> None:
        usd = sum(row["usd"] for row in self.answers.values() if row["unit"] == batch.unit)
        self._close("done", batch.unit, id=batch.id, usd=usd, note={"results": dict(counts)})

    # --- the account -----------------------------------------------------------------------------------

    def account(self) -> dict[str, Any]:
        """The bill: what this evaluation's judge has cost so far, over all runs and judges."""
        doubtful = [entry for entry in self._latest.values() if entry.note.get("possibly_paid")]
        usages = [row["usage"] for row in self.answers.values() if is_usage(row["usage"])]
        return {
            "answers": len(self.answers),
            "batches": sum(unit.startswith(BATCH) and bool(entry.id) for unit, entry in self._latest.items()),
            "input_tokens": sum(map(n_input_tokens, usages)),
            "output_tokens": sum(usage["output_tokens"] for usage in usages),
            "usd": round(sum(entry.usd or 0.0 for entry in self._latest.values()), 6),
            "possibly_paid": len(doubtful),
            "possibly_paid_usd": round(sum(entry.usd or 0.0 for entry in doubtful), 6),
        }

    def mean_output_tokens(self, keys: Iterable[str]) -> float | None:
        """Of the stored answers to these keys; None for fewer than five."""
        n = [
            self.answers[key]["usage"]["output_tokens"]
            for key in keys
            if key in self.answers and is_usage(self.answers[key]["usage"])
        ]
        return sum(n) / len(n) if len(n) >= 5 else None

    def _close(self, state: State, unit: str, **fields: Any) -> None:
        with self._room:
            self._book(state, unit, **fields)
            self._in_flight.discard(unit)
            self._room.notify_all()

    def _book(self, state: State, unit: str, **fields: Any) -> None:
        with self._room:
            self._units.book(state, unit, **fields)


def _key_of(unit: str) -> str:
    return unit.rsplit("-", 1)[0]


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_dicts(path, torn_tail=True) if path.exists() else []
