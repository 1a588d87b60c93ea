"""What a failed call of the Messages API means for the bill: not taken, perhaps paid for, or a mistake that a person can mend."""

import email.utils
import json
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from lib.errors import UserError

T = TypeVar("T")
MAX_WAIT_S = 120.0
NOT_TAKEN = (429, 529)  # rate limit, overloaded: refused before anything was computed
LOST = (408, 409, 499)  # may have been computed, like every 5xx


class NotTakenError(Exception):
    """Not processed, not paid: may be asked again after retry_after seconds (None: as the caller likes)."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class AnswerLostError(Exception):
    """Sent, but no answer came back: perhaps processed and paid for."""


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
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
            raise NotTakenError(f"no connection to {error.request.url.host}") from error
        if isinstance(cause, (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError)):
            raise UserError(f"The request cannot be sent ({cause}). Check ANTHROPIC_BASE_URL.") from error
        raise AnswerLostError(f"{type(cause or error).__name__}") from error
    except (httpx2.HTTPError, httpx2.StreamError, anthropic.AnthropicError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnswerLostError(f"{type(error).__name__}: {str(error)[:120]}") from error


def _status_problem(error: Any, key: str) -> Exception:
    status, headers = error.status_code, error.response.headers
    said = " ".join(str(error.api_message or error.message).split()).replace(key, "***")[:300]
    has_error_body = isinstance(error.body, dict) and "error" in error.body
    if status in NOT_TAKEN or (status == 503 and has_error_body):
        return NotTakenError(f"status {status}: {said}", _retry_after(headers.get("retry-after")))
    if status in LOST or status >= 500:
        return AnswerLostError(f"status {status}: {said}")
    advice = {
        400: "The request was refused. Check judge.model, judge.effort and judge.max_tokens.",
        401: "Check ANTHROPIC_API_KEY in .env: it is wrong, or was revoked.",
        402: "Add credit at platform.claude.com, then run the same command again.",
        403: "This ANTHROPIC_API_KEY may not do that: check its workspace and permissions at platform.claude.com.",
        404: "Check judge.model and ANTHROPIC_BASE_URL; a batch can only be read with a key of the workspace that created it.",
    }.get(status, "Check the judge's settings in the eval config.")
    return UserError(f"The Messages API answered {status}: {said}. {advice} What has been judged is kept.")


def wait_s(attempt: int, problem: Exception | None = None) -> float:
    """Seconds before attempt + 2: what the server asked for, else 1, 2, 4 ...; up to a quarter more, so that not all come at once."""
    asked = getattr(problem, "retry_after", None)
    return min(2.0**attempt if asked is None else asked, MAX_WAIT_S) * (1 + random.random() / 4)


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date; None where there is nothing to read."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None
