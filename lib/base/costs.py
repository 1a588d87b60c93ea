"""The account of what every paid step cost, from the ledgers and the training runs; the budget that
MAX_USD lowers."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.base.errors import UserError
from lib.base.ledger import Entry, Ledger

LEDGERS = (
    "data/*/ledger.jsonl",
    "adapters/*/ledger.jsonl",
    *(
        "adapters/*/eval/*/ledger.jsonl",
        "adapters/*/eval/*/human/ledger.jsonl",
        "adapters/*/field/ledger.jsonl",
    ),
)


@dataclass
class Cost:
    """One step of one set or run.

    n_open: units begun and not booked yet, open_usd: what they may cost at most.
    estimate_usd: what was expected of the booked units before they began; where the ledger has no such
    number, what they could cost at most (is_ceiling). None: neither is known.
    """

    step: str
    name: str
    n_units: int = 0
    usd: float = 0.0
    n_open: int = 0
    open_usd: float = 0.0
    estimate_usd: float | None = None
    is_ceiling: bool = False


def costs(root: Path, training_usd: Mapping[str, float]) -> list[Cost]:
    """All costs below root, by step and name. Raises UserError for a ledger that cannot be read.

    training_usd: run -> dollars, of the finished trainings.
    """
    found: dict[tuple[str, str], Cost] = {}
    for path in sorted(path for pattern in LEDGERS for path in root.glob(pattern)):
        _add_ledger(found, Ledger(path), name_of(path.relative_to(root)))
    # A machine's price already holds the training; a machine that never started has none.
    rented = {cost.name for cost in found.values() if cost.step == "pod" and (cost.n_units or cost.n_open)}
    for run, usd in training_usd.items():
        if run not in rented:
            found["train", run] = Cost("train", run, 1, usd)
    return [found[key] for key in sorted(found)]


def name_of(path: Path) -> str:
    """data/main/ledger.jsonl -> main; adapters/tiny/eval/offline/ledger.jsonl -> tiny/offline."""
    return "/".join(part for part in path.parts[1:-1] if part != "eval")


def _add_ledger(found: dict[tuple[str, str], Cost], ledger: Ledger, name: str) -> None:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger.entries():
        entries[entry.key].append(entry)
    for lines in entries.values():
        newest = lines[-1]
        step = next(
            (f"{line.kind} {line.note['step']}" for line in reversed(lines) if "step" in line.note),
            newest.kind,
        )
        cost = found.setdefault((step, name), Cost(step, name))
        if newest.state in ("done", "failed"):
            cost.n_units += newest.state == "done"
            cost.usd += newest.usd or 0.0
            if newest.state == "done":
                _add_estimate(cost, lines)
        else:
            cost.n_open += 1
            cost.open_usd += next(
                (float(line.note["worst_usd"]) for line in reversed(lines) if "worst_usd" in line.note), 0.0
            )


def _add_estimate(cost: Cost, lines: list[Entry]) -> None:
    for name in ("estimate_usd", "worst_usd"):
        if known := [float(line.note[name]) for line in lines if name in line.note]:
            cost.estimate_usd = (cost.estimate_usd or 0.0) + known[0]
            cost.is_ceiling |= name == "worst_usd"
            return


def table(found: list[Cost]) -> str:
    """A row per step and name: what was expected, what it cost; the total below, then what is still open."""
    if not found:
        return "Nothing has been paid for here: there is no ledger in data/ or adapters/."
    rows = [("step", "set or run", "units", "estimate", "usd")]
    for cost in found:
        estimate = "–" if cost.estimate_usd is None else f"{'≤ ' * cost.is_ceiling}{cost.estimate_usd:,.4f}"
        rows.append((cost.step, cost.name, f"{cost.n_units:,}", estimate, f"{cost.usd:,.4f}"))
    rows.append(("total", "", "", "", f"{sum(cost.usd for cost in found):,.4f}"))
    columns = [
        column for n, column in enumerate(zip(*rows, strict=True)) if n != 3 or set(column[1:-1]) != {"–"}
    ]
    cells = [
        [f"{text:{'<' if n < 2 else '>'}{max(map(len, column))}}" for text in column]
        for n, column in enumerate(columns)
    ]
    lines = ["  ".join(row) for row in zip(*cells, strict=True)]
    open_ones = [
        f"not booked yet: {cost.n_open} of {cost.step} ({cost.name}), up to ${cost.open_usd:,.4f}"
        for cost in found
        if cost.n_open
    ]
    return "\n".join([*lines, *open_ones])


def budget_usd(max_usd: float, lowered: str | None) -> float:
    """Dollars that one command may cost: the config's max_usd, lowered (never raised) by MAX_USD."""
    if not lowered:
        return max_usd
    try:
        wanted = float(lowered)
    except ValueError:
        wanted = math.nan
    if not wanted >= 0:
        raise UserError(f"MAX_USD={lowered}: expected an amount in dollars, such as 5 or 0.50.")
    return min(max_usd, wanted)
