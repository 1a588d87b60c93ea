"""The Messages API: one POST for one call, and what every failure means for the bill.

The SDK's own retries are off: the API has no idempotency key, so a second POST may be a second answer to pay for.
"""

import email.utils
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from lib.errors import UserError

T = TypeVar("T")
API_VERSION = "2026-10-21"
TIMEOUT_S = 300
ATTEMPTS = 7
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


class Claude:
    """A connection. sleep: seconds -> None, so that tests need not wait and a stop can cut a wait short."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises UserError without a usable ANTHROPIC_API_KEY. Sends nothing yet."""
        key = os.environ.get("ANTHROPIC_API_KEY", "").strip()
        if not key:
            raise UserError("ANTHROPIC_API_KEY is not set. Copy .env.example to .env and paste the key from platform.claude.com.")
        if not key.isascii() or not key.isprintable():
            raise UserError("ANTHROPIC_API_KEY holds characters that no key has. Paste it again.")
        import anthropic

        # Two attempts of one call must never happen behind our back; the version is part of the judge's identity.
        headers = {"anthropic-version": API_VERSION}
        self._client = anthropic.Anthropic(api_key=key, max_retries=0, timeout=TIMEOUT_S, default_headers=headers)
        self._key, self.sleep = key, sleep

    def ask(self, params: Mapping[str, Any]) -> str:
        """The answer as JSON, as it came. Raises NotTakenError, AnswerLostError or UserError."""
        message = self._call(lambda: self._client.messages.create(**params))
        if not hasattr(message, "usage"):
            raise AnswerLostError(f"the answer is not a message: {str(message)[:80]}")
        return _raw(message)

    def n_tokens(self, params: Mapping[str, Any]) -> int | None:
        """Input tokens of a request, counted by the API for free; None where it cannot say."""
        counted = {name: params[name] for name in ("model", "system", "messages", "output_config")}
        found = self._free_or_none(lambda: self._client.messages.count_tokens(**counted), tolerated=(400, 404, 405))
        n = getattr(found, "input_tokens", None)
        return n if isinstance(n, int) and n > 0 else None

    def check_model(self, model: str) -> str | None:
        """A warning, or None. Raises UserError for a model that is unknown or retired, with those that can be had."""
        found = self._free_or_none(lambda: self._client.models.retrieve(model), tolerated=(404,))
        if found is None:
            raise UserError(f"judge.model: the API does not know {model}. {self._alternatives()}")
        lifecycle, date = getattr(found, "lifecycle", None), getattr(found, "retires_at", None)
        when = f" (retires on {date:%Y-%m-%d})" if hasattr(date, "strftime") else ""
        if lifecycle == "retired":
            raise UserError(f"judge.model: {model} is retired. {self._alternatives()}")
        if lifecycle == "deprecated":
            return f"warning: {model} is deprecated{when}: a later evaluation will need another judge and cannot be compared with this one"
        return None

    def _alternatives(self) -> str:
        from lib.prices import PRICES

        listed = self._free_or_none(lambda: list(self._client.models.list(limit=100).data), tolerated=(404,)) or []
        names = [model.id for model in listed if getattr(model, "lifecycle", "active") == "active"] or list(PRICES)
        return f"Set judge.model in the eval config to one of {', '.join(names[:12])}."

    # --- batches ---------------------------------------------------------------------------------------

    def create_batch(self, requests: Sequence[Mapping[str, Any]]) -> str:
        """The id of a new batch. Raises NotTakenError, AnswerLostError (it may exist: look for it) or UserError."""
        batch = self._call(lambda: self._client.messages.batches.create(requests=list(requests)))
        if not isinstance(getattr(batch, "id", None), str):
            raise AnswerLostError("the answer to the new batch is not a batch")
        return batch.id

    def batch(self, batch_id: str) -> Any:
        """Its state. Raises UserError where it cannot be read."""
        return self.free(lambda: self._client.messages.batches.retrieve(batch_id))

    def batches(self) -> list[Any]:
        """The 1,000 newest batches of this workspace, oldest first."""
        found: list[Any] = []

        def read() -> None:
            found.clear()
            for batch in self._client.messages.batches.list(limit=100):
                if len(found) >= 1000:
                    return
                found.append(batch)

        self.free(read)
        return sorted(found, key=lambda batch: str(batch.created_at))

    def results(self, batch_id: str) -> Iterator[tuple[str, str, str]]:
        """(custom_id, type, text): text is the answer of a succeeded request as it came, else what went wrong. Any order.

        One reading; raises NotTakenError or AnswerLostError where it breaks off: read it again, it is free.
        """
        # Not at the batch's results_url: that names the provider's own host, whatever address this key is meant for.
        path = f"/v1/messages/batches/{quote(batch_id, safe='')}/results"
        text = self._call(lambda: self._client.get(path, cast_to=str))
        for line in filter(str.strip, text.split("\n")):
            row = self._call(partial(json.loads, line))
            result, name = row["result"], row["custom_id"]
            if result["type"] == "succeeded":
                yield name, "succeeded", json.dumps(result["message"])
            elif result["type"] == "errored":
                error = result.get("error") or {}
                error = error.get("error") or error
                outcome = "rejected" if error.get("type") == "invalid_request_error" else "errored"
                yield name, outcome, f"{error.get('type')}: {error.get('message')}"[:300]
            else:
                yield name, result["type"], ""

    # --- failures --------------------------------------------------------------------------------------

    def free(self, call: Callable[[], T]) -> T:
        """A call that costs nothing, so that it can be made again. Raises UserError when it keeps failing."""
        problem: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                return self._call(call)
            except (NotTakenError, AnswerLostError) as error:
                problem = error
            if attempt + 1 < ATTEMPTS:
                self.sleep(wait_s(attempt, problem))
        raise UserError(f"The Messages API could not be reached ({problem}). Nothing is lost: run the same command again later.")

    def _free_or_none(self, call: Callable[[], T], tolerated: Sequence[int]) -> T | None:
        try:
            return self.free(call)
        except UserError as error:
            if getattr(error.__cause__, "status_code", None) in tolerated:
                return None
            raise

    def _call(self, call: Callable[[], T]) -> T:
        """call(), its failure sorted into NotTakenError, AnswerLostError and UserError."""
        import anthropic
        import httpx2

        try:
            return call()
        except anthropic.APIStatusError as error:
            raise self._status_problem(error) from error
        except anthropic.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
                raise NotTakenError(f"no connection to {self._client.base_url}") from error
            if isinstance(cause, (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError)):
                raise UserError(f"The request cannot be sent ({cause}). Check ANTHROPIC_BASE_URL.") from error
            raise AnswerLostError(f"{type(cause or error).__name__}") from error
        except (
            httpx2.HTTPError,
            httpx2.StreamError,
            anthropic.AnthropicError,
            json.JSONDecodeError,
            UnicodeDecodeError,
        ) as error:  # broken off, or not JSON
            raise AnswerLostError(f"{type(error).__name__}: {str(error)[:120]}") from error

    def _status_problem(self, error: Any) -> Exception:
        status, headers = error.status_code, error.response.headers
        said = " ".join(str(error.api_message or error.message).split()).replace(self._key, "***")[:300]
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


def _raw(message: Any) -> str:
    try:
        return message.model_dump_json()
    except ValueError:  # half an emoji has no UTF-8; its escape has
        return json.dumps(message.to_dict(mode="json"))
