"""Live requests, a few at a time, each under the budget before it is sent; one at a time while the API takes
none.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lib.base.errors import UserError
from lib.judge.books import Books
from lib.judge.failures import (
    IN_A_ROW,
    AnswerLostError,
    NotTakenError,
    RejectedError,
    Rejections,
    wait_s,
)
from lib.judge.prices import Price
from lib.judge.service import Client

WORKERS = 8
PROGRESS_EVERY = 50


class Live:
    """Live requests under one cap.

    is_given_up: key -> lost so often that it is not asked again. sleep: None for a wait that a stop cuts
    short.
    """

    def __init__(
        self,
        books: Books,
        client: Client,
        price: Price,
        cap_usd: float,
        say: Callable[[str], None],
        rejections: Rejections,
        is_given_up: Callable[[str], bool],
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.books, self.client, self.price, self.cap_usd, self.say = books, client, price, cap_usd, say
        self._rejections, self._is_given_up = rejections, is_given_up
        self._stop, self._guard = threading.Event(), threading.Lock()
        self._sleep = sleep or self._stop.wait
        self._alone = threading.Lock()  # held by the request that finds out whether the API is back
        self._n_answered, self._n_lost_in_a_row, self._n_put_off = (
            0,
            0,
            0,
        )  # the last two: since the last answer
        self._lost: set[str] = set()
        self._failing: set[str] = set()  # keys that were not taken since the last answer

    def ask(self, requests: Mapping[str, Mapping[str, Any]], worst_usd: Mapping[str, float]) -> bool:
        """Ask for all (key -> params), WORKERS at a time; for what was lost on its way once more at the end.
        False: stopped at the budget.

        The first failure that is not one request's own stops all and is raised; answers under way are waited
        for and kept.
        """
        self._lost.clear()
        in_budget = self._ask(requests, worst_usd)
        lost = {key: requests[key] for key in requests if key in self._lost and not self._is_given_up(key)}
        return in_budget and (not lost or self.ask(lost, worst_usd))

    def _ask(self, requests: Mapping[str, Mapping[str, Any]], worst_usd: Mapping[str, float]) -> bool:
        self._stop.clear()
        waiting, n_done, in_budget = iter(requests), 0, True

        def work() -> None:
            nonlocal n_done, in_budget
            while not self._stop.is_set():
                with self._guard:
                    key = next(waiting, None)
                if key is None:
                    return
                try:
                    fits = self._one(key, requests[key], worst_usd[key])
                except BaseException:
                    self._stop.set()
                    raise
                with self._guard:
                    n_done, in_budget = n_done + 1, in_budget and fits
                    if n_done % PROGRESS_EVERY == 0 and fits:
                        self.say(f"{n_done:,} of {len(requests):,}, ${self.books.spent_usd():.2f}")
                if not fits:
                    self._stop.set()

        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for future in [pool.submit(work) for _ in range(min(WORKERS, len(requests)))]:
                    future.result()
            finally:
                self._stop.set()  # Ctrl-C too: nothing new is asked
        return in_budget

    def _one(self, key: str, params: Mapping[str, Any], worst_usd: float) -> bool:
        """Ask for one answer until it is stored, given up or put off.

        False: it does not fit under the budget.
        """
        n_tries = 0
        while n_tries < IN_A_ROW:
            with self._alone:
                pass  # somebody is finding out whether the API is back
            if self._stop.is_set():
                return True
            outcome, n_tries = self._try(key, params, worst_usd), n_tries + 1
            if isinstance(outcome, bool):
                return outcome
            n_answered = self._n_answered
            with self._alone:
                while self._n_answered == n_answered and n_tries < IN_A_ROW and not self._n_put_off:
                    self._sleep(wait_s(n_tries - 1, outcome))
                    if self._stop.is_set():
                        return True
                    outcome, n_tries = self._try(key, params, worst_usd), n_tries + 1
                    if isinstance(outcome, bool):
                        return outcome
                if n_tries >= IN_A_ROW or (self._n_put_off and self._n_answered == n_answered):
                    self._put_off(outcome)
        return True

    def _try(self, key: str, params: Mapping[str, Any], worst_usd: float) -> bool | Exception:
        """One request. True: nothing is left to do for it. False: it does not fit under the budget.

        Else why it may be asked again.
        """
        unit = self.books.new_unit(key)
        if not self.books.begin(unit, worst_usd, self.cap_usd):
            return False
        refused_before = self._rejections.waiting()
        try:
            raw = self.client.ask(params)
        except NotTakenError as error:
            self.books.refused(unit, str(error))
            with self._guard:
                self._failing.add(key)
            return error
        except AnswerLostError as error:
            self.books.lost(unit, str(error))
            self._count_lost(key, error)
            # once more, but not before the others were asked: in an outage it would only be lost twice
            return True
        except UserError as error:
            self.books.refused(unit, str(error))
            if not isinstance(error, RejectedError):
                raise
            self._rejections.add(key, error)
            return True
        self.books.keep(key, unit, raw, self.price, worst_usd)
        with self._guard:
            self._n_answered, self._n_lost_in_a_row, self._n_put_off = self._n_answered + 1, 0, 0
            self._failing.clear()
        self._rejections.answered(refused_before)
        return True

    def _count_lost(self, key: str, problem: Exception) -> None:
        """Every lost answer may have been paid for, so those of requests that ran side by side count one by
        one.
        """
        self.say(f"an answer was lost ({problem}): booked as possibly paid, asked once more at most")
        with self._guard:
            self._lost.add(key)
            self._n_lost_in_a_row += 1
            if self._n_lost_in_a_row < IN_A_ROW:
                return
            self._stop.set()
        raise UserError(
            f"{IN_A_ROW} answers in a row were lost on their way ({problem}) and may have been paid for. "
            "Check the network, then run the same command again: what has been judged is kept."
        )

    def _put_off(self, problem: Exception) -> None:
        """One request fails again and again.

        Raises UserError unless others are answered: then it waits for the next run.
        """
        if self._n_answered and len(self._failing) <= 1:
            self._n_put_off += 1
            self.say(
                f"a request was not taken in {IN_A_ROW} attempts ({problem}): it is left for the next run"
            )
            return
        self._stop.set()
        raise UserError(
            f"{self.client.title} took no request in {IN_A_ROW} attempts ({problem}). Nothing was paid for "
            "them, and what has been judged is kept: run the same command again later."
        )
