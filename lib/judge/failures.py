"""Failed calls of a judge's API, and what each means for the bill: not taken, perhaps paid for, or a mistake
that a person can mend.

An error that came back whole is an answer: nothing is billed for it. Only where the connection broke does
nobody know.
"""

import random
import threading
from collections.abc import Callable, Iterable, Mapping

from lib.base.errors import UserError

MAX_WAIT_S = 120.0
IN_A_ROW = 5  # failures without a success between them: then the program stops
TRY_LATER = (408, 409, 425, 429, 499)  # like every 5xx: nothing is wrong with the request
OF_ONE_REQUEST = (400, 413, 422)  # something may be wrong with this one only


class NotTakenError(Exception):
    """Not processed, not paid: may be asked again after retry_after seconds (None: as the caller likes).

    status: of the answer; None where the server was never reached.
    """

    def __init__(self, detail: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after, self.status = retry_after, status


class AnswerLostError(Exception):
    """Sent, but no whole answer came back: perhaps processed and paid for."""


class RejectedError(UserError):
    """This request is refused, another one of the same shape may be taken. Not paid."""


class Rejections:
    """Requests that are refused one by one, held back until a later request is answered: an account without
    credit refuses all.

    tweet_of: key -> tweet; one hostile tweet is in many requests. record: (key, detail) of a request that
    will never be taken.
    """

    def __init__(
        self, tweet_of: Mapping[str, str], has_answer: Callable[[], bool], record: Callable[[str, str], None]
    ) -> None:
        self._tweet_of, self._has_answer, self.record = tweet_of, has_answer, record
        self._waiting: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, key: str, problem: RejectedError) -> None:
        """Raises the problem where the requests of too many tweets are refused in a row."""
        with self._lock:
            self._waiting[key], self._problem = str(problem), problem
            if len({self._tweet_of[waiting] for waiting in self._waiting}) >= IN_A_ROW:
                self._waiting.clear()
                raise problem

    def close(self) -> None:
        """All was asked. Raises the last problem where no request of this shape has ever been taken."""
        with self._lock:
            if self._waiting and not self._has_answer():
                raise self._problem
        self.answered(self.waiting())  # nothing spoke against it

    def waiting(self) -> list[str]:
        """The keys that are refused so far: to be taken before a request is sent, and given back once it is
        answered.
        """
        with self._lock:
            return list(self._waiting)

    def answered(self, before: Iterable[str]) -> None:
        """Another request was sent after these were refused, and was taken: they are refused for what is in
        them.
        """
        with self._lock:
            for key in before:
                if key in self._waiting:
                    self.record(key, self._waiting.pop(key))


def wait_s(attempt: int, problem: Exception | None = None) -> float:
    """Seconds before attempt + 2: what the server asked for, else 1, 2, 4 ...; up to a quarter more, so that
    not all come at once.
    """
    asked = getattr(problem, "retry_after", None)
    return min(2.0**attempt if asked is None else asked, MAX_WAIT_S) * (1 + random.random() / 4)
