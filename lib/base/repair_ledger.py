"""A ledger mended, that of a data set from the files in raw/. Nobody is asked, so it costs nothing.

What stays unknown counts as possibly paid: it is in the account at its worst, and nothing is bought before
somebody has looked for it.
"""

import json
import re
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lib.base.errors import UserError
from lib.base.files import content_hash, read_json, to_json
from lib.base.ledger import BATCH, COLLECT, JUDGE, Entry
from lib.base.salvage import Row, Salvaged, salvage

UNIT = re.compile(rb'"key": "([0-9a-f]{64}(?:-\d+)?|batch-\d+)"')
NAMES = {JUDGE: r"[0-9a-f]{64}-\d+|batch-\d+|damaged-[0-9a-f]+", COLLECT: r"[0-9a-f]{64}|damaged-[0-9a-f]+"}
MAX_ATTEMPTS = 100  # at one request of the collector
Say = Callable[[str], None]


class Book:
    """A ledger under repair: its entries, and what is to be added to them."""

    def __init__(self, path: Path, kind: str) -> None:
        self.kind, self.salvaged = kind, salvage(path, _entry)
        self.entries = [Entry.model_validate_json(to_json(row)) for row in self.salvaged.rows]
        self.n_repaired = 0

    @property
    def latest(self) -> dict[str, Entry]:
        return {entry.key: entry for entry in self.entries if entry.kind == self.kind}

    @property
    def intents(self) -> dict[str, Entry]:
        return {
            entry.key: entry for entry in self.entries if entry.kind == self.kind and entry.state == "intent"
        }

    def worst_usd(self) -> float:
        """The most that one unit of this ledger was ever expected to cost."""
        return max(
            (
                float(entry.note.get("worst_usd", 0.0))
                for key, entry in self.intents.items()
                if not key.startswith(BATCH)
            ),
            default=0.0,
        )

    def add(self, state: Any, key: str, note: Row | None = None, **fields: Any) -> None:
        note = {**(note or {}), "repaired": True}
        self.entries.append(
            Entry(key=key, state=state, kind=self.kind, at=datetime.now(UTC), note=note, **fields)
        )
        self.n_repaired += 1

    def named(self) -> list[str]:
        """The units whose names can be read in the lines that cannot."""
        return list(
            dict.fromkeys(found.decode() for line in self.salvaged.lost for found in UNIT.findall(line))
        )

    def doubt(self) -> tuple[list[str], int]:
        """Book as possibly paid: units of which only a damaged line speaks, damaged lines without a unit.

        A damaged line may have held more than what it is explained by, so each of them is marked
        (note.unknown).
        """
        lines, reason = self.salvaged.lost, "its line in the ledger was damaged"
        lost = [unit for unit in self.named() if unit not in self.latest]
        n_explained = self.n_repaired + sum(
            key not in self.intents and not entry.note.get("repaired") for key, entry in self.latest.items()
        )
        n_unknown = max(0, sum(not UNIT.search(line) for line in lines) - n_explained)
        for unit in lost:
            self.close(unit, reason)
        for number, line in enumerate(lines):
            usd = self.worst_usd() if number < n_unknown else 0.0
            note = {"unknown": True, "reason": reason} | ({"possibly_paid": True} if usd else {})
            self.add("done", f"damaged-{content_hash(line)[:16]}", usd=usd, note=note)
        return lost, n_unknown

    def close(self, unit: str, reason: str) -> None:
        """Book a unit as possibly paid.

        The collector looks for its run before it asks anew (note.unknown); the judge gives it up.
        """
        note = {"possibly_paid": True, "reason": reason} | ({"unknown": True} if self.kind == COLLECT else {})
        self.add("failed" if self.kind == COLLECT else "done", unit, usd=self.worst_usd(), note=note)

    def write(self) -> bool:
        rows = [json.loads(to_json(entry)) for entry in self.entries]
        return self.salvaged.write(self.salvaged.rows + rows[len(self.salvaged.rows) :])


def repair_set(folder: Path, say: Say) -> None:
    """Mend data/<set>/ledger.jsonl from the files in raw/. The caller holds the set's lock."""
    book = Book(folder / "ledger.jsonl", COLLECT)
    known = {entry.id for entry in book.latest.values() if entry.state == "done"}
    for path in sorted((folder / "raw").glob("*.meta.json")):
        items = path.with_name(path.name.removesuffix(".meta.json") + ".jsonl")
        if items.is_file() and (found := _bought(path, items)) and found[1] not in known:
            key, run_id, usd, note = found
            book.add("done", key, id=run_id, usd=usd, note=note)
            say(f"{book.salvaged.path}: {note['file']} is booked again, ${usd:.4f}")
    for key, entry in book.latest.items():
        if entry.state in ("intent", "started") and key not in book.intents:
            book.close(key, "the line that says what it was asked was damaged")
            say(
                f"{book.salvaged.path}: nobody knows what {entry.id or key[:8]} was asked; collecting looks "
                "for it before it asks anew"
            )
    _close_book(book, say)


def repair_run(folder: Path, say: Say) -> None:
    """Mend adapters/<run>/ledger.jsonl: what can be read of it."""
    salvaged = salvage(folder / "ledger.jsonl", _entry)
    write_rows(salvaged, salvaged.rows, say)


def _close_book(book: Book, say: Say) -> None:
    lost, n_unknown = book.doubt()
    if n := len(lost) + n_unknown:
        say(
            f"{n} runs may have been paid for, up to ${n * book.worst_usd():.2f}: collecting looks for them "
            "before it starts any"
        )
    write_book(book, say)


def write_book(book: Book, say: Say) -> None:
    """Write the mended ledger, and say what was kept, put aside and written anew."""
    n, path = len(book.salvaged.damaged), book.salvaged.path
    if book.write():
        say(
            f"{path}: {len(book.salvaged.rows):,} lines kept, {n} damaged lines put aside, {book.n_repaired} "
            "written anew"
        )


def write_rows(salvaged: Salvaged, rows: list[Row], say: Say) -> None:
    """Write the mended rows in place of a damaged file, and say what became of it."""
    if salvaged.write(rows):
        n_new = len(rows) - len(salvaged.rows)
        say(
            f"{salvaged.path}: {len(salvaged.rows):,} lines kept, {len(salvaged.damaged)} damaged lines put "
            f"aside, {n_new} written anew"
        )


def _entry(row: Row) -> Hashable | None:
    """A ledger line is its own name: the same line twice is a copy."""
    try:
        entry = Entry.model_validate_json(json.dumps(row))
    except ValidationError:
        return None
    return to_json(row) if re.fullmatch(NAMES.get(entry.kind, r"[\x20-\x7e]+"), entry.key) else None


def _bought(meta: Path, items: Path) -> tuple[str, str, float, Row] | None:
    """(key, run id, dollars, note) of a run whose items lie in raw/; None for a person's own file."""
    try:
        values = read_json(meta)
        prefix = re.fullmatch(r"(\w+)-([0-9a-f]{8})-\w+", items.stem)
        asked = (values["actor"], values["input"])
        keys = (content_hash(*asked, *([n] if n else [])) for n in range(MAX_ATTEMPTS))
        key = next((key for key in keys if prefix and key.startswith(prefix[2])), None)
        note = {"step": prefix[1] if prefix else "", "file": items.name} | {
            name: values[name] for name in ("n_items", "n_filler", "status")
        }
        return (key, str(values["run_id"]), float(values["usd"]), note) if key else None
    except (UserError, KeyError, TypeError, ValueError):
        return None
