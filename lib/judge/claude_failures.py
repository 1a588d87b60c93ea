"""The Messages API's failures, as the SDK raises them, and what each means for the bill."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from lib.base.api_servers import retry_after
from lib.base.errors import UserError
from lib.judge.failures import OF_ONE_REQUEST, TRY_LATER, AnswerLostError, NotTakenError, RejectedError

T = TypeVar("T")
NO_CREDIT = ("credit balance", "billing")  # of the account, although the status is 400


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
        return NotTakenError(f"status {status}: {said}", retry_after(headers), status)
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
