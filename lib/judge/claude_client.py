"""The Messages API: one POST for one call, and what every failure means for the bill.

The SDK's own retries are off: the API has no idempotency key, so a second POST may be a second answer to pay
for.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from lib.base.errors import UserError
from lib.base.settings import JudgeConfig
from lib.judge.claude_failures import sort_failure
from lib.judge.claude_models import Model
from lib.judge.failures import AnswerLostError, NotTakenError, wait_s

T = TypeVar("T")
API_VERSION = "2026-10-21"
TIMEOUT_S = 300  # without a byte
LONGEST_ANSWER_S = (
    900.0  # from its first byte to its last: a server that sends one byte a minute never times out
)
ATTEMPTS = 7


class Claude:
    """A connection. sleep: seconds -> None, so that tests need not wait and a stop can cut a wait short."""

    title, takes_batches, _has_effort = "The Messages API", True, True

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises UserError without a usable ANTHROPIC_API_KEY. Sends nothing yet."""
        key = os.environ.get("ANTHROPIC_API_KEY", "").strip()
        if not key:
            raise UserError(
                "ANTHROPIC_API_KEY is not set. Copy .env.example to .env and paste the key from "
                "platform.claude.com."
            )
        if not key.isascii() or not key.isprintable():
            raise UserError("ANTHROPIC_API_KEY holds characters that no key has. Paste it again.")
        try:
            import anthropic
        except ImportError as error:
            raise UserError("The package anthropic is not installed. Run `make setup`.") from error

        # Two attempts of one call must never happen behind our back; the version is part of the judge's
        # identity.
        headers = {"anthropic-version": API_VERSION}
        http = anthropic.DefaultHttpxClient(timeout=TIMEOUT_S, event_hooks={"response": [_bound_reading]})
        self._client = anthropic.Anthropic(
            api_key=key, max_retries=0, timeout=TIMEOUT_S, default_headers=headers, http_client=http
        )
        self._key, self.sleep = key, sleep

    def ask(self, params: Mapping[str, Any]) -> str:
        """The answer as JSON, as it came. Raises NotTakenError, AnswerLostError or UserError."""
        message = self._call(lambda: self._client.messages.create(**self._taken(params)))
        _refuse_page(message)
        if not hasattr(message, "usage"):
            raise AnswerLostError(f"the answer is not a message: {str(message)[:80]}")
        return _raw(message)

    def n_tokens(self, params: Mapping[str, Any]) -> int | None:
        """Input tokens of a request, counted by the API for free; None where it cannot say."""
        taken = self._taken(params)
        counted = {name: taken[name] for name in ("model", "system", "messages", "output_config")}
        found = self._free_or_none(
            lambda: self._client.messages.count_tokens(**counted), tolerated=(400, 404, 405)
        )
        n = getattr(found, "input_tokens", None)
        return n if isinstance(n, int) and n > 0 else None

    def check_model(self, config: JudgeConfig) -> str | None:
        """A warning, or None.

        Raises UserError for a model that is unknown, retired or unable, with those that can be had.
        """
        found = self._free_or_none(lambda: self._client.models.retrieve(config.model), tolerated=(404,))
        is_refused = found is None or getattr(found, "lifecycle", None) == "retired"
        model = Model(found, self._listed() if is_refused else [])
        warning = model.check(config)
        self._has_effort, self.takes_batches = model.has_effort, model.takes_batches
        return warning

    def _listed(self) -> list[Any]:
        return (
            self._free_or_none(lambda: list(self._client.models.list(limit=100).data), tolerated=(404,)) or []
        )

    def _taken(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Without the effort, for a model that knows none."""
        output = {name: value for name, value in params["output_config"].items() if name != "effort"}
        return {**params} if self._has_effort else {**params, "output_config": output}

    # --- batches ---------------------------------------------------------------------------------------

    def create_batch(self, requests: Sequence[Mapping[str, Any]]) -> str:
        """The id of a new batch.

        Raises NotTakenError, AnswerLostError (it may exist: look for it) or UserError.
        """
        body = [{**request, "params": self._taken(request["params"])} for request in requests]
        batch = self._call(lambda: self._client.messages.batches.create(requests=body))
        _refuse_page(batch)
        if not isinstance(getattr(batch, "id", None), str):
            raise AnswerLostError("the answer to the new batch is not a batch")
        return batch.id

    def batch(self, batch_id: str, is_new: bool) -> Any:
        """Its state; one that was just created may not be known everywhere yet.

        Raises UserError where it cannot be read.
        """

        def read() -> Any:
            state = self._client.messages.batches.retrieve(batch_id)
            if not hasattr(state, "processing_status"):
                raise AnswerLostError(f"the answer is not a batch: {str(state)[:80]}")
            return state

        return self.free(read, wait_for_it=is_new)

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
        """(custom_id, type, text): text is the answer of a succeeded request as it came, else what went
        wrong. Any order.

        One reading; raises NotTakenError or AnswerLostError where it breaks off: read it again, it is free.
        """
        # Not at the batch's results_url: that names the provider's own host, whatever address this key is
        # meant for.
        path = f"/v1/messages/batches/{quote(batch_id, safe='')}/results"
        text = self._call(lambda: self._client.get(path, cast_to=str))
        for line in filter(str.strip, text.split("\n")):
            yield _result(line)

    # --- failures --------------------------------------------------------------------------------------

    def free(self, call: Callable[[], T], wait_for_it: bool = False) -> T:
        """A call that costs nothing, so that it can be made again. Raises UserError when it keeps failing.

        wait_for_it: 404 means not yet.
        """
        problem: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                return self._call(call)
            except (NotTakenError, AnswerLostError) as error:
                problem = error
            except UserError as error:
                if not wait_for_it or status_of(error) != 404 or attempt + 1 == ATTEMPTS:
                    raise
            if attempt + 1 < ATTEMPTS:
                self.sleep(wait_s(attempt, problem))
        raise UserError(
            f"The Messages API could not be reached ({problem}). Nothing is lost: run the same command "
            "again later."
        )

    def _free_or_none(self, call: Callable[[], T], tolerated: Sequence[int]) -> T | None:
        try:
            return self.free(call)
        except UserError as error:
            if status_of(error) in tolerated:
                return None
            raise

    def _call(self, call: Callable[[], T]) -> T:
        return sort_failure(call, self._key)


def status_of(error: UserError) -> int | None:
    """The HTTP status behind a sentence, if there was one."""
    return getattr(error.__cause__, "status_code", None)


def _bound_reading(response: Any) -> None:
    """Ends the reading of an answer that trickles in for ever."""
    import httpx2

    inner, end = response.stream, time.monotonic() + LONGEST_ANSWER_S

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for chunk in inner:
                if time.monotonic() > end:
                    raise httpx2.ReadTimeout(f"the answer has not ended after {LONGEST_ANSWER_S:g} s")
                yield chunk

        def close(self) -> None:
            inner.close()

    response.stream = Bounded()


def _refuse_page(answer: Any) -> None:
    """Raises NotTakenError for a web page or an error object under status 200: a proxy answered, the API has
    not seen the request.
    """
    if (isinstance(answer, str) and answer.lstrip().startswith("<")) or getattr(
        answer, "type", None
    ) == "error":
        raise NotTakenError(
            f"no answer of the API but a page, perhaps of a proxy: {' '.join(str(answer).split())[:80]}",
            status=200,
        )


def _result(line: str) -> tuple[str, str, str]:
    """One line of a batch's results. Raises AnswerLostError for one that cannot be read."""
    try:
        row = json.loads(line)
        name, result = row["custom_id"], row["result"]
        if result["type"] == "succeeded":
            return name, "succeeded", json.dumps(dict(result["message"]))
        if result["type"] != "errored":
            return name, result["type"], ""
        error = result["error"].get("error") or result["error"]
        outcome = "rejected" if error.get("type") == "invalid_request_error" else "errored"
        return name, outcome, f"{error.get('type')}: {error.get('message')}"[:300]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnswerLostError(f"a result of the batch cannot be read ({type(error).__name__})") from error


def _raw(message: Any) -> str:
    try:
        return message.model_dump_json()
    except ValueError:  # half an emoji has no UTF-8; its escape has
        return json.dumps(message.to_dict(mode="json"))
