"""The delivery of a run: read until it is whole by what was billed, counted and read, and stored in raw/."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, write_bytes, write_json
from lib.collect.provider import Delivery, Price, Provider, Request, Run
from lib.data.items import is_filler

LAG_S = 10  # by which a data set's counters may lag (github.com/apify/apify-docs/issues/1309)
WAITS_S = (1, 2, 4, 8, 15)


def read_whole(
    provider: Provider, request: Request, run: Run, say: Callable[[str], None], sleep: Callable[[float], None]
) -> tuple[Delivery, str]:
    """The run's delivery, read again while rows are missing; and a sentence where they still are, else ""."""
    floor, n_total = provider.price.floor, 0
    for seconds in (*WAITS_S, None):
        delivery = provider.items(request, run)
        n_total = max(
            n_total, delivery.n_total
        )  # a count that shrinks is believed as little as one that lags
        delivery = replace(delivery, n_total=n_total)
        billed = "" if run.n_billed is None else f" and {run.n_billed} were billed"
        counts = (
            f"run {run.id} ({request.query}) gave {len(delivery.items)} rows where {n_total} are "
            f"counted{billed}"
        )
        # Where the least charge was billed only the counters can tell, and not before they have caught up.
        in_doubt = run.n_billed == floor > len(delivery.items) and not run.has_ended_for(LAG_S)
        if delivery.is_whole(run, floor) and not (in_doubt and seconds):
            if len(delivery.items) < delivery.n_expected(run, floor):
                say(f"warning: {counts}; what is missing holds nothing, or was billed without rows")
            return delivery, ""
        if seconds is not None:
            say(f"{counts}: reading it again in {seconds} s")
            sleep(seconds)
    return delivery, counts


def refuse_short(missing: list[str]) -> None:
    """Stop where runs are not whole. missing: their sentences, "" for those that are. Raises UserError."""
    if missing := [sentence for sentence in missing if sentence]:
        raise UserError(
            f"Not everything that was paid for could be read: {'; '.join(missing)}. "
            "Nothing is lost or paid twice: run the same command again in a few minutes, it reads the same "
            "runs again for free. "
            "An hour after the end of a run, what its data set then says it holds is taken as all."
        )


def store(
    path: Path, request: Request, run: Run, delivery: Delivery, price: Price, keep: Callable[[Any], bool]
) -> tuple[float, dict[str, Any]]:
    """Write the items to path, and beside them where they come from.

    keep: False for items that must not be stored. Returns the dollars and the note for the ledger.
    """
    n_read, items = len(delivery.items), [item for item in delivery.items if keep(item)]
    usd, content = price.actual_usd(run, n_read), b"".join(map(_line_of, items))
    counts = {"n_items": len(items), "n_filler": sum(map(is_filler, items))}
    meta = {
        "query": request.query,
        "input": request.input,
        "run_id": run.id,
        "actor": request.actor,
        "build": run.build,
        "price": {"model": price.model, "usd_per_item": price.usd_per_item},
        "usd": usd,
        "status": run.status,
        "started_at": run.started_at,
        "collected_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "n_billed": run.n_billed,
        "n_total": delivery.n_total,
        "n_read": n_read,
        **counts,
        "n_forgotten": n_read - len(items),
        "sha256": content_hash(content),
    }
    write_json(path.with_suffix(".meta.json"), meta)
    write_bytes(path, content)
    return usd, {"step": request.step, "file": path.name, **counts, "status": run.status}


def _line_of(item: Any) -> bytes:
    """The item as it came. Half an emoji (a lone surrogate) has no UTF-8 and stays the escape that it was."""
    try:
        return (json.dumps(item, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(item) + "\n").encode("ascii")


def file_word(run_id: str) -> str:
    """A run's id as part of a file's name.

    It is the provider's text: one that could leave the folder becomes a hash.
    """
    is_word = run_id.isascii() and run_id.isalnum() and len(run_id) <= 64
    return run_id if is_word else content_hash(run_id)[:16]
