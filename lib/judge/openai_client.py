"""An OpenAI-compatible server as a judge's API: one POST for one answer, and what every failure means for the
bill.

Nothing is sent twice behind the books' back: a POST whose answer was lost may have been paid for.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lib.base.api_servers import CHAT, api_root, bearer, is_own, key_advice, retry_after, without_key
from lib.base.errors import UserError
from lib.base.files import content_hash, read_json, write_json
from lib.base.settings import JudgeConfig
from lib.judge.failures import OF_ONE_REQUEST, TRY_LATER, AnswerLostError, NotTakenError, RejectedError
from lib.judge.openai_shape import Shape

TIMEOUT_S, OWN_TIMEOUT_S = 300.0, 1800.0  # without a byte; a server of one's own may be a laptop with a queue
LONGEST_ANSWER_S = 1800.0  # from its first byte to its last
MAX_BYTES = 20_000_000
MAX_SAID = 600  # characters of a refusal that are read: some servers quote the whole request behind them
NO_CREDIT = re.compile(r"insufficient.?(?:quota|credit|balance|funds)|credit balance", re.IGNORECASE)
MODERATED = re.compile(r"flagged|moderat|content.?filter|content management policy", re.IGNORECASE)


class OpenAIClient:
    """A connection. folder: where the shape that the server takes is kept (request_shape.json)."""

    takes_batches = False

    def __init__(self, config: JudgeConfig, folder: Path, sleep: Callable[[float], None]) -> None:
        """Raises UserError without a usable key where one is named. Sends nothing yet."""
        import httpx

        self._config, self.sleep = config, sleep
        self._headers = bearer(config.api_key_env, "judge.api_key_env")
        self._url = api_root(str(config.base_url)) + CHAT
        self.title = urlsplit(self._url).netloc
        wait_s = OWN_TIMEOUT_S if is_own(self._url) else TIMEOUT_S
        self._http = httpx.Client(timeout=httpx.Timeout(wait_s, connect=15.0))
        self._path = folder / "request_shape.json"
        self._server = content_hash([self._url, config.model, config.extra_body])
        self._shape, self._is_taken, self._guard = self._remembered(), False, threading.Lock()

    def n_tokens(self, params: Mapping[str, Any]) -> None:
        """No such server counts for free."""

    def check_model(self, config: JudgeConfig) -> None:
        """The first question finds out: not every server lists its models."""

    def ask(self, params: Mapping[str, Any]) -> str:
        """The answer as JSON, as it came. Raises NotTakenError, AnswerLostError or UserError.

        Before the first answer, what the server refuses of the request's shape is left out; a refusal is
        free.
        """
        shape, first = self._shape, None
        while True:
            text, status, problem = self._answered(*self._post(shape.body(params)))
            if problem is None:
                self._remember(shape)
                return text
            first = first or problem
            said = text[:MAX_SAID]
            is_shape = not (self._is_taken or NO_CREDIT.search(said) or MODERATED.search(said))
            narrower = shape.narrower(status, said) if is_shape else None
            if narrower is None:
                raise first
            shape = narrower

    def _post(self, body: Mapping[str, Any]) -> tuple[int, str, Mapping[str, str]]:
        """(status, text, headers) of an answer that came whole."""
        import httpx

        try:
            with self._http.stream("POST", self._url, json=body, headers=self._headers) as response:
                parts, n_bytes, end = [], 0, time.monotonic() + LONGEST_ANSWER_S
                for part in response.iter_bytes():
                    parts.append(part)
                    n_bytes += len(part)
                    if time.monotonic() > end or n_bytes > MAX_BYTES:
                        raise AnswerLostError("the answer does not end")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NotTakenError(f"no connection to {self.title}") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            said = without_key(str(error), self._headers)
            raise UserError(f"The request cannot be sent ({said}). Check judge.base_url.") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise AnswerLostError(type(error).__name__) from error
        text = b"".join(parts).decode("utf-8", "replace")
        return response.status_code, without_key(text, self._headers), response.headers

    def _answered(
        self, status: int, text: str, headers: Mapping[str, str]
    ) -> tuple[str, int, Exception | None]:
        """(text, status, problem); no problem: an answer. Some gateways put an error or a page under 200."""
        said = " ".join(text.split())[:300]
        if status >= 300:
            return text, status, self._failure(status, said, headers)
        if text.lstrip().startswith("<"):
            problem = f"no answer but a page, perhaps of a proxy: {said[:80]}"
            return text, status, NotTakenError(problem, status=status)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            return text, status, AnswerLostError(f"the answer is no JSON object: {said[:80]}")
        if (error := _error_of(answer)) is not None:
            status = _code_of(error)
            return text, status, self._failure(status, said, headers)
        if not isinstance(answer.get("choices"), list):
            return text, status, AnswerLostError(f"{self._url} answers without `choices`: {said[:80]}")
        return text, status, None

    def _failure(self, status: int, said: str, headers: Mapping[str, str]) -> Exception:
        said_so, end = f"{self.title} answered {status}: {said}.", "What has been judged is kept."
        if status == 402 or NO_CREDIT.search(said):
            return UserError(f"{said_so} Add credit there, then run the same command again. {end}")
        if status in TRY_LATER or status >= 500 or status < 300:
            return NotTakenError(f"status {status}: {said}", retry_after(headers), status)
        if status in OF_ONE_REQUEST or (status == 403 and MODERATED.search(said)):
            advice = "Check judge.model, judge.max_tokens and judge.extra_body in the eval config."
            return RejectedError(f"{said_so} {advice} {end}")
        advice = {
            401: key_advice(self._config.api_key_env),
            403: key_advice(self._config.api_key_env),
            404: "Check judge.base_url (it usually ends in /v1) and judge.model in the eval config.",
        }.get(status, "Check judge.base_url in the eval config (it usually ends in /v1).")
        return UserError(f"{said_so} {advice} {end}")

    def _remembered(self) -> Shape:
        """The shape that this server took before; the widest for one that was never asked."""
        try:
            kept = read_json(self._path) if self._path.is_file() else {}
            return Shape(**kept["shape"]) if kept["server"] == self._server else Shape()
        except (UserError, KeyError, TypeError):
            return Shape()

    def _remember(self, shape: Shape) -> None:
        with self._guard:
            if self._is_taken:
                return
            self._shape, self._is_taken = shape, True
            with contextlib.suppress(UserError):  # a paid answer is at hand: it comes first
                write_json(self._path, {"server": self._server, "shape": asdict(shape)})


def _error_of(answer: Mapping[str, Any]) -> Any:
    """The error of an answer, or of its first choice where that holds nothing else."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    if answer.get("error") is not None and not first.get("message"):
        return answer["error"]
    said = first.get("message")
    is_empty = not (isinstance(said, dict) and said.get("content"))
    return first.get("error") if is_empty else None


def _code_of(error: Any) -> int:
    """The status that an error names, 200 where it names none."""
    code = error.get("code") if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isdecimal() else code
    return code if type(code) is int and 400 <= code <= 599 else 200
