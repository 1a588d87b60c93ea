"""Live requests, a few at a time, each under the budget before it is sent."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lib.claude_books import MAX_LOST, Books
from lib.claude_client import ATTEMPTS, Claude
from lib.claude_failures import AnswerLostError, NotTakenError, wait_s
from lib.errors import UserError
from lib.prices import Price

WORKERS = 8
PROGRESS_EVERY = 50


@dataclass(frozen=True)
class Live:
    """sleep: None for a wait that a stop cuts short."""

    books: Books
    claude: Claude
    price: Price
    cap_usd: float
    say: Callable[[str], None]
    sleep: Callable[[float], None] | None = None

    def ask(self, requests: Mapping[str, Mapping[str, Any]], worst_usd: Mapping[str, float]) -> bool:
        """Ask for all (key -> params), WORKERS at a time. False: stopped at the budget.

        The first failure stops all and is raised; answers under way are waited for and kept.
        """
        waiting, stop, guard = iter(requests), threading.Event(), threading.Lock()
        n_done, in_budget = 0, True

        def work() -> None:
            nonlocal n_done, in_budget
            while not stop.is_set():
                with guard:
                    key = next(waiting, None)
                if key is None:
                    return
                try:
                    fits = self._one(key, requests[key], worst_usd[key], stop)
                except BaseException:
                    stop.set()
                    raise
                with guard:
                    n_done, in_budget = n_done + 1, in_budget and fits
                    if n_done % PROGRESS_EVERY == 0 and fits:
                        self.say(f"{n_done:,} of {len(requests):,}, ${self.books.spent_usd():.2f}")
                if not fits:
                    stop.set()

        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for future in [pool.submit(work) for _ in range(min(WORKERS, len(requests)))]:
                    future.result()
            finally:
                stop.set()  # Ctrl-C too: nothing new is asked
        return in_budget

    def _one(self, key: str, params: Mapping[str, Any], worst_usd: float, stop: threading.Event) -> bool:
        """Ask for one answer until it is stored or given up. False: it does not fit under the budget."""
        problem: Exception | None = None
        for attempt in range(ATTEMPTS):
            if problem:
                (self.sleep or stop.wait)(wait_s(attempt - 1, problem))
            if stop.is_set():
                return True
            unit = self.books.new_unit(key)
            if not self.books.begin(unit, worst_usd, self.cap_usd):
                return False
            try:
                raw = self.claude.ask(params)
            except NotTakenError as error:
                self.books.refused(unit, str(error))
                problem = error
            except AnswerLostError as error:
                self.books.lost(unit, str(error))
                self.say(f"an answer was lost ({error}): booked as possibly paid, asked once more at most")
                if self.books.n_lost()[key] >= MAX_LOST:
                    return True
                problem = error
            except UserError as error:
                self.books.refused(unit, str(error))
                raise
            else:
                self.books.keep(key, unit, raw, self.price, worst_usd)
                return True
        raise UserError(f"The Messages API took no request in {ATTEMPTS} attempts ({problem}). Run the same command again later.")
