"""What a collector needs of an outside service: a request, a run, a price, and the functions that know the service."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from lib.errors import UserError


class RefusedError(UserError):
    """The provider said no: nothing was started, nothing is paid."""


class GoneError(UserError):
    """The provider has deleted what was bought, before it was read."""


class BusyError(Exception):
    """The provider said not now (memory, concurrency or rate limit): nothing was started."""


class AnswerLostError(Exception):
    """Nobody knows whether the run was started: a dropped connection, a time-out, a 5xx, an answer that cannot be read."""


@dataclass(frozen=True)
class Request:
    """One run to buy. step: search | replies. query: the words a person knows it by. input: what the actor is given."""

    step: str
    query: str
    actor: str
    input: dict[str, Any]
    max_items: int


@dataclass(frozen=True)
class Run:
    """What the provider says about a run. usd: None where it does not say. events: how often each event was charged."""

    id: str
    status: str = "SUCCEEDED"
    dataset: str = ""
    build: str = ""
    started_at: str = ""
    usd: float | None = None
    events: dict[str, int] = field(default_factory=dict)


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
        """What the provider reports; where it reports nothing, its price times what it delivered."""
        if run.usd:
            return run.usd
        if run.events and self.events:
            return sum(n * self.events.get(event, 0.0) for event, n in run.events.items())
        return self.usd_per_run + self.usd_per_item * n_items if n_items else 0.0


@dataclass(frozen=True)
class Provider:
    """The functions that know the outside service. Each raises UserError with what to do."""

    name: str  # apify | twscrape
    price: Price
    start: Callable[[Request, float], Run]  # the most it may cost; raises RefusedError, BusyError, AnswerLostError
    run_ids: Callable[[], list[str]]  # of the newest runs
    find: Callable[[Request, Collection[str]], Run | None]  # the newest run with this input, these ids aside
    wait: Callable[[str], Run]  # until it has ended, within a bound
    items: Callable[[Request, Run], list[Any]]
    n_parallel: int = 8
    account: str = ""  # a sentence about the balance
    check: str = ""  # what to check where nothing but filler comes back
