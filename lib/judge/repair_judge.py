"""Mends the judge's books of an evaluation: ledger, stored answers, batches, judgments. Asks nobody for
anything, so it costs nothing.

What was paid for and is gone is read from what lies beside it, or by the next `make eval` from the provider,
for free. What stays unknown counts as possibly paid and is asked for again only with AGAIN=1.
"""

import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lib.base.errors import UserError
from lib.base.files import to_json
from lib.base.ledger import BATCH, JUDGE, Entry
from lib.base.repair_ledger import Book, Say, write_book, write_rows
from lib.base.salvage import Row, salvage
from lib.base.schema import Judgment
from lib.judge.prices import price_of

KEY = re.compile(r"[0-9a-f]{64}")  # of a comparison: a garbled one is another comparison


def repair_judge(folder: Path, say: Say) -> None:
    """Mend the judge's books in adapters/<run>/eval/<name>. The caller holds its lock.

    The ledger is written last: killed before, the same command does it all again.
    """
    work = folder / "work"
    book = Book(folder / "ledger.jsonl", JUDGE)
    judged = salvage(work / "judgments.jsonl", _judgment)
    stored = salvage(work / "answers.jsonl", _answer)
    sets = salvage(work / "batches.jsonl", _batch)
    failed = salvage(
        work / "judgments.failed.jsonl", lambda row: to_json(row) if {"key", "reason"} <= row.keys() else None
    )
    replies = salvage(work / "replies.jsonl", lambda row: row.get("key"))
    answers = [*stored.rows, *_answers_again(judged.rows, stored.rows, sets.rows, book)]
    lost_rows = _batches_again(book, sets.rows, answers, say)
    _book_answers(book, answers)
    gone = [
        unit
        for unit, entry in book.latest.items()
        if _is_paid(entry) and _key(unit) not in {row["key"] for row in answers}
    ]
    open_ones = _close_open_units(book) if book.salvaged.lost else []
    doubtful, _ = book.doubt()
    if n := _take_back_errors(book):
        say(
            f"{n} error messages of the API were booked as possibly paid: they cost nothing and are taken "
            "out of the account"
        )
    given_up = {_key(unit) for unit in [*gone, *open_ones, *doubtful] if not unit.startswith(BATCH)} - {
        row["key"] for row in answers
    }
    told = {row["key"] for row in failed.rows}
    detail = "perhaps asked and paid for; the line that says so was damaged"
    rows = [{"key": key, "reason": "answer_lost", "detail": detail} for key in sorted(given_up - told)]
    for salvaged, kept in (
        (judged, judged.rows),
        (stored, answers),
        (sets, [*sets.rows, *lost_rows]),
        (failed, [*failed.rows, *rows]),
        (replies, replies.rows),
    ):
        write_rows(salvaged, kept, say)
    if rows:
        say(
            f"{len(rows)} comparisons may have been paid for without an answer: they are given up (AGAIN=1 "
            "make eval asks once more)"
        )
    if n := len(book.salvaged.lost):
        say(
            f"{n} lines of the ledger cannot be read: what is not judged yet and may have been asked is "
            "asked only with AGAIN=1 make eval"
        )
    write_book(book, say)


def _answers_again(
    judged: Iterable[Row], stored: Iterable[Row], sets: Iterable[Row], book: Book
) -> list[Row]:
    """Stored answers that are gone, from the judgments that were read from them: they hold the answer as it
    came.
    """
    there = {row["key"] for row in stored}
    batch_of = {key: row["unit"] for row in sets for key in row["keys"]}
    found = []
    for row in judged:
        key, raw = row["key"], row.get("raw") or ""
        if key in there or not _is_object(raw):
            continue
        units = [unit for unit, entry in book.latest.items() if _key(unit) == key and _is_paid(entry)]
        unit = units[-1] if units else batch_of.get(key, f"{key}-1")
        is_batch = unit.startswith(BATCH)
        entry = book.latest.get(unit)
        booked = entry.usd if entry and _is_paid(entry) else None
        usd = _usd(row, is_batch, book.worst_usd()) if booked is None else booked
        answer = {
            "key": key,
            "unit": unit,
            "usd": usd,
            "batch": is_batch,
            "stop_reason": json.loads(raw).get("stop_reason"),
        }
        found.append(answer | {"usage": row.get("usage") or {}, "raw": raw})
    return found


def _book_answers(book: Book, answers: Iterable[Row]) -> None:
    """Live answers whose unit is not closed were paid for; a batch closes itself when it is read again."""
    for row in answers:
        entry = book.latest.get(row["unit"])
        if not row["unit"].startswith(BATCH) and (
            entry is None or entry.state != "done" or entry.note.get("possibly_paid")
        ):
            book.add("done", row["unit"], usd=row["usd"])


def _take_back_errors(book: Book) -> int:
    """Earlier versions took an error that came back whole for a lost answer, and gave the question up."""
    units = [
        unit
        for unit, entry in book.latest.items()
        if entry.note.get("possibly_paid")
        and str(entry.note.get("reason")).startswith("status ")
        and not unit.startswith(BATCH)
    ]
    for unit in units:
        book.add("failed", unit, usd=0.0, note={"reason": book.latest[unit].note["reason"]})
    return len(units)


def _close_open_units(book: Book) -> list[str]:
    """Live requests without an end: it may have been written in the line that cannot be read, with an answer
    that is gone.
    """
    units = [
        unit for unit, entry in book.latest.items() if entry.state == "intent" and not unit.startswith(BATCH)
    ]
    for unit in units:
        book.close(unit, "the line that says how it ended may be the damaged one")
    return units


def _batches_again(book: Book, sets: Sequence[Row], answers: Sequence[Row], say: Say) -> list[Row]:
    """Reopen batches of which something is missing: reading their results is free.

    Returns rows for batches.jsonl that are gone.
    """
    of_unit: dict[str, list[Row]] = defaultdict(list)
    for row in answers:
        of_unit[row["unit"]].append(row)
    answered = {row["key"] for row in answers}
    rows, keys_of = [], {row["unit"]: row["keys"] for row in sets}
    units = dict.fromkeys([*keys_of, *book.latest, *of_unit, *book.named()])
    for unit in filter(lambda unit: unit.startswith(BATCH), units):
        entry, stored = book.latest.get(unit), of_unit[unit]
        ids = [line.id for line in book.entries if line.key == unit and line.id]
        if entry and entry.state == "failed":
            continue
        is_whole = unit in keys_of
        if not is_whole:
            keys_of[unit] = [row["key"] for row in stored]  # the judge knows the others by its questions
            rows.append({"unit": unit, "keys": keys_of[unit], "others": []})
        n_paid = (entry.note.get("results") or {}).get("succeeded", 0) if entry else 0
        n_there = sum(key in answered for key in keys_of[unit])
        is_closed = entry and entry.state == "done" and (entry.note.get("possibly_paid") or n_paid <= n_there)
        if is_closed or (entry and entry.state != "done" and unit in book.intents):
            continue
        if entry is None and is_whole and len(stored) == len(keys_of[unit]):
            book.add(
                "done",
                unit,
                usd=sum(row["usd"] for row in stored),
                note={"results": {"succeeded": len(stored)}},
            )
            continue
        if unit not in book.intents:
            n = len(keys_of[unit]) if is_whole else 0
            book.add(
                "intent",
                unit,
                note={
                    "worst_usd": book.worst_usd() / 2 * max(n, len(stored), 1),
                    "n_requests": n,
                    "step": "batch",
                },
            )
        if ids:
            book.add("started", unit, id=ids[-1], note={"adopted": False})
        say(
            f"{unit} is open again: make eval reads its results, or looks for it in the provider's list, "
            "for free"
        )
    return rows


def _is_paid(entry: Entry) -> bool:
    is_doubtful = entry.note.get("unknown") or (
        entry.note.get("possibly_paid") and not entry.note.get("repaired")
    )
    return entry.state == "done" and not is_doubtful and not entry.key.startswith(BATCH)


def _key(unit: str) -> str:
    return unit.rsplit("-", 1)[0]


def _usd(judgment: Row, is_batch: bool, worst_usd: float) -> float:
    """At the price of the table; of a model that only the config gives a price for, the most it can be."""
    try:
        return price_of(str(judgment["model"])).usd(judgment["usage"], is_batch)
    except (UserError, KeyError, TypeError):
        return worst_usd


def _judgment(row: Row) -> Hashable | None:
    try:
        key = Judgment.model_validate_json(json.dumps(row)).key
        return key if KEY.fullmatch(key) else None
    except ValidationError:
        return None


def _answer(row: Row) -> Hashable | None:
    usd, key, unit = row.get("usd"), row.get("key"), row.get("unit")
    is_one = (
        isinstance(usd, int | float)
        and usd >= 0
        and isinstance(key, str)
        and KEY.fullmatch(key)
        and isinstance(unit, str)
        and "usage" in row
    )
    return (
        key
        if is_one and (unit.startswith(BATCH) or _key(unit) == key) and _is_object(row.get("raw"))
        else None
    )


def _batch(row: Row) -> Hashable | None:
    keys, unit = row.get("keys"), row.get("unit")
    is_one = isinstance(unit, str) and isinstance(keys, list) and isinstance(row.get("others"), list)
    return unit if is_one and all(isinstance(key, str) and KEY.fullmatch(key) for key in keys) else None


def _is_object(raw: Any) -> bool:
    try:
        return isinstance(json.loads(raw), dict)
    except (TypeError, ValueError, RecursionError):
        return False
