"""Buys runs of a provider, each of them once and all of them under one cap.

Every run goes intent -> started(id) -> done(usd) through the ledger. Where the answer to a start was lost,
the provider is asked for a run with the same input, and that one is adopted; without one it is started again.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash
from lib.base.ledger import COLLECT, Entry, Ledger, State, open_units
from lib.collect.delivery import file_word, read_whole, refuse_short, store
from lib.collect.provider import AnswerLostError, BusyError, GoneError, Provider, RefusedError, Request, Run

LOOKS_S = (0, 1, 2, 3)  # a run that was just created may be missing from the provider's list for a moment
BUSY_WAITS_S = (5, 10, 20, 40, 60, 60, 60, 60, 60, 60)  # about seven minutes in all
START_ATTEMPTS = 3


class Purchases:
    """The purchases of one data set. One process at a time: the caller holds the set's lock.

    before_first: called once, before the first new start; raises to stop.
    keep: False for items that must not be stored. again: ask anew what came back without content.
    """

    def __init__(
        self,
        folder: Path,
        provider: Provider,
        max_usd: float,
        before_first: Callable[[], None],
        say: Callable[[str], None],
        keep: Callable[[Any], bool],
        again: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.ledger, self.raw = Ledger(folder / "ledger.jsonl"), folder / "raw"
        self._entries = self.ledger.entries()
        self._latest = {entry.key: entry for entry in self._entries}
        self.provider, self.max_usd, self.again = provider, max_usd, again
        self._before_first, self._say, self._keep, self._sleep = before_first, say, keep, sleep
        self._new: set[str] = set()  # what this process bought
        self._others: list[str] | None = None  # runs that were there before this job: never ours

    def spent_usd(self) -> float:
        """Dollars of finished runs, and the worst case of those whose cost is not known yet."""
        finished = sum(entry.usd or 0.0 for entry in self._latest.values() if entry.kind == COLLECT)
        return finished + sum(
            intent.note.get("worst_usd", 0.0) for _, intent in open_units(self._entries, COLLECT)
        )

    def done(self, request: Request) -> Entry | None:
        """The ledger's last word on a request that has been bought."""
        entry = self._latest.get(self._key(request))
        return entry if entry and entry.state == "done" else None

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """The requests that have to be paid for."""
        return [request for request in requests if self._is_missing(request)]

    def settle(self) -> None:
        """Finish what an earlier process left open, whatever today's config says: it is paid for."""
        short: list[str] = []
        for entry, intent in open_units(self._entries, COLLECT):
            if intent.note.get("source") != self.provider.name:
                continue
            request = request_of(intent)
            if entry.state == "started":
                short.append(self._finish(entry.key, request, str(entry.id)))
            elif run := self._reconcile(request, intent):
                self._book("started", entry.key, id=run.id)
                short.append(self._finish(entry.key, request, run.id))
            else:
                self._book("failed", entry.key, usd=0.0, note={"reason": "never started"})
        refuse_short(short)

    def read_again(self, entry: Entry) -> None:
        """Fetch once more what a finished run delivered. It was paid for, and nothing is started."""
        intent = next((one for one in self._entries if one.key == entry.key and one.state == "intent"), None)
        source = intent.note.get("source") if intent else None
        if intent is None or source != self.provider.name:
            raise UserError(
                f"it was bought from {source or 'nobody that the ledger names'}, and collect.source is "
                f"{self.provider.name}."
            )
        self._say(f"reading run {entry.id} again, for free: {entry.note['file']} is damaged or missing")
        refuse_short([self._finish(entry.key, request_of(intent), str(entry.id))])

    def buy(self, requests: Sequence[Request]) -> bool:
        """Buy what is missing of requests, a few runs at a time. False: the next one could exceed the cap."""
        pending = deque(self.missing(requests))
        waits = iter(BUSY_WAITS_S)
        while pending:
            running, problem = self._start_some(pending)
            refuse_short([self._finish(key, request, run_id) for key, request, run_id in running])
            if isinstance(problem, UserError):
                raise problem
            if isinstance(problem, BusyError) and not running:
                self._wait_for_room(problem, waits)
            elif running:
                waits = iter(BUSY_WAITS_S)
            else:
                return False
        return True

    def _wait_for_room(self, problem: BusyError, waits: Iterator[int]) -> None:
        seconds = next(waits, None)
        if seconds is None:
            raise UserError(
                f"The provider is still busy after several minutes: {problem}. Run the same command again "
                "later."
            )
        self._say(f"waiting {seconds} s: {problem}")
        self._sleep(seconds)

    def _start_some(
        self, pending: deque[Request]
    ) -> tuple[list[tuple[str, Request, str]], UserError | BusyError | None]:
        """Start runs until enough are running, the cap or a problem is met. Started ones leave pending."""
        running: list[tuple[str, Request, str]] = []
        while pending and len(running) < self.provider.n_parallel:
            worst_usd = self.provider.price.worst_usd(pending[0].max_items)
            if worst_usd and not self.spent_usd() + worst_usd <= self.max_usd + 1e-9:  # NaN is not within it
                break
            try:
                key, run_id = self._start(pending[0], worst_usd)
            except (UserError, BusyError) as problem:
                return running, problem
            running.append((key, pending.popleft(), run_id))
        return running, None

    def _start(self, request: Request, worst_usd: float) -> tuple[str, str]:
        if self._others is None:
            self._before_first()
            self._others = self._runs_of_others()
        key = self._key(request, renew=True)
        note = {**vars(request), "source": self.provider.name, "worst_usd": worst_usd, "others": self._others}
        if run := self._unbooked(request):
            self._book("intent", key, note=note)
            self._book("started", key, id=run.id)
            return key, run.id
        for _ in range(START_ATTEMPTS):
            intent = self._book("intent", key, note=note)
            try:
                run: Run | None = self.provider.start(request, worst_usd)
            except (RefusedError, BusyError) as problem:
                self._book("failed", key, usd=0.0, note={"reason": str(problem)[:300]})
                raise
            except AnswerLostError as problem:
                self._say(f"no answer to a start ({problem}); looking for its run")
                run = self._reconcile(request, intent)
            if run:
                self._book("started", key, id=run.id)
                return key, run.id
            self._book("failed", key, usd=0.0, note={"reason": "never started"})
        raise UserError(
            f"{request.actor} could not be started: no answer, and no run was created. Run the same command "
            "again later."
        )

    def _unbooked(self, request: Request) -> Run | None:
        """A run with this input that a damaged ledger, which `make repair` marks, no longer tells of."""
        if not any(entry.note.get("unknown") for entry in self._entries):
            return None
        finished = {entry.id for entry in self._entries if entry.id and entry.state == "done"}
        if run := self.provider.find(request, finished):
            self._say(f"adopted run {run.id}: it was paid for before the ledger was damaged")
        return run

    def _runs_of_others(self) -> list[str]:
        known = {entry.id for entry in self._entries}
        try:
            return [run_id for run_id in self.provider.run_ids() if run_id not in known]
        except UserError as error:
            # A lost answer will then wait for the list to work again: reconciling raises.
            self._say(f"warning: {error}")
            return []

    def _reconcile(self, request: Request, intent: Entry) -> Run | None:
        """The run that an intent without an answer created, if it did.

        Looked for with patience however old the intent seems: a clock can be set while it is open.
        """
        ours_or_older = {entry.id for entry in self._entries if entry.id} | set(intent.note.get("others", []))
        for seconds in LOOKS_S:
            if seconds:
                self._sleep(seconds)
            if run := self.provider.find(request, ours_or_older):
                self._say(f"adopted run {run.id}: it was started, its answer was lost")
                return run
        return None

    def _finish(self, key: str, request: Request, run_id: str) -> str:
        """Wait for the run, keep what it delivered however it ended, book what it cost.

        Where rows are missing it stays open, and a sentence that says so is returned.
        """
        try:
            run = self.provider.wait(run_id)
        except GoneError:
            if not self.again:
                raise
            worst_usd = self.provider.price.worst_usd(request.max_items)
            note = {"step": request.step, "file": "", "n_items": 0, "n_filler": 0, "status": "GONE"}
            self._book("done", key, id=run_id, usd=worst_usd, note=note)
            return ""
        delivery, missing = read_whole(self.provider, request, run, self._say, self._sleep)
        if missing:
            return missing
        path = self.raw / f"{request.step}-{key[:8]}-{file_word(run.id)}.jsonl"
        usd, note = store(path, request, run, delivery, self.provider.price, self._keep)
        if run.status != "SUCCEEDED":
            self._say(
                f"warning: run {run.id} ended as {run.status}; its {note['n_items']} items are kept "
                f"({request.query})"
            )
        self._new.add(key)
        self._book("done", key, id=run.id, usd=usd, note=note)
        return ""

    def _book(self, state: State, key: str, **fields: Any) -> Entry:
        entry = self.ledger.append(state, key, COLLECT, **fields)
        self._entries.append(entry)
        self._latest[key] = entry
        return entry

    def _key(self, request: Request, renew: bool = False) -> str:
        """The key of the newest attempt at request; with renew, of the one to make now."""
        key, attempt = content_hash(request.actor, request.input), 0
        while (later := content_hash(request.actor, request.input, attempt + 1)) in self._latest:
            key, attempt = later, attempt + 1
        return later if renew and key in self._latest and self._latest[key].state == "done" else key

    def _is_missing(self, request: Request) -> bool:
        entry = self.done(request)
        if entry is None:
            return True
        return self.again and entry.key not in self._new and entry.note["n_items"] == entry.note["n_filler"]


def has_open(folder: Path, source: str) -> bool:
    """True if a run of this provider was, or may have been, started for the set and is not finished."""
    entries = Ledger(folder / "ledger.jsonl").entries()
    return any(intent.note.get("source") == source for _, intent in open_units(entries, COLLECT))


def request_of(intent: Entry) -> Request:
    """The request that an intent was booked for."""
    return Request(**{name: intent.note[name] for name in ("step", "query", "actor", "input", "max_items")})
