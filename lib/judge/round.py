"""One round of asking a paid judge: which questions are open, live or in batches, under the budget, and how
their answers are read.

Order of what happens to an answer: intent in the ledger, request, raw answer on disk, cost in the ledger, and
only then is it read.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.console import confirm, printable
from lib.base.costs import budget_usd
from lib.base.errors import UserError
from lib.judge.books import MAX_LOST, Books
from lib.judge.comparisons import Comparison
from lib.judge.estimate import OUTPUT_TOKENS, Sizes, question
from lib.judge.failures import Rejections
from lib.judge.live import Live
from lib.judge.outcomes import GIVEN_UP, Outcomes
from lib.judge.probe import probe
from lib.judge.rubric import prompt
from lib.judge.service import Service

MAX_REQUESTS = 5000  # in one batch, of the 100,000 and 256 MB that the API takes
DONE_WITH = ("rejected", "canceled")  # asking again would be refused again; somebody stopped it
BATCH_FROM = 200  # more open requests than this are worth the wait (batch: auto)
MIN_BATCH = 10  # the last few that fit under the budget are asked live


@dataclass
class Round:
    """One call of ask_all. questions: key -> comparison, in the order in which they are asked."""

    questions: dict[str, Comparison]
    service: Service
    books: Books
    folder: Path
    say: Callable[[str], None]
    sleep: Callable[[float], None] | None
    again: bool = False

    def __post_init__(self) -> None:
        self.config = self.service.config
        self.outcomes = Outcomes(self.folder, self.service.read)
        self.max_lost: dict[str, int] = {}  # of the questions that are asked again
        if self.again:
            lost = self.books.n_lost()
            self.max_lost = {key: lost[key] + 1 for key in self.questions if self._is_given_up(key)}
            for key in self.max_lost:
                self.outcomes.failed.pop(key, None)

    # --- what there is ---------------------------------------------------------------------------------

    def open(self) -> list[str]:
        """Keys without an answer that may be asked for."""
        lost = self.books.n_lost()
        closed = self.books.answers.keys() | self.outcomes.failed.keys() | self.outcomes.judged | self._held()
        return [
            key
            for key in self.questions
            if key not in closed and lost[key] < self.max_lost.get(key, MAX_LOST)
        ]

    def _held(self) -> set[str]:
        """Questions of which nobody knows whether they were asked: a line of the ledger is beyond reading."""
        return (
            set()
            if self.again or not self.books.has_gaps()
            else set(self.questions) - self.books.known_keys()
        )

    def _is_given_up(self, key: str) -> bool:
        """Asked, perhaps paid for, without an answer; or refused."""
        is_failed = self.outcomes.failed.get(key) in GIVEN_UP or self.books.n_lost()[key] >= MAX_LOST
        return is_failed and key not in self.books.answers and key not in self.outcomes.judged

    def params(self, key: str) -> dict[str, Any]:
        return self.service.params(self.questions[key])

    def read(self) -> None:
        """Turn the stored answers into judgments and failures, in the order of the questions, each once."""
        lost = self.books.n_lost()
        for key, comparison in self.questions.items():
            if key in self.books.answers:
                self.outcomes.read(key, comparison, self.books.answers[key]["raw"], self.config.model)
            elif lost[key] >= self.max_lost.get(key, MAX_LOST):
                self.outcomes.lost(key, lost[key])

    # --- what is missing -------------------------------------------------------------------------------

    def ask(self) -> None:
        if held := self._held() - self.books.answers.keys():
            self.say(
                f"the ledger was damaged: nobody knows whether {len(held):,} questions were paid for; they "
                "are asked only with AGAIN=1"
            )
        if not self.open() and not self.books.open_batches():
            return
        self.price = self.service.price()
        self.cap_usd = budget_usd(self.config.max_usd, os.environ.get("MAX_USD"))
        self.client = self.service.connect(self.folder, self.sleep or time.sleep)
        tweets = {key: comparison.tweet for key, comparison in self.questions.items()}
        self.rejections = Rejections(
            tweets, self._has_answer, lambda key, detail: self.outcomes.fail(key, "rejected", detail)
        )
        self.batches = self.service.batching(self.client, self.books, self.price, self.say, self.rejections)
        if self.batches:
            self.batches.settle(set(self.questions))
        if not (keys := self._left()):
            self.rejections.close()
            return
        if warning := self.client.check_model(self.config):
            self.say(warning)
        by_length = sorted(keys, key=lambda key: len(prompt(self.questions[key])))
        example = self.params(by_length[len(by_length) // 2])
        self.sizes = Sizes(self.client.n_tokens(example), example)
        many = self.config.batch == "auto" and len(keys) > BATCH_FROM
        batch = self.client.takes_batches and (self.config.batch == "always" or many)
        if self.books.spent_usd() + self._worst_usd(keys[:1], batch=False) > self.cap_usd:
            self._say_stopped()
            return
        if self.price.is_free:
            self.say(f"{self.config.model} on {self.client.title}: {len(keys):,} requests, for free")
        else:
            confirm(printable(self._question(keys, batch)))
        in_budget = self._probe() and (self._in_batches() if batch else self._live(self._left()))
        self.rejections.close()
        if not in_budget:
            self._say_stopped()

    def _question(self, keys: Sequence[str], batch: bool) -> str:
        n_output = self.books.mean_output_tokens(self.questions) or OUTPUT_TOKENS[self.config.effort]
        requests = [self.params(key) for key in keys]
        asked = question(
            self.config.model,
            self.price,
            self.service.price_source(),
            self.sizes,
            requests,
            n_output,
            batch,
            self.books.spent_usd(),
            self.cap_usd,
        )
        if not (at_risk := [key for key in keys if key in self.max_lost]):
            return asked
        risk_usd = self._worst_usd(at_risk, batch=False)
        return (
            f"{len(at_risk):,} were given up before and may have been paid for already, up to "
            f"${risk_usd:.2f}.\n{asked}"
        )

    def _say_stopped(self) -> None:
        self.say(
            f"stopped at the budget: ${self.books.spent_usd():.2f} of ${self.cap_usd:.2f} is spent and the "
            f"next request may not fit. {len(self.open()):,} are not judged: raise judge.max_usd (or "
            "MAX_USD) and run the same command again"
        )

    def _worst_usd(self, keys: Sequence[str], batch: bool) -> float:
        return sum(
            self.price.worst_usd(self.sizes.worst(self.params(key)), self.config.max_tokens, batch)
            for key in keys
        )

    # --- in batches ------------------------------------------------------------------------------------

    def _left(self) -> list[str]:
        """Open keys without those that this process has seen end for good; those that were lost before come
        last.

        If something keeps killing the process, no question is lost twice while another has not been asked
        once.
        """
        lost, ended = self.books.n_lost(), self.batches.ended if self.batches else {}
        return sorted(
            (key for key in self.open() if ended.get(key) not in DONE_WITH),
            key=lambda key: lost[key],
        )

    def _probe(self) -> bool:
        """The first of its kind, alone. False: it does not fit under the budget."""

        def ask(key: str) -> bool:
            in_budget = self._live([key])
            self.read()
            return in_budget

        self.read()
        tweets = {key: comparison.tweet for key, comparison in self.questions.items()}
        is_open = set(self._left()).__contains__
        return probe(tweets, is_open, ask, self.outcomes, self.rejections, self.books.answers)

    def _has_answer(self) -> bool:
        return any(key in self.books.answers for key in self.questions)

    def _in_batches(self) -> bool:
        """Batch after batch until nothing is left; each as large as the budget allows in the worst case.

        False: it allows no more.
        """
        tried: dict[str, int] = {}
        n_before = len(self.books.answers)
        while keys := [key for key in self._left() if tried.get(key, 0) < 2]:
            chunk = self._chunk(keys)
            if len(chunk) < min(MIN_BATCH, len(keys)):
                return self._live(keys)
            if not self.batches.run(
                {key: self.params(key) for key in chunk}, self._worst_usd(chunk, batch=True), self.cap_usd
            ):
                return False
            tried |= {key: tried.get(key, 0) + 1 for key in chunk}
        if left := len(self._left()):
            if len(self.books.answers) == n_before:
                raise UserError(
                    f"No request of two batches was answered. Run the same command again later: {left:,} "
                    "are not judged yet."
                )
            self.say(f"{left:,} requests failed in two batches: run the same command again later")
        return True

    def _chunk(self, keys: Sequence[str]) -> list[str]:
        """The first keys whose worst case fits under the budget together."""
        room, chunk = self.cap_usd - self.books.spent_usd(), []
        for key in keys[:MAX_REQUESTS]:
            room -= self._worst_usd([key], batch=True)
            if room < 0:
                break
            chunk.append(key)
        return chunk

    def _live(self, keys: Sequence[str]) -> bool:
        def is_given_up(key: str) -> bool:
            return self.books.n_lost()[key] >= self.max_lost.get(key, MAX_LOST)

        live = Live(
            self.books,
            self.client,
            self.price,
            self.cap_usd,
            self.say,
            self.rejections,
            is_given_up,
            self.sleep,
        )
        return live.ask(
            {key: self.params(key) for key in keys},
            {key: self._worst_usd([key], batch=False) for key in keys},
        )
