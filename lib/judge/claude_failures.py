"""Failed calls of the Messages API, and what each means for the bill: not taken, perhaps paid for, or a
mistake that a person can mend.

An error that came back whole is an answer: nothing is billed for it. Only where the connection broke does
nobody know.
"""

import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any, TypeVar

from lib.base.errors import UserError

T = TypeVar("T")
MAX_WAIT_S = 120.0
IN_A_ROW = 5  # failures without a success between them: then the program stops
TRY_LATER = (408, 409, 425, 429, 499)  # like every 5xx: nothing is wrong with the request
OF_ONE_REQUEST = (400, 413, 422)  # something may be wrong with this one only
NO_CREDIT = ("credit balance", "billing")  # of the account, although the status is 400


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
        """Raises the problem where no request of this shape has ever been taken, or too many are refused in a
        row.
        """
        with self._lock:
            self._waiting[key] = str(problem)
            if (
                not self._has_answer()
                or len({self._tweet_of[waiting] for waiting in self._waiting}) >= IN_A_ROW
            ):
                self._waiting.clear()
                raise problem

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


def sort_failure(call: Callable[[], T], key: str) -> T:
    """call(), its failure as NotTakenError, AnswerLostError or UserError. key: kept out of every message."""
    import anthropic
    import httpx2

    try:
        return call()
    except anthropic.APIStatusError as error:
        raise _status_problem(error, key) from error
    except anthropic.APIConnectionError as error:
        cause = error.__cause__
        if isinstance(
            cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
        ):
            raise NotTakenError(f"no connection to {error.request.url.host}") from error
        if isinstance(cause, (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError)):
            raise UserError(f"The request cannot be sent ({cause}). Check ANTHROPIC_BASE_URL.") from error
        raise AnswerLostError(f"{type(cause or error).__name__}") from error
    except (
        httpx2.HTTPError,
        httpx2.StreamError,
        anthropic.AnthropicError,
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        raise AnswerLostError(f"{type(error).__name__}: {str(error)[:120]}") from error


def _status_problem(error: Any, key: str) -> Exception:
    status, headers = error.status_code, error.response.headers
    said = " ".join(str(error.api_message or error.message).split()).replace(key, "***")[:300]
    if status in TRY_LATER or status >= 500:
        return NotTakenError(f"status {status}: {said}", _retry_after(headers), status)
    if status == 400 and any(word in said.lower() for word in NO_CREDIT):
        status = 402
    advice = {
        400: "The request was refused. Check judge.model, judge.effort and judge.max_tokens.",
        401: "Check ANTHROPIC_API_KEY in .env: it is wrong, or was revoked.",
        402: "Add credit at platform.claude.com, then run the same command again.",
        403: (
            "This ANTHROPIC_API_KEY may not do that: check its workspace and permissions at "
            "platform.claude.com."
        ),
        404: (
            "Check judge.model and ANTHROPIC_BASE_URL; a batch can only be read with a key of the "
            "workspace that created it."
        ),
    }.get(status, "Check the judge's settings in the eval config.")
    kind = RejectedError if status in OF_ONE_REQUEST else UserError
    return kind(
        f"The Messages API answered {error.status_code}: {said}. {advice} What has been judged is kept."
    )


def wait_s(attempt: int, problem: Exception | None = None) -> float:
    """Seconds before attempt + 2: what the server asked for, else 1, 2, 4 ...; up to a quarter more, so that
    not all come at once.
    """
    asked = getattr(problem, "retry_after", None)
    return min(2.0**attempt if asked is None else asked, MAX_WAIT_S) * (1 + random.random() / 4)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from milliseconds, a number of seconds or a date; None where there is nothing to read."""
    for name, factor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / factor
        except ValueError:
            continue
        return max(seconds, 0.0) if seconds == seconds else None
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(moment.timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
