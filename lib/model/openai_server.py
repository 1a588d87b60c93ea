"""One arm's OpenAI-compatible server: what it is asked, how long it is waited for, what a failure says."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lib.base.api_servers import CHAT, api_root, bearer, key_advice, retry_after, without_key
from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.data.control_tokens import without_control_tokens
from lib.model.chat import Messages, template_options
from lib.model.generate import Generated, clean_reply
from lib.model.sampling import row_seed

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
MAX_WAIT_S = 30.0
RETRIED = {408, 409, 425, 429}  # and everything from 500 up


class Arm:
    """One arm's server: asks, waits, asks again, and gives up with a sentence. Safe for several threads."""

    def __init__(
        self,
        name: str,
        config: ArmConfig,
        client: "httpx.Client",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, self.config, self.client, self.sleep = name, config, client, sleep
        self.root = api_root(config.base_url)
        self.headers = bearer(config.api_key_env, f"Arm {name}")

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON object.

        Raises UserError with the arm and the status; 429, 5xx and broken connections are tried again first.
        """
        import httpx

        problem = ""
        for attempt in range(ATTEMPTS):
            wait = min(0.5 * 2**attempt, 8.0)
            try:
                response = self.client.request(method, self.root + path, json=body, headers=self.headers)
            except httpx.RequestError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.status_code not in RETRIED and response.status_code < 500:
                    return self._checked(response)
                problem = f"status {response.status_code}{self._said(response)}"
                asked = retry_after(response.headers)
                wait = wait if asked is None else min(asked, MAX_WAIT_S)
            if attempt + 1 < ATTEMPTS:
                self.sleep(wait)
        raise UserError(
            f"Arm {self.name}: {self.root}{path} failed {ATTEMPTS} times ({problem}). Is the server up? Then "
            "run the same command again: "
            "the replies that came are kept."
        )

    def _checked(self, response: "httpx.Response") -> dict[str, Any]:
        status, where = (
            response.status_code,
            f"Arm {self.name}: {response.request.method} {response.request.url}",
        )
        if status in (401, 403):
            advice = key_advice(self.config.api_key_env)
            raise UserError(f"{where}: status {status}{self._said(response)}. {advice}")
        if status >= 300:
            advice = (
                "Check engine.openai in the eval config: base_url (it usually ends in /v1), model and "
                "extra_body."
            )
            raise UserError(f"{where}: status {status}{self._said(response)}. {advice}")
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UserError(
                f"{where}: the answer is not a JSON object. Is base_url the address of an OpenAI-compatible "
                "server?"
            )
        return answer

    def _said(self, response: "httpx.Response") -> str:
        text = without_key(" ".join(response.text.split()), self.headers)
        return f" ({text[:200]})" if text else ""

    def health(self) -> None:
        self.request("GET", "/models")

    def chat(self, conversation: Messages, sampling: SamplingConfig, **extra: Any) -> dict[str, Any]:
        """The first choice, with the answer's `usage` beside it."""
        answer = self.request("POST", CHAT, self._body(conversation, sampling, extra))
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise UserError(
                f"Arm {self.name}: the answer of {self.root} has no `choices`. Is it an OpenAI-compatible "
                "chat server?"
            )
        return {**choices[0], "usage": answer.get("usage")}

    @contextlib.contextmanager
    def stream(self, conversation: Messages, sampling: SamplingConfig) -> "Iterator[httpx.Response]":
        """The answer as server-sent events while it is written. Raises UserError for a status of failure."""
        body = self._body(conversation, sampling, {"stream": True})
        with self.client.stream("POST", self.root + CHAT, json=body, headers=self.headers) as response:
            if response.status_code >= 300:
                response.read()
                self._checked(response)
            yield response

    def _body(
        self, conversation: Messages, sampling: SamplingConfig, extra: Mapping[str, Any]
    ) -> dict[str, Any]:
        """extra_body of the arm wins; a null there removes the key."""
        turns = [{**turn, "content": without_control_tokens(turn["content"])} for turn in conversation]
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": turns,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or None,
            "seed": row_seed(sampling.seed, conversation),
            "chat_template_kwargs": template_options(),
        }
        body |= {**extra, **self.config.extra_body}
        if isinstance(body["chat_template_kwargs"], Mapping):
            body["chat_template_kwargs"] = template_options(body["chat_template_kwargs"])
        return {key: value for key, value in body.items() if value is not None}

    def reply(self, conversation: Messages, sampling: SamplingConfig) -> Generated:
        began = time.monotonic()
        choice = self.chat(conversation, sampling)
        text, n_leaks = clean_reply(content_of(choice))
        usage = choice["usage"] if isinstance(choice["usage"], dict) else {}
        n_tokens = usage.get("completion_tokens")
        return Generated(
            text,
            n_tokens if isinstance(n_tokens, int) and n_tokens > 0 else 0,
            time.monotonic() - began,
            n_leaks,
        )


def content_of(choice: dict[str, Any]) -> str:
    """The text of a choice; empty where the server put all of it into its own thinking field."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""
