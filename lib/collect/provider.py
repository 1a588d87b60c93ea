"""Providers: a request, a run, a price, and the functions that know the outside service."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lib.base.errors import UserError


class RefusedError(UserError):
    """The provider said no: nothing was started, nothing is paid."""


class GoneError(UserError):
    """The provider has deleted what was bought, before it was read."""


class BusyError(Exception):
    """The provider said not now (memory, concurrency or rate limit): nothing was started."""


class AnswerLostError(Exception):
    """An unknown start: a dropped connection, a time-out, a 5xx, an answer that cannot be read."""


@dataclass(frozen=True)
class Request:
    """One run to buy.

    step: search | replies. query: the words a person knows it by. input: what the actor is given.
    """

    step: str
    query: str
    actor: str
    input: dict[str, Any]
    max_items: int


@dataclass(frozen=True)
class Run:
    """A run, as the provider tells of it. usd: None where it does not say. events: the charges of each.

    n_billed: items that were charged, None where that cannot be told.
    """

    id: str
    status: str = "SUCCEEDED"
    dataset: str = ""
    build: str = ""
    started_at: str = ""
    usd: float | None = None
    events: dict[str, int] = field(default_factory=dict)
    n_billed: int | None = None
    ended_at: datetime | None = None

    def has_ended_for(self, seconds: float) -> bool:
        """True if the run ended so long ago; a provider that does not say when has no counters that lag."""
        return self.ended_at is None or (datetime.now(UTC) - self.ended_at).total_seconds() > seconds


@dataclass(frozen=True)
class Delivery:
    """The rows that were read of a run, and the provider's own counts of them.

    n_repeated: rows that are left out because an earlier page had them.
    n_total: rows that the provider says it holds. n_empty: those that are empty, None where it does not say.
    """

    items: list[Any]
    n_repeated: int = 0
    n_total: int = 0
    n_empty: int | None = None

    def n_expected(self, run: Run, floor: int) -> int:
        """Rows that were billed or are held. floor: Price.floor, which is billed for fewer rows too."""
        n_billed = run.n_billed or 0
        return max(min(1, n_billed) if n_billed == floor else n_billed, self.n_total)

    def is_whole(self, run: Run, floor: int) -> bool:
        """True if every row that was billed or is held has been read, as far as the counts can tell."""
        if len(self.items) >= self.n_expected(run, floor):
            return True
        n_filled = sum(map(_is_filled, self.items))
        has_all_filled = n_filled + (self.n_empty or 0) == self.n_total
        if n_filled and has_all_filled and self.n_total == self.n_expected(run, floor):
            return True  # what is missing are empty rows, which the provider counts and leaves out
        has_all = has_all_filled or len(self.items) + self.n_repeated >= self.n_total
        # An hour later all counters have caught up: the rest was billed without rows, and no more will come.
        return has_all and self.n_empty is not None and run.has_ended_for(3600)


def _is_filled(item: Any) -> bool:
    """False for what Apify counts as empty: no field, or hidden ones (#debug) only."""
    return any(not name.startswith("#") for name in item) if isinstance(item, dict) else item is not None


@dataclass(frozen=True)
class Price:
    """usd_per_item, usd_per_run: the dearest tier. floor: items that one run is billed for at least."""

    model: str
    usd_per_item: float = 0.0
    usd_per_run: float = 0.0
    floor: int = 0
    minimum_cap_usd: float = 0.0
    events: dict[str, float] = field(default_factory=dict)

    def worst_usd(self, max_items: int) -> float:
        """The most that a run of max_items can cost; also the cap that it is given."""
        return max(self.usd_per_run + self.usd_per_item * max(max_items, self.floor), self.minimum_cap_usd)

    def actual_usd(self, run: Run, n_items: int) -> float:
        """Dollars as the provider reports them; where it reports none, its price times what it delivered."""
        if run.usd and 0 < run.usd < math.inf:
            return run.usd
        if run.events and self.events:
            return sum(n * self.events.get(event, 0.0) for event, n in run.events.items())
        return self.usd_per_run + self.usd_per_item * n_items if n_items else 0.0


@dataclass(frozen=True)
class Provider:
    """The functions that know the outside service. Each raises UserError with what to do."""

    name: str  # apify | twscrape
    price: Price
    start: Callable[
        [Request, float], Run
    ]  # the most it may cost; raises RefusedError, BusyError, AnswerLostError
    run_ids: Callable[[], list[str]]  # of the newest runs
    find: Callable[[Request, Collection[str]], Run | None]  # the newest run with this input, these ids aside
    wait: Callable[[str], Run]  # until it has ended, within a bound
    items: Callable[[Request, Run], Delivery]
    n_parallel: int = 8
    account: str = ""  # a sentence about the balance
    check: str = ""  # what to check where nothing but filler comes back
